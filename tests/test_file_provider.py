"""Bars from the user's own files: what is found, and what each fault of a file is told like."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pandas as pd
import pytest

from botlib import providers
from botlib.bars import Bars
from botlib.config import BacktestParams
from botlib.errors import BotlibError, BotlibWarning, DataError, InputError, ProviderError
from botlib.providers.file import FileProvider

HEADER = "date,open,high,low,close,volume\n"
DAILY = """date,open,high,low,close,volume
2024-03-07,10,11,9,10.5,1000
2024-03-08,10.5,12,10,11.5,2000
2024-03-11,11.5,12,11,11.75,1500
"""
LONG = """Symbol,Date,Open,High,Low,Close,Volume
AAPL,2024-03-07,10,11,9,10.5,1000
AAPL,2024-03-08,10.5,12,10,11.5,2000
ON,2024-03-07,20,21,19,20.5,100
NA,2024-03-08,30,31,29,30.5,300
TRUE,2024-03-08,40,41,39,40.5,400
"""
INTRADAY = """datetime,open,high,low,close,volume
2024-03-08 09:30,10,11,9,10.5,100
2024-03-08 09:35,10.5,12,10,11.5,200
2024-03-11 09:30,11.5,12,11,11.75,150
"""
COLUMNS = ["open", "high", "low", "close", "volume"]


def at(text: str) -> pd.Timestamp:
    return pd.Timestamp(text, tz="America/New_York")


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def one(path: Path, symbol: str = "AAPL", interval: str = "1d", **options: object) -> pd.DataFrame:
    return FileProvider(path, **options).history(symbol, interval=interval, auto_adjust=False)


# --- the forms of a file ------------------------------------------------------------------------------------------

def test_one_csv_of_one_symbol(tmp_path):
    bars = one(write(tmp_path / "AAPL.csv", DAILY))  # summer time began on the 10th
    assert bars.index.tolist() == [at("2024-03-07"), at("2024-03-08"), at("2024-03-11")]
    assert list(bars.columns) == COLUMNS
    assert bars.dtypes.unique().tolist() == ["float64"]
    assert bars.loc[at("2024-03-08")].tolist() == [10.5, 12.0, 10.0, 11.5, 2000.0]


def test_the_symbol_is_the_files_name_unless_it_is_told(tmp_path):
    path = write(tmp_path / "brk.b.csv", DAILY)
    assert FileProvider(path).symbols == ("BRK.B",)
    assert FileProvider(path, symbol="X").symbols == ("X",)


def test_a_folder_of_csv_gz_and_parquet(tmp_path):
    write(tmp_path / "AAPL.csv", DAILY)
    (tmp_path / "msft.csv.gz").write_bytes(gzip.compress(DAILY.replace("10.5", "20.5").encode()))
    frame = pd.read_csv(tmp_path / "AAPL.csv", parse_dates=["date"])
    frame.to_parquet(tmp_path / "BRK.B.parquet")
    frame.set_index("date").to_parquet(tmp_path / "BF.B.PARQUET")
    write(tmp_path / "notes.txt", "not a table")
    provider = FileProvider(tmp_path)
    assert provider.symbols == ("AAPL", "BF.B", "BRK.B", "MSFT")
    got = provider.download_bars(symbols=["MSFT", "BRK.B", "BF.B"], period="max", interval="1d")
    assert got.index.names == ["symbol", "timestamp"]
    assert got.index.get_level_values(0).unique().tolist() == ["MSFT", "BRK.B", "BF.B"]
    assert got.loc["MSFT", "close"].tolist() == [20.5, 11.5, 11.75]
    pd.testing.assert_frame_equal(got.loc["BRK.B"], provider.history("AAPL", auto_adjust=False))
    pd.testing.assert_frame_equal(got.loc["BF.B"], provider.history("AAPL", auto_adjust=False))


def test_long_form_with_symbols_that_look_like_something_else(tmp_path):
    provider = FileProvider(write(tmp_path / "all.csv", LONG))
    assert provider.symbols == ("AAPL", "NA", "ON", "TRUE")
    assert provider.history("ON", auto_adjust=False)["close"].tolist() == [20.5]
    assert provider.history("NA", auto_adjust=False)["close"].tolist() == [30.5]


def test_long_form_parquet_with_an_index_of_symbol_and_time(tmp_path):
    frame = pd.read_csv(write(tmp_path / "x.csv", LONG), keep_default_na=False, parse_dates=["Date"])
    path = tmp_path / "all.parquet"
    frame.set_index(["Symbol", "Date"]).to_parquet(path)
    assert FileProvider(path).symbols == ("AAPL", "NA", "ON", "TRUE")


def test_names_are_found_in_any_case_or_through_the_map(tmp_path):
    text = "Day, OPEN ,hi,LOW,Last,Adj Close,Vol.\n2024-03-08,1,3,0.5,2,99,7\n"
    bars = one(write(tmp_path / "AAPL.csv", text),
               columns={"day": "timestamp", "HI": "high", "Last": "close", "Vol.": "volume"})
    assert bars.loc[at("2024-03-08")].tolist() == [1.0, 3.0, 0.5, 2.0, 7.0]


def test_newest_first_and_blank_lines_and_a_byte_order_mark(tmp_path):
    lines = DAILY.splitlines()
    text = "\ufeff" + "\n".join([lines[0], "", *reversed(lines[1:]), "", ""])
    assert one(write(tmp_path / "AAPL.csv", text))["close"].tolist() == [10.5, 11.5, 11.75]


def test_further_columns_only_when_named(tmp_path):
    text = "date,open,high,low,close,volume,Sentiment,note\n2024-03-08,1,3,0.5,2,7,0.25,good\n"
    path = write(tmp_path / "AAPL.csv", text)
    assert list(one(path).columns) == COLUMNS
    assert one(path, extra=["sentiment"])["sentiment"].tolist() == [0.25]
    with pytest.raises(DataError, match="line 2, column note = 'good': not a number"):
        one(path, extra=["note"])


def test_an_empty_cell_is_nan(tmp_path):
    bars = one(write(tmp_path / "AAPL.csv", DAILY.replace("11.5,2000", ",2000")))
    assert bars["close"].isna().tolist() == [False, True, False]


def test_a_changed_file_is_read_again(tmp_path):
    path = write(tmp_path / "AAPL.csv", DAILY)
    provider = FileProvider(path)
    assert len(provider.history("AAPL", auto_adjust=False)) == 3
    write(path, DAILY + "2024-03-12,1,1,1,1,1\n")
    assert len(provider.history("AAPL", auto_adjust=False)) == 4


def test_the_bars_pass_the_checks_of_bars(tmp_path):
    got = FileProvider(write(tmp_path / "AAPL.csv", DAILY)).download_bars(symbols=["AAPL"], period="max", interval="1d")
    bars = Bars.from_frame(got)
    assert bars.shape == (3, 1)
    assert bars.interval == "1d"


# --- time ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("stamps", [
    ("2024-03-08", "2024-03-11"),
    ("2024-03-08 00:00:00", "2024-03-11 00:00:00"),
    ("2024-03-08T00:00:00-05:00", "2024-03-11T00:00:00-04:00"),  # yfinance's way
    ("2024-03-08T05:00:00Z", "2024-03-11T04:00:00Z"),  # Alpaca's way
    ("2024-03-08T00:00:00+00:00", "2024-03-11T00:00:00+00:00"),  # dates taken for UTC
    ("20240308", "20240311"),
])
def test_daily_labels_are_sessions_however_written(tmp_path, stamps):
    text = "date,open,high,low,close,volume\n" + "".join(f"{s},1,1,1,1,1\n" for s in stamps)
    assert one(write(tmp_path / "AAPL.csv", text)).index.tolist() == [at("2024-03-08"), at("2024-03-11")]


def test_other_dates_need_their_format(tmp_path):
    path = write(tmp_path / "AAPL.csv", DAILY.replace("2024-03-07", "03/07/2024").replace("2024-03-08", "03/08/2024")
                 .replace("2024-03-11", "03/11/2024"))
    with pytest.raises(DataError, match=r"line 2, column date = '03/07/2024': not a date like .*date_format"):
        one(path)
    assert one(path, date_format="%m/%d/%Y").index[0] == at("2024-03-07")
    with pytest.raises(DataError, match="line 4, column date = '03/11/2024': does not fit date_format='%d/%m/%y'"):
        one(write(path, HEADER + "07/03/24,1,1,1,1,1\n08/03/24,1,1,1,1,1\n03/11/2024,1,1,1,1,1\n"),
            date_format="%d/%m/%y")


def test_naive_intraday_times_need_a_zone(tmp_path):
    path = write(tmp_path / "AAPL.csv", INTRADAY)
    with pytest.raises(InputError, match="column datetime: its times .2024-03-08 09:30:00. have no time zone"):
        one(path, interval="5m")
    assert one(path, interval="5m", tz="America/New_York").index[0] == at("2024-03-08 09:30")
    assert one(path, interval="5m", tz="America/Chicago").index[0] == at("2024-03-08 10:30")
    with pytest.raises(InputError, match="tz = 'America/NewYork' is not a time zone; did you mean 'America/New_York'"):
        one(path, interval="5m", tz="America/NewYork")


def test_times_that_carry_their_zone_need_none(tmp_path):
    path = write(tmp_path / "AAPL.csv", INTRADAY.replace("09:30", "09:30-05:00").replace("09:35", "09:35-05:00")
                 .replace("2024-03-11 09:30-05:00", "2024-03-11 09:30-04:00"))
    assert one(path, interval="5m").index.tolist() == [
        at("2024-03-08 09:30"), at("2024-03-08 09:35"), at("2024-03-11 09:30")]


def test_some_times_with_a_zone_and_some_without(tmp_path):
    path = write(tmp_path / "AAPL.csv", INTRADAY.replace("09:35", "09:35-05:00"))
    with pytest.raises(DataError, match="line 3, .*some times of the file have a zone and some have none"):
        one(path, interval="5m", tz="America/New_York")


def test_a_clock_time_that_occurs_twice_is_not_guessed(tmp_path):
    text = "time,open,high,low,close,volume\n2024-11-03 01:30,1,1,1,1,1\n2024-11-03 02:30,1,1,1,1,1\n"
    with pytest.raises(DataError, match="a time is not unique in America/New_York"):
        one(write(tmp_path / "BTC.csv", text), "BTC", "1h", tz="America/New_York")


@pytest.mark.parametrize(("step", "interval"), [(1, "1m"), (5, "5m"), (15, "15m"), (30, "30m"), (60, "1h")])
def test_the_interval_is_found_from_the_spacing(tmp_path, step, interval):
    times = pd.date_range("2024-03-08 09:30", periods=6, freq=f"{step}min")
    text = "time,open,high,low,close,volume\n" + "".join(f"{t},1,1,1,1,1\n" for t in times)
    provider = FileProvider(write(tmp_path / "AAPL.csv", text), tz="America/New_York")
    assert len(provider.history("AAPL", interval=interval, auto_adjust=False)) == 6
    with pytest.raises(InputError, match=f"interval = '1d' is not what .* holds, which is {interval} bars"):
        provider.history("AAPL", interval="1d")


def test_a_spacing_that_is_no_interval(tmp_path):
    text = "time,open,high,low,close,volume\n2024-03-08 09:30:00,1,1,1,1,1\n2024-03-08 09:30:10,1,1,1,1,1\n"
    with pytest.raises(DataError, match="bars are 0 days 00:00:10 apart and fit none of 1m, 5m"):
        one(write(tmp_path / "AAPL.csv", text), interval="1m", tz="America/New_York")


# --- ranges and periods -------------------------------------------------------------------------------------------

def test_start_counts_and_end_does_not(tmp_path):
    provider = FileProvider(write(tmp_path / "AAPL.csv", DAILY))
    got = provider.history("AAPL", start="2024-03-07", end="2024-03-11", auto_adjust=False)
    assert got.index.tolist() == [at("2024-03-07"), at("2024-03-08")]
    with pytest.raises(DataError, match="^No data returned from file for AAPL, 1d bars, from 2025-01-01 to the last: "
                                        ".*AAPL.csv has AAPL from 2024-03-07 to .*2024-03-11"):
        provider.history("AAPL", start="2025-01-01")
    with pytest.raises(InputError, match="start = 2024-03-11 is not before end = 2024-03-07"):
        provider.history("AAPL", start="2024-03-11", end="2024-03-07")


def test_a_period_counts_back_from_the_last_bar(tmp_path):
    provider = FileProvider(write(tmp_path / "AAPL.csv", DAILY))
    got = provider.download_bars(symbols=["AAPL"], period="1d", interval="1d")
    assert got.loc["AAPL"].index.tolist() == [at("2024-03-11")]


# --- actions ------------------------------------------------------------------------------------------------------

ACTIONS = "Symbol,Ex_Date,Type,Value,Pay_Date\nAAPL,2024-03-11,split,2,\nAAPL,2024-03-08,cash_dividend,0.5,2024-03-20\n"


def test_actions_adjust_history(tmp_path):
    path = write(tmp_path / "AAPL.csv", DAILY)
    provider = FileProvider(path, actions=write(tmp_path / "actions.csv", ACTIONS))
    table = provider.actions(["AAPL"])
    assert table["type"].tolist() == ["cash_dividend", "split"]
    assert table["pay_date"].iloc[0] == pd.Timestamp("2024-03-20")
    assert table["pay_date"].isna().tolist() == [False, True]
    got = provider.history("AAPL")
    # By hand: 2:1 on the 11th halves what is before; 0.50 on the 8th, after a close of 10.50, leaves 1 - 0.5/10.5.
    assert got["close"].tolist() == pytest.approx([10.5 / 2 * (1 - 0.5 / 10.5), 11.5 / 2, 11.75], rel=1e-12)
    assert got["volume"].tolist() == [2000.0, 4000.0, 1500.0]


def test_without_actions_prices_stay_and_a_warning_says_so(tmp_path):
    provider = FileProvider(write(tmp_path / "AAPL.csv", DAILY))
    with pytest.warns(BotlibWarning, match="no-actions: splits and dividends of .* are not known"):
        assert provider.actions(["AAPL"]).empty
    with pytest.warns(BotlibWarning, match="no-actions: prices of AAPL are as they stand"):
        assert provider.history("AAPL")["close"].tolist() == [10.5, 11.5, 11.75]


def test_bars_declared_adjusted_are_left_alone(tmp_path):
    path = write(tmp_path / "AAPL.csv", DAILY)
    actions = write(tmp_path / "actions.csv", ACTIONS)
    whole = FileProvider(path, adjustment="all", actions=actions).history("AAPL")
    assert whole["close"].tolist() == [10.5, 11.5, 11.75]
    split = FileProvider(path, adjustment="split", actions=actions).history("AAPL")
    assert split["close"].tolist() == pytest.approx([10.5 * (1 - 0.5 / 10.5), 11.5, 11.75], rel=1e-12)


@pytest.mark.parametrize(("text", "message"), [
    ("symbol,ex_date,type\nA,2024-03-11,split\n", "actions.csv has no column value; it has symbol, ex_date, type"),
    ("symbol,ex_date,type,value\nA,2024-03-11,spilt,2\n", "actions.csv: actions: A 2024-03-11 spilt 2: type must be"),
    ("symbol,ex_date,type,value\nA,2024-03-11,split,two\n", "actions.csv, line 2, column value = 'two': not a number"),
    ("symbol,ex_date,type,value\nA,11.3.24,split,2\n", "actions.csv, line 2, column ex_date = '11.3.24': not a date"),
    ("symbol,ex_date,type,value\nA,2024-03-11,split,-2\n", "value must be a number above 0"),
])
def test_faults_of_an_actions_file(tmp_path, text, message):
    provider = FileProvider(write(tmp_path / "AAPL.csv", DAILY), actions=write(tmp_path / "actions.csv", text))
    with pytest.raises(InputError, match=message):
        provider.actions(["AAPL"])


# --- faults -------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("text", "error", "message"), [
    (DAILY.replace("close", "Last"), InputError,
     "AAPL.csv has no column close; it has date, open, high, low, Last, volume: if one of them is close, give col"),
    (DAILY.replace("date", "day"), InputError, r"AAPL.csv has no column date \(or timestamp\); it has day, open"),
    (DAILY.replace("11.5,2000", "1l.5,2000"), DataError, "AAPL.csv, line 3, column close = '1l.5': not a number"),
    (DAILY.replace("2000", '"2,000"'), DataError, "line 3, column volume = '2,000': not a number.*without thousands"),
    (DAILY.replace("9,10.5", "inf,10.5"), DataError, "line 2, column low = 'inf': not a number"),
    (DAILY.replace("2024-03-08", "2024-02-30"), DataError, "line 3, column date = '2024-02-30': not a date"),
    (DAILY.replace("2024-03-08", ""), DataError, "line 3, column date = '': not a date"),
    (DAILY.replace("2024-03-08", "2024-03-07"), DataError, "line 3, column date = '2024-03-07': AAPL has another bar"),
    (DAILY.replace("12,10,11.5,2000", "12,10,11.5,2000,7,8"), DataError, "is not a CSV file that can be read"),
    (DAILY.replace("00\n", "00,7\n"), DataError, "is not a CSV file that can be read"),
    (DAILY.replace("open", "Date"), InputError, "AAPL.csv has date and Date, which could both be timestamp: say which"),
    ("", DataError, "AAPL.csv is empty"),
    ("date,open,high,low,close,volume\n", DataError, "AAPL.csv has no rows"),
])
def test_a_fault_is_one_sentence_with_its_place(tmp_path, text, error, message):
    with pytest.raises(error, match=message) as caught:
        one(write(tmp_path / "AAPL.csv", text))
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_line_numbers_count_blank_lines(tmp_path):
    with pytest.raises(DataError, match="line 5, column close = 'x'"):
        one(write(tmp_path / "AAPL.csv", DAILY.replace("2024-03-08", "\n\n2024-03-08").replace("11.5,2000", "x,2000")))


@pytest.mark.parametrize(("name", "content"), [
    ("AAPL.parquet", b"PAR1 not really"), ("AAPL.parquet", b""), ("AAPL.csv.gz", b"not gzip"),
    ("AAPL.csv.gz", gzip.compress(DAILY.encode())[:-12]), ("AAPL.csv", b"\xff\xfe\x00\x01\xd8"),
])
def test_a_damaged_file_is_one_sentence(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BotlibError, match=name) as caught:
        one(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_a_parquet_fault_names_the_row(tmp_path):
    frame = pd.DataFrame({"date": pd.to_datetime(["2024-03-07", "2024-03-08"]), "open": 1.0, "high": 1.0, "low": 1.0,
                          "close": ["1", "one"], "volume": 1})
    frame.to_parquet(tmp_path / "AAPL.parquet")
    with pytest.raises(DataError, match="AAPL.parquet, row 2, column close = 'one': not a number"):
        one(tmp_path / "AAPL.parquet")


def test_a_file_that_vanished_or_cannot_be_read(tmp_path):
    path = write(tmp_path / "AAPL.csv", DAILY)
    provider = FileProvider(path)
    path.unlink()
    with pytest.raises(ProviderError, match="AAPL.csv cannot be read: No such file or directory"):
        provider.history("AAPL")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root reads everything")
def test_a_file_without_the_right_to_read(tmp_path):
    path = write(tmp_path / "AAPL.csv", DAILY)
    path.chmod(0)
    with pytest.raises(ProviderError, match="AAPL.csv cannot be read: .*Permission denied"):
        one(path)


def test_an_unknown_symbol_names_those_there_are(tmp_path):
    write(tmp_path / "AAPL.csv", DAILY)
    write(tmp_path / "MSFT.csv", DAILY)
    with pytest.raises(InputError, match="symbol 'APPL' is not in .*; did you mean 'AAPL'. It has AAPL, MSFT"):
        FileProvider(tmp_path).history("APPL")
    with pytest.raises(InputError, match="symbol 'on' is not in .* It has AAPL, NA, ON, TRUE"):
        FileProvider(write(tmp_path / "all.csv", LONG)).download_bars(symbols=["on"], period="max", interval="1d")


@pytest.mark.parametrize(("options", "message"), [
    ({"columns": {"Last": "closing"}}, "columns maps 'Last' to 'closing', which is not one .*; did you mean 'close'"),
    ({"columns": {"Lsat": "close"}}, r"columns names 'Lsat', which .*AAPL.csv does not have; did you mean 'Last'"),
    ({"adjustment": "splits"}, "adjustment = 'splits' is unknown; did you mean 'split'"),
    ({"interval": "5min"}, "interval = '5min' is unknown; did you mean '5m'"),
    ({"interval": "5m"}, "interval = '5m' does not fit .*AAPL.csv, whose times are all dates"),
    ({"actions": "nowhere.csv"}, "actions = 'nowhere.csv' is not a file"),
])
def test_wrong_options(tmp_path, options, message):
    path = write(tmp_path / "AAPL.csv", DAILY.replace("close", "Last"))
    with pytest.raises(InputError, match=message):
        FileProvider(path, **({"columns": {"Last": "close"}} | options)).history("AAPL")


def test_wrong_paths(tmp_path):
    for path, message in [(tmp_path / "none.csv", "does not exist"), (tmp_path, "holds no .csv"),
                          (write(tmp_path / "a.txt", "x"), "is neither .csv, .csv.gz nor .parquet")]:
        with pytest.raises(InputError, match=message):
            FileProvider(path)
    write(tmp_path / "AAPL.csv", DAILY)
    with pytest.raises(InputError, match="symbol = 'AAPL' goes with a single file"):
        FileProvider(tmp_path, symbol="AAPL")
    write(tmp_path / "aapl.csv.gz", "")
    with pytest.raises(InputError, match="holds AAPL twice"):
        FileProvider(tmp_path)


def test_a_long_file_in_a_folder_is_refused(tmp_path):
    write(tmp_path / "AAPL.csv", LONG)
    with pytest.raises(InputError, match="must hold AAPL alone, but it has AAPL, NA, ON, TRUE: name that file itself"):
        FileProvider(tmp_path).history("AAPL")


# --- by name ------------------------------------------------------------------------------------------------------

def test_load_by_name_and_its_refusals(tmp_path):
    assert isinstance(providers.load("file", path=write(tmp_path / "AAPL.csv", DAILY)), FileProvider)
    for name, options, message in [
        ("fiel", {}, "provider = 'fiel' is unknown; did you mean 'file'\\? Valid: alpaca, file, sample, yahoo"),
        ("file", {}, "provider file needs the option 'path'"),
        ("file", {"pth": "x"}, "provider file has no option 'pth'; did you mean 'path'"),
        ("sample", {"path": "x"}, "provider sample has no option 'path'. Valid: none"),
    ]:
        with pytest.raises(InputError, match=message):
            providers.load(name, **options)


# --- numbers that make no bar ---------------------------------------------------------------------------------------

FIVE = """date,open,high,low,close,volume
2024-03-04,10,11,9,10,100
2024-03-05,10,11,9,{a},100
2024-03-06,10,11,9,10,100
2024-03-07,{b},11,{c},10,{d}
2024-03-08,10,11,9,10,100
"""


@pytest.mark.parametrize(("cells", "said"), [
    ({"a": ""}, r"line 3, column close = '': a number is missing\."),
    ({"b": "0"}, "line 5, column open = '0': a price"),
    ({"c": "12"}, "line 5, column high = '11': it is below the low of 12"),
    ({"d": "-1"}, "line 5, column volume = '-1'"),
    ({"a": "-3", "d": ""}, r"line 3, column close = '-3': .* Wrong too: line 5\."),
])
def test_a_run_names_the_line_of_a_row_that_makes_no_bar(tmp_path, cells, said):
    path = write(tmp_path / "ABC.csv", FIVE.format(**{"a": 10, "b": 10, "c": 9, "d": 100} | cells))
    params = BacktestParams(provider="file", provider_options={"path": str(path)}, symbols=["ABC"])
    with pytest.raises(DataError, match=rf"{path}, {said}"):
        params.load_bars(tmp_path)


def test_a_bad_row_before_the_period_is_not_asked_for(tmp_path):
    path = write(tmp_path / "ABC.csv", FIVE.format(a="", b=10, c=9, d=100))
    params = BacktestParams(provider="file", provider_options={"path": str(path)}, symbols=["ABC"], period="1d")
    assert params.load_bars(tmp_path).close.ravel().tolist() == [10.0]


def test_regular_hours_is_a_parameter_of_a_run(tmp_path):
    lines = [f"2024-03-04 {time},10,11,9,10,100" for time in ("08:00", "08:30", "09:30", "10:00")]
    path = write(tmp_path / "ABC.csv", "date,open,high,low,close,volume\n" + "\n".join(lines) + "\n")
    options = {"path": str(path), "tz": "America/New_York", "interval": "30m"}
    params = BacktestParams(provider="file", provider_options=options, symbols=["ABC"], interval="30m",
                            regular_hours=True)
    assert [f"{time:%H:%M}" for time in params.load_bars(tmp_path).index] == ["09:30", "10:00"]


@pytest.mark.parametrize("whole", [True, False], ids=["folder", "file"])
def test_a_name_that_is_no_ticker_tells_the_way_out(tmp_path, whole):
    path = write(tmp_path / "XYZ 5m.csv", DAILY)
    provider = FileProvider(tmp_path if whole else path)
    with pytest.raises(InputError, match=r"'XYZ 5M', which is no ticker.*provider_options\.symbol='XYZ'") as caught:
        provider.download_bars(symbols=["XYZ"], period="max", interval="1d")
    assert "did you mean" not in str(caught.value) and (f"path='{path}'" in str(caught.value)) == whole
    got = FileProvider(path, symbol="XYZ").download_bars(symbols=["XYZ"], period="max", interval="1d")
    assert len(got) == 3
