"""A careless user's mistakes: each ends in one sentence with the value, what is valid and what to do."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import run_helpers as helpers

import botlib
from botlib import Strategy, cell_output, explore, job, param, report, runfolder, scaffold, yamlfile
from botlib.bars import Bars
from botlib.config import from_values
from botlib.errors import BotlibWarning, DataError, InputError, RunStopped, StrategyError
from botlib.params import Costs
from botlib.providers.file import FileProvider
from botlib.strategies.mean_reversion_momentum import MeanReversionMomentum

DAYS = pd.bdate_range("2012-03-05", periods=60, tz="America/New_York")


@dataclass(frozen=True)
class Big(Strategy):
    size: float = param(10.0, low=0.0, high=1000.0)

    def targets(self, bars):
        return np.full(bars.shape, self.size)


def bars_of(actions=None):
    close = np.linspace(50.0, 60.0, len(DAYS)).reshape(-1, 1)
    return Bars(DAYS, ["AAA"], open=close, high=close + 1, low=close - 1, close=close, volume=close * 1e5,
                calendar="XNYS", actions=actions)


# --- Python: names and types --------------------------------------------------------------------------------------


def test_a_typo_in_a_strategys_parameter_names_the_nearest():
    with pytest.raises(InputError, match="has no parameter 'rsi_perod'; did you mean 'rsi_period'"):
        MeanReversionMomentum(rsi_perod=10)


@pytest.mark.parametrize(("arguments", "named", "said"), [
    ((), {"m": 50}, r"Big has no parameter 'm'\. Valid: size\."),
    ((1.0, 2.0), {}, "2 values without a name and takes 1"),
    ((), {"size": "x"}, "Big.size = 'x' is a str; it must be float"), ((), {"size": None}, "Big.size = None; it must"),
])
def test_wrong_parameters_of_a_users_own_strategy(arguments, named, said):
    with pytest.raises(InputError, match=said):
        Big(*arguments, **named)


def test_a_class_without_the_decorator_is_told_that_first():
    class Plain(Strategy):
        n: int = param(5)

        def targets(self, bars):
            return bars.close

    with pytest.raises(StrategyError, match="Plain is not a dataclass"):
        Plain(n=3)


@pytest.mark.parametrize(("call", "said"), [
    (lambda bars: botlib.check_honesty(bars), "result is of type Bars; it must be a BacktestResult: use botlib"),
    (lambda bars: botlib.backtest(5, Big()), r"bars is of type int; it must be Bars: use Bars\.from_frame\(frame\)"),
    (lambda bars: report.summary(5), "result is of type int"), (lambda bars: report.trades_table(bars), "of type Bars"),
    (lambda bars: report.equity_figure(result=None), "result is of type NoneType"),
    (lambda bars: report.cost_figure(5, bars), "honesty is of type int; it must be what check_honesty gives"),
    (lambda bars: explore.forward_returns(np.ones((5, 1)), 1), "bars is of type ndarray"),
    (lambda bars: botlib.save_backtest("", bars, bars), "result is of type Bars"),
])
def test_a_main_argument_of_the_wrong_type(call, said):
    with pytest.raises(InputError, match=said):
        call(bars_of())


def test_weights_that_must_be_share_counts_or_percent_say_so():
    text = botlib.backtest(bars_of(), Big(), quiet=True).warnings[0]
    assert text.startswith("weights-clipped: ") and "a weight of 10 is 1000 % of equity" in text
    assert 'unit = "shares"' in text and "divide by 100" in text
    assert "equity" not in botlib.backtest(bars_of(), Big(0.5), quiet=True).warnings[0]


# --- Values: fractions, null, where they came from ----------------------------------------------------------------


@pytest.mark.parametrize(("name", "value", "said"), [
    ("slippage_bps", 0.0002, r"^slippage_bps = 0.0002 reads like a fraction; 2 bps is written 2\. Valid is 0, or 0.01"),
    ("commission_bps", 0.0005, "5 bps is written 5"), ("margin_rate_pct", 0.08, "8 % is written 8"),
])
def test_a_fraction_where_bps_or_percent_are_meant(name, value, said):
    with pytest.raises(InputError, match=said):
        Costs(**{name: value})


def test_small_but_honest_costs_pass():
    assert Costs(slippage_bps=0.01, margin_rate_pct=0.1, commission_bps=0.0).slippage_bps == 0.01


def test_null_is_told_in_the_words_of_the_file():
    with pytest.raises(InputError, match=r"^my\.yaml: cash is null \(empty\): it must be a valid number"):
        from_values({"cash": None}, {"cash": "my.yaml"})
    with pytest.raises(InputError, match=r"^cash = None: it must be"):
        from_values({"cash": None})


def test_two_values_that_contradict_each_other_name_both_origins(tmp_path):
    project = helpers.make_project(tmp_path)
    (project / "parameters" / "a.yaml").write_text("strategy: {slow: 100}\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"^--set \(fast\), parameters/a\.yaml \(slow\): fast = 150 must be below"):
        job.prepare(root=project, configs=["parameters/a.yaml"], sets=["strategy.fast=150"])


# --- YAML that never ends -----------------------------------------------------------------------------------------

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 10))


@pytest.mark.parametrize(("text", "said"), [
    ("a: &x [*x]", r"line 1, column 8: \*x stands inside &x itself"), ("a: &x\n  b: *x\n", "line 2, column 6"),
    ("a: &x {<<: *x}", "stands inside &x"), ("a: " + "[" * 3000 + "]" * 3000, "nested deeper than 20 levels"),
    (BOMB, "more than 100,000 values"), (BOMB.replace("[", "{<<: [").replace("]", "]}"), "more than 100,000 values"),
    ("a: &x 1\nb: &x 2\n", "line 2, column 4: the anchor &x stands here a second time"),
])
def test_yaml_that_cannot_be_written_out(text, said):
    with pytest.raises(InputError, match=said):
        yamlfile.parse(text, "my.yaml")


def test_an_alias_in_its_place_is_welcome():
    assert yamlfile.parse("a: &x [1, 2]\nb: *x\n", "my.yaml") == {"a": [1, 2], "b": [1, 2]}


# --- Files of bars ------------------------------------------------------------------------------------------------

ROWS = [("2012-05-18", 1.5, 2.0, 1.25, 1.75, 100), ("2012-05-21", 1.75, 2.5, 1.5, 2.25, 200)]


def csv(path: Path, separator: str, decimal: str = ".") -> Path:
    lines = [separator.join(str(v).replace(".", decimal) for v in row) for row in ROWS]
    path.write_text("\n".join([separator.join(("Date", "Open", "High", "Low", "Close", "Volume")), *lines]) + "\n",
                    encoding="utf-8")
    return path


def read(provider: FileProvider) -> list[float]:
    return provider.download_bars(symbols=["AAA"], period="max", interval="1d")["close"].tolist()


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_other_separators_are_read(tmp_path, separator):
    assert read(FileProvider(csv(tmp_path / "AAA.csv", separator))) == [1.75, 2.25]


def test_a_decimal_comma_is_told_and_then_read(tmp_path):
    path = csv(tmp_path / "AAA.csv", ";", ",")
    with pytest.raises(DataError, match=r"line 2, column Open = '1,5': .*a decimal comma needs decimal=','"):
        read(FileProvider(path))
    assert read(FileProvider(path, decimal=",")) == [1.75, 2.25]


def test_one_column_says_what_separates_columns(tmp_path):
    with pytest.raises(InputError, match="has one column, 'Date Open High Low Close Volume': separate"):
        read(FileProvider(csv(tmp_path / "AAA.csv", " ")))


def minutes(path: Path) -> Path:
    index = pd.date_range("2012-05-18 09:30", periods=390, freq="1min", tz="America/New_York")
    frame = pd.DataFrame({"timestamp": index.tz_convert("UTC"), "open": 10.0, "high": 11.0, "low": 9.0,
                          "close": np.arange(390) / 390 + 10.0, "volume": 5.0})
    frame.to_parquet(path, index=False)
    return path


def test_shorter_bars_of_a_file_are_resampled_by_the_parameters_and_told_by_the_provider(tmp_path):
    path = minutes(tmp_path / "AAA.parquet")
    params = from_values({"provider": "file", "provider_options": {"path": str(path)}, "symbols": ["AAA"],
                          "interval": "5m"})
    bars = params.load_bars(tmp_path)
    assert (bars.interval, len(bars), bars.volume[0, 0]) == ("5m", 78, 25.0)
    assert bars.close[0, 0] == pytest.approx(10.0 + 4 / 390)
    with pytest.raises(InputError, match=r"which is 1m bars: ask for 1m and make longer ones with bars\.resample"):
        FileProvider(path).download_bars(symbols=["AAA"], period="max", interval="5m")


def test_splits_and_dividends_that_are_not_known_are_not_taken_for_none(tmp_path):
    path = minutes(tmp_path / "AAA.parquet")
    params = from_values({"provider": "file", "provider_options": {"path": str(path)}, "symbols": ["AAA"],
                          "interval": "1m"})
    bars = params.load_bars(tmp_path)
    assert bars.actions is None
    assert [text for text in params.backtest(bars, Big(0.05)).warnings if text.startswith("no-actions: ")]
    with pytest.warns(BotlibWarning, match="no-actions"):
        FileProvider(path).actions(["AAA"])


def test_a_calendar_that_its_library_cannot_build():
    frame = bars_of().to_frame()
    with pytest.raises(InputError, match="calendar = 'XBEL' cannot be built by exchange_calendars"):
        Bars.from_frame(frame, "XBEL")


# --- The project --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["random.py", "pandas.py", "numpy/__init__.py"])
def test_a_file_that_hides_a_library_is_named(tmp_path, name):
    project = helpers.make_project(tmp_path)
    file = project / "notebooks" / name
    file.parent.mkdir(exist_ok=True)
    file.write_text("", encoding="utf-8")
    with pytest.raises(InputError, match=f"notebooks/{name.split('/')[0]} hides the library"):
        job.prepare(root=project)


def test_the_users_own_names_hide_nothing(tmp_path):
    project = helpers.make_project(tmp_path)
    (project / "notebooks" / "my_idea.py").write_text("", encoding="utf-8")
    assert job.prepare(root=project).kind == "backtest"


def test_new_twice_says_it_in_grammar(tmp_path):
    project = helpers.make_project(tmp_path)
    scaffold.new("mine", root=project)
    with pytest.raises(InputError, match=r"mine\.py, notebooks/mine\.ipynb and parameters/mine\.yaml exist already"):
        scaffold.new("mine", root=project)


def test_leftovers_of_dead_runs_go_and_those_of_live_ones_stay(tmp_path):
    work = job.prepare(root=helpers.make_project(tmp_path))
    live = runfolder.RunFolder.make(work, tmp_path / "outputs")
    dead = live.path.with_name(".20200102T030405Z_backtest_0a1b2c.partial")
    strange = live.path.with_name(".mine.partial")
    for folder in (dead, strange):
        folder.mkdir()
    for folder in (live.path, dead, strange):
        os.utime(folder, (time.time() - 3600,) * 2)
    other = runfolder.RunFolder.make(work, tmp_path / "outputs")
    assert set(helpers.runs(tmp_path)) == {live.path, other.path, strange}
    live.discard()
    other.discard()


def test_errors_of_a_run_are_in_the_one_tree():
    error = RunStopped("stopped", Path("a"), Path("a/run.log"), 15)
    assert isinstance(error, botlib.BotlibError) and (error.log, error.signum) == (Path("a/run.log"), 15)


# --- What a cell prints -------------------------------------------------------------------------------------------


class Sink:
    def __init__(self):
        self.text = ""

    def write(self, text):
        self.text += text
        return len(text)


def test_a_flood_of_output_is_cut_once_and_the_next_cell_starts_anew():
    meter, out, err = cell_output._Meter(), Sink(), Sink()
    meter.limit(out)
    meter.limit(err)
    for _ in range(30):
        assert out.write("x" * 10_000) == 10_000
    err.write("and more")
    assert out.text.startswith("x" * 200_000 + "\noutput-cut: ") and out.text.count("output-cut") == 1
    assert err.text == ""
    meter.reset()
    err.write("the next cell")
    assert err.text == "the next cell"


def test_a_progress_bar_is_no_flood():
    meter, out = cell_output._Meter(), Sink()
    meter.limit(out)
    for _ in range(10_000):
        out.write("\r" + "#" * 50)
    assert "output-cut" not in out.text
