"""Learning: what is tried, what fills say of slippage, the gates, the proposal, and a person who accepts it."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from cli_helpers import clone, shell, typed  # noqa: F401
from engine_helpers import make_bars
from repository_helpers import NOW, a_fill, an_intent, an_order

import botlib
from botlib import Repository, Risk, SessionParams, Strategy, job, live, param, yamlfile
from botlib.errors import DataError, InputError
from botlib.learn_config import LearnParams
from botlib.learning import accepting, gates, report, running
from botlib.learning.candidates import bounded, candidates
from botlib.learning.estimate import learn
from botlib.learning.gates import Record
from botlib.learning.proposal import evidence
from botlib.learning.slippage import ENOUGH, Slippage, measured
from botlib.strategies import MeanReversionMomentum, MomentumRotation
from botlib.tuner_save import read_evidence
from botlib.tuning.judging import Honesty

# --- What is tried ----------------------------------------------------------------------------------------------------


def test_a_step_each_way_round_what_is_set():
    found = candidates(MeanReversionMomentum(rsi_period=14, weight=0.2), Risk())
    assert list(found.values) == ["rsi_period", "oversold", "overbought", "momentum_lookback"]  # no size, no stop
    assert found.values["oversold"] == (25.0, 30.0, 35.0) and found.values["overbought"] == (65.0, 70.0, 75.0)
    low, own, high = found.values["rsi_period"]
    assert own == 14 and 7 <= low <= 12 and 17 <= high <= 21  # a step that is one, within 50 %
    assert found.points == 81 and found.current["weight"] == 0.2  # what is not estimated stays as it is set
    assert found.grid()["weight"] == [0.2]


def test_stop_and_target_where_they_are_named_and_set():
    found = candidates(MeanReversionMomentum(), Risk(stop_loss_pct=5.0), estimate=["stop_loss_pct"], reach=2)
    assert found.values == {"stop_loss_pct": (3.0, 4.0, 5.0, 6.0, 7.0)}
    with pytest.raises(InputError, match="estimate: 'stop_loss_pct' is no number .* or it is not set"):
        candidates(MeanReversionMomentum(), Risk(stop_loss_pct=None), estimate=["stop_loss_pct"])


@pytest.mark.parametrize(("options", "words"), [
    ({"estimate": ["rsi_perod"]}, "estimate: 'rsi_perod' .*did you mean 'rsi_period'"),
    ({"values": {"rsi_period": list(range(2, 90)), "oversold": [float(n) for n in range(10, 50)]}}, "points are more"),
    ({"estimate": []}, "nothing to learn"),
])
def test_what_cannot_be_tried_is_one_sentence(options, words):
    with pytest.raises(InputError, match=words) as error:
        candidates(MeanReversionMomentum(), Risk(), **options)
    assert "\n" not in str(error.value)


def test_a_change_is_bounded_by_percent_or_by_one_step():
    ladder = (1, 2, 4, 8, 16)
    assert bounded(8, 12, ladder, 50.0) and not bounded(8, 13, ladder, 50.0)
    assert bounded(8, 16, ladder, 50.0) and bounded(1, 2, ladder, 10.0)  # one step, however wide
    assert not bounded(4, 16, ladder, 50.0) and not bounded(0.0, 2.0, (0.0, 1.0, 2.0), 50.0)


# --- What sessions paid -----------------------------------------------------------------------------------------------

DAYS = pd.date_range("2026-01-05", periods=6, freq="D", tz="America/New_York")
# open, high, low, close of each day
CELLS = [(100.0, 101.0, 99.0, 100.0), (100.0, 103.0, 90.0, 101.0), (200.0, 201.0, 150.0, 160.0),
         (160.0, 170.0, 155.0, 165.0), (165.0, 166.0, 164.0, 165.0), (165.0, 170.0, 160.0, 165.0)]


class Ledger:
    """A ledger by hand, of one session."""

    def __init__(self, folder, venue: str = "alpaca-paper", orders: str = "send") -> None:
        self.repository = Repository.open(folder / "ledger.sqlite", root=folder)
        self.bars = make_bars({"AAPL": CELLS}, index=DAYS)
        self.begin(venue, orders)
        self.count = 0

    def begin(self, venue: str, orders: str = "send") -> None:
        ledger = self.repository.ledger(f"account-{venue}-{orders}", "1", venue=venue, capital=1e5, time=NOW)
        self.ledger, self.session = ledger.id, f"s-{venue}-{orders}"
        with self.repository.writing() as tx:
            tx.session(self.session, ledger.id, kind="paper", time=NOW, strategy="cross", orders=orders)
            self.decided = tx.decision(ledger.id, bar_time=DAYS[0], interval="1d", time=NOW, session_id=self.session)

    def filled(self, price: float, *, side: str = "buy", type: str = "market", day: int = 1, stop: float | None = None,
               decided: bool = True) -> None:
        self.count += 1
        name, order_id = f"c-{self.count}", f"o-{self.count}"
        with self.repository.writing() as tx:
            an_intent(tx, self.ledger, name, side=side, session_id=self.session,
                      decision_id=self.decided if decided else None)
            tx.order(self.ledger, an_order(order_id=order_id, client_order_id=name, side=side, type=type,
                                           stop_price=stop), time=NOW, intent=name)
            tx.fill(self.ledger, a_fill(price=price, side=side, order_id=order_id,
                                        time=(DAYS[day] + pd.Timedelta(hours=9.5)).tz_convert("UTC")),
                    session_id=self.session)

    def measured(self) -> Slippage:
        return measured(self.repository, self.bars, 2.0, "ledger.sqlite")


def test_slippage_is_measured_against_the_open_after_the_decision_and_the_stop(tmp_path):
    ledger = Ledger(tmp_path)
    ledger.filled(100.5)                                            # open 100: 50 bps
    ledger.filled(99.9, side="sell")                                # 10 bps
    ledger.filled(94.905, side="sell", type="stop", stop=95.0)      # 10 bps
    ledger.filled(199.0, side="sell", type="stop", stop=210.0, day=2)  # it opened at 200, beyond the stop: 50 bps
    ledger.filled(250.0, side="buy", type="limit")                  # a limit has none
    ledger.filled(101.0, decided=False)                             # a person's: no decision
    ledger.filled(161.0, day=3)                                     # days after its decision
    found = ledger.measured()
    assert found.bps == pytest.approx([50.0, 10.0, 10.0, 50.0])
    assert (found.fills, found.left_out, found.median_bps) == (4, 2, pytest.approx(30.0))
    assert found.last_session == "s-alpaca-paper-send" and found.used_bps == 2.0
    assert "4 market and stop fills" in found.sentence and "fewer than 20" in found.sentence


@pytest.mark.parametrize(("price", "used"), [(100.07, 7.0), (100.005, 2.0)])
def test_the_worse_of_configured_and_measured_costs(tmp_path, price, used):
    ledger = Ledger(tmp_path)
    for _ in range(ENOUGH - 1):
        ledger.filled(price)
    assert ledger.measured().used_bps == 2.0
    ledger.filled(130.0)  # one wild fill moves no median
    assert ledger.measured().fills == ENOUGH and ledger.measured().used_bps == pytest.approx(used)
    assert f"costs use {used:g} bps" in ledger.measured().sentence


def test_a_brokers_fills_go_before_the_local_exchanges_and_shadows_count_nothing(tmp_path):
    ledger = Ledger(tmp_path, venue="sandbox")
    ledger.filled(100.02)
    assert ledger.measured().venue == "sandbox" and ledger.measured().bps == pytest.approx([2.0])
    ledger.begin("alpaca-paper", "shadow")
    ledger.filled(109.0)
    assert ledger.measured().bps == pytest.approx([2.0])
    ledger.begin("alpaca-live")
    ledger.filled(100.3)
    assert ledger.measured().venue == "broker" and ledger.measured().bps == pytest.approx([30.0])


@pytest.mark.slow
def test_a_session_gives_back_what_the_local_exchange_charges(tmp_path, monkeypatch, bars):
    """A real one: its exchange takes 12 bps of prices with four decimals on market and stop orders, not on targets."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "parameters").mkdir()
    session = SessionParams(
        symbols=["AAPL", "GOOG", "IBM"], strategy={"name": "moving_average_cross", "fast": 3, "slow": 8}, period="60d",
        risk={"stop_loss_pct": 3.0, "take_profit_pct": 4.0}, replay_start="2012-06-01", iterations=60, ping_env=None,
        costs={"slippage_bps": 12.0}, db="t.sqlite")
    live.run_live_paper_trading(session, say=lambda _: None, root=tmp_path)
    with Repository.open(tmp_path / "t.sqlite", root=tmp_path) as repository:
        found = measured(repository, bars, 2.0, "t.sqlite")
        made = repository.fills(repository.ledgers()[0].id)
    assert found.fills == (made["purpose"] != "target").sum() >= ENOUGH and found.left_out == 0
    assert found.bps == pytest.approx(12.0, abs=0.05) and found.used_bps == pytest.approx(12.0, abs=0.05)
    assert found.venue == "sandbox" and found.last_session


def test_what_slippage_says():
    silent = Slippage(2.0, np.full(77, 1.9996), venue="sandbox", ledger="l", last_session="s")
    assert silent.used_bps == 2.0 and "all on the local exchange" in silent.sentence
    assert "no session" in Slippage(2.0, np.empty(0), ledger="l").sentence
    assert "no ledger" in Slippage(2.0, np.empty(0)).sentence


# --- The gates, each refusing and passing -----------------------------------------------------------------------------

def a_record(sharpe: float, return_pct: float, *returns_pct: float) -> Record:
    return Record(sharpe, return_pct, -5.0, 10, returns_pct or (return_pct,))


@pytest.mark.parametrize(("current", "learned", "passed"), [
    (a_record(0.4, 5.0), a_record(0.5, 6.0), True),
    (a_record(0.4, 5.0), a_record(0.4, 5.0), False),          # no better
    (a_record(0.4, 5.0), a_record(0.5, 4.0), False),          # steadier, and less
    (a_record(0.4, 5.0), a_record(0.3, 6.0), False),
    (a_record(math.nan, 0.0), a_record(0.3, 6.0), True),      # nothing traded until now
    (a_record(0.4, 5.0), a_record(math.nan, 0.0), False),
])
def test_gate_out_of_sample(current, learned, passed):
    gate = gates.better(current, learned, "2010-01-04", "2012-12-31")
    assert gate.passed is passed and "net of costs" in gate.sentence


def test_gate_out_of_sample_counts_windows():
    gate = gates.better(a_record(0.4, 5.0, 1.0, 2.0, 2.0), a_record(0.5, 6.0, 2.0, 2.0, 1.0), "a", "b")
    assert "better in 1 and worse in 1 of 3 windows" in gate.sentence


def an_honesty(deflated: float) -> Honesty:
    return Honesty(trials=84, effective=36.1, sharpe=0.5, deflated=deflated, pbo=0.4, years=13.0, needed_years=4.0)


@pytest.mark.parametrize(("deflated", "passed"), [(0.951, True), (0.95, True), (0.949, False), (math.nan, False)])
def test_gate_deflated_sharpe(deflated, passed):
    gate = gates.deflated(an_honesty(deflated), 0.95)
    assert gate.passed is passed
    if not math.isnan(deflated):
        assert "84 trials, worth 36.1 independent" in gate.sentence and f"{deflated:.3f}" in gate.sentence


@pytest.mark.parametrize(("own", "around", "passed"), [
    (1.0, [0.9, 0.7, 0.2], True),             # 0.7 in the middle, 0.7 wanted
    (1.0, [0.9, 0.69, 0.2], False),
    (1.0, [0.9, 0.8, 0.7, 0.5], True),        # 0.75 between the two in the middle
    (1.0, [0.9, math.nan, math.nan], False),  # neighbours that trade nothing are no plateau
    (-0.1, [0.5, 0.5], False), (math.nan, [0.5], False), (1.0, [], False),
])
def test_gate_plateau(own, around, passed):
    assert gates.plateau(own, around, 30.0).passed is passed


def test_gate_bounded_change():
    given = candidates(MeanReversionMomentum(), Risk(), values={"rsi_period": [7, 14, 30]}, estimate=["oversold"])
    near, far = ({"rsi_period": n, "oversold": 25.0} for n in (7, 30))
    assert gates.change(given, near, 50.0).passed
    one_step = gates.change(given, far, 50.0)
    assert one_step.passed and "rsi_period 14 to 30 (+114 %)" in one_step.sentence  # the next of a person's own values
    wide = candidates(MeanReversionMomentum(), Risk(), values={"rsi_period": [7, 14, 20, 30]})
    refused = gates.change(wide, {**wide.current, "rsi_period": 30}, 50.0)
    assert not refused.passed and "at most 50 %" in refused.sentence
    assert gates.change(wide, wide.current, 50.0).sentence == "Nothing changes."


def test_one_gate_that_is_not_passed_keeps_what_is_there():
    good, bad = gates.Gate("a", True, ""), gates.Gate("plateau", False, "")
    assert gates.advice([good, good], 1) == ("accept", "Accept the proposed parameters: all 2 gates are passed.")
    word, why = gates.advice([good, bad], 1)
    assert word == "keep" and "(plateau)" in why
    assert gates.advice([good, good], 0) == ("keep", "Keep the current parameters: the search came back to them.")


# --- On real bars -----------------------------------------------------------------------------------------------------

ROTATION = {"name": "momentum_rotation", "lookback": 63, "skip": 5, "top_n": 3}
FILE = '''\
# A session of mine.
name: mine
symbols: [AAPL, FB, GOOG, IBM, MSFT]
strategy:
  name: momentum_rotation
  lookback: 63   # a quarter
  skip: 5        # a week
  top_n: 3
safety: null  # for now
iterations: 120  # a session's own
'''


def settings_of(**changes) -> LearnParams:
    return LearnParams(**{"strategy": ROTATION, "estimate": ["lookback", "skip"], "db": None, "name": "mine",
                          "parameter_file": "parameters/mine.yaml", **changes})


@pytest.fixture(scope="module")
def bars():
    return settings_of().load_bars()


@pytest.fixture(scope="module")
def accepted(bars):
    """A change that passes all gates on the bars that ship."""
    return running.estimate(settings_of(), bars)


@pytest.fixture(scope="module")
def kept(bars):
    """And one that does not."""
    return running.estimate(settings_of(strategy={"name": "mean_reversion_momentum"},
                                        estimate=["rsi_period", "oversold"]), bars)


@pytest.fixture
def project(tmp_path):
    (tmp_path / "parameters").mkdir()
    (tmp_path / "parameters" / "mine.yaml").write_text(FILE, encoding="utf-8")
    return tmp_path


def files(folder) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def written(found, project):
    """The file of a proposal."""
    sentence = running.save(found, root=project)
    return project / re.fullmatch(r"(?:Proposal|The proposal is there already): (\S+?\.yaml)\.?(?: .*)?", sentence)[1]


def test_real_bars_give_a_proposal_to_accept_and_one_to_refuse(accepted, kept):
    assert accepted.recommendation == "accept" and all(gate.passed for gate in accepted.gates)
    assert accepted.changes and set(accepted.changes) <= {"lookback", "skip"}
    assert kept.recommendation == "keep" and not all(gate.passed for gate in kept.gates)
    assert "not passed (" in kept.sentence
    for found in (accepted, kept):
        assert "nan" not in " ".join(gate.sentence for gate in found.gates)


def test_windows_are_what_single_backtests_give(accepted, bars):
    """Each window of both accounts, run alone; and the chain of them."""
    for windows, point in ((accepted.current_windows, {"lookback": 63, "skip": 5}), (accepted.learned_windows, None)):
        grown = 1.0
        for step in windows.steps:
            chosen = step.chosen if point is None else point
            strategy = MomentumRotation(lookback=chosen["lookback"], skip=chosen["skip"], top_n=3)
            first = step.split.test[0] - 1
            alone = botlib.backtest(bars.upto(step.split.test[-1]), strategy, safety=None, quiet=True,
                                    decide_from=first)
            curve = alone.equity.to_numpy()[first:]
            assert step.tested.equity == pytest.approx(curve, rel=1e-12)
            grown *= curve[-1] / curve[0]
        assert windows.equity.iloc[-1] == pytest.approx(100_000.0 * grown, rel=1e-12)
    was, now = accepted.records
    assert len(was.returns_pct) == len(now.returns_pct) == 21
    # no window's choice saw a bar of its test
    assert all(step.split.train[-1] < step.split.test[0] for step in accepted.learned_windows.steps)


def test_worse_slippage_of_the_ledger_is_reckoned_with_and_proposed(bars, accepted):
    slip = Slippage(2.0, np.full(30, 25.0), venue="broker", ledger="trades.sqlite", last_session="s-9")
    found = learn(settings_of(), bars, settings_of().load_strategy(), slip)
    assert found.records[0].return_pct < accepted.records[0].return_pct - 1.0  # 25 bps instead of 2 on every fill
    said = evidence(found)
    assert said["slippage"]["used_bps"] == 25.0 and said["last_session"] == "s-9"
    assert said["changes"]["costs.slippage_bps"] == {"from": 2.0, "to": 25.0}


def test_too_few_bars_are_one_sentence_and_nothing_is_written(project):
    settings = settings_of(db="trades.sqlite")
    with pytest.raises(InputError, match=r"bars: 1,249 are too few .* take 1,250; .*Nothing was written"):
        running.estimate(settings, settings.load_bars().tail(1_249), root=project)
    assert not (project / "parameters" / "proposals").exists()


def test_a_strategy_that_trades_nothing_is_one_sentence():
    @dataclass(frozen=True)
    class Never(Strategy):
        level: int = param(5, low=1, high=9)

        def targets(self, bars):
            return np.zeros(bars.shape)

    flat = make_bars({"AAPL": [100.0 + n % 7 for n in range(200)]})
    settings = LearnParams(symbols=["AAPL"], train_bars=60, test_bars=20, db=None)
    with pytest.raises(DataError, match="nothing was traded"):
        learn(settings, flat, Never(), Slippage(2.0, np.empty(0)))


# --- The proposal -----------------------------------------------------------------------------------------------------

def test_a_proposal_is_a_file_that_backtests_and_sessions_take(accepted, project):
    before = files(project)
    file = written(accepted, project)
    assert re.fullmatch(r"mine-2013-03-01-[0-9a-f]{8}\.yaml", file.name)
    assert {name: text for name, text in files(project).items() if name in before} == before  # nothing else changed
    assert set(files(project)) - set(before) == {f"parameters/proposals/{file.name}"}
    values = yamlfile.read(file, "it")
    new = accepted.proposed
    for kind in ("backtest", "paper", "learn"):
        params, _, _ = job.settled(kind, base=project, configs=[file])
        made = params.load_strategy(project)
        assert (made.lookback, made.skip, made.top_n) == (new["lookback"], new["skip"], 3)
        assert params.safety is not None and params.costs.slippage_bps == 2.0
    assert values["strategy"]["name"] == "momentum_rotation"


def test_the_evidence_says_everything(accepted, kept, project):
    for found, word in ((accepted, "accept"), (kept, "keep")):
        text = written(found, project).read_text(encoding="utf-8")
        said = read_evidence(text)
        assert said["recommendation"] == word and text.startswith(f"# PROPOSAL, recommendation: {word}. ")
        assert set(said["gates"]) == {"out of sample", "deflated Sharpe", "plateau", "bounded change"}
        assert text.count("NOT PASSED") == sum(not gate["passed"] for gate in said["gates"].values())
        assert said["parameters"]["current"] == found.tried.current and len(said["windows"]) == 21
        assert said["trials"] >= found.tried.points >= said["effective_trials"] and 0.0 <= said["pbo"] <= 1.0
        assert said["data"]["hash"] == found.bars.data_hash()
        assert said["strategy_hash"]["current"] != said["strategy_hash"]["proposed"]
        assert {"current_sharpe", "re_estimated_sharpe", "chosen"} <= set(next(iter(said["windows"].values())))


def test_the_same_inputs_give_the_same_file_and_write_nothing_again(accepted, bars, project):
    first = written(accepted, project)
    after = files(project)
    again = running.estimate(settings_of(), bars)
    assert running.save(again, root=project).startswith("The proposal is there already: ")
    assert written(again, project) == first and files(project) == after


def test_only_looking_writes_nothing(accepted, project):
    looked = SimpleNamespace(**{name: getattr(accepted, name) for name in (
        "bars", "strategy", "gates", "recommendation", "sentence")}, settings=settings_of(write=False))
    before = files(project)
    assert running.save(looked, root=project) == "No proposal was written: write = False."
    assert files(project) == before


def test_every_trial_counts_once_and_none_in_a_test_run(bars, project, monkeypatch):
    settings = settings_of(db="trades.sqlite", estimate=["lookback"])

    def count():
        with Repository.open(project / "trades.sqlite", root=project) as repository:
            return len(repository.trials("MomentumRotation", repository_key()))

    def repository_key():
        from botlib import trials
        return trials._key(trials.data_set(bars, "sample"))

    running.estimate(settings, bars, root=project)
    assert count() == 0  # PYTEST_CURRENT_TEST is set
    monkeypatch.delenv("PYTEST_CURRENT_TEST")
    found = running.estimate(settings, bars, root=project)
    points = count()
    assert 3 <= points <= 5 and found.honesty.trials == points  # three values, and neighbours of the chosen one
    again = running.estimate(settings, bars, root=project)
    assert count() == points and evidence(again) == evidence(found)
    monkeypatch.setenv("PYTEST_CURRENT_TEST", "set again")


def test_the_report_shows_both(accepted, kept):
    table = report.parameters_table(accepted)
    assert list(table["Parameter"]) == ["lookback", "skip"] and list(table["Current"]) == ["63", "5"]
    assert len(report.windows_table(accepted)) == 21 + 4
    verdicts = report.gates_table(kept)
    assert "not passed" in set(verdicts["Verdict"]) and verdicts["Gate"].iloc[-1] == "Overfitting (PBO)"
    ax = report.walk_forward_figure(accepted).axes[0]
    last = sorted(float(line.get_ydata()[-1]) for line in ax.lines)
    assert last == sorted(float(w.equity.iloc[-1]) for w in (accepted.current_windows, accepted.learned_windows))
    assert {"Re-estimated", "Current"} <= {text.get_text().split("\n")[0] for text in ax.texts}


# --- A person accepts -------------------------------------------------------------------------------------------------

def test_accepting_changes_the_values_alone_and_its_backup_brings_them_back(accepted, project):
    file, target = written(accepted, project), project / "parameters" / "mine.yaml"
    given = accepting.prepare(file, root=project)
    assert target.read_text() == FILE  # asking changes nothing
    back = accepting.accept(given)
    expected = FILE
    for name, (old, new) in accepted.changes.items():
        assert f"  {name}: {old} " in expected
        expected = expected.replace(f"  {name}: {old} ", f"  {name}: {new} ")
    assert target.read_text() == expected
    assert back.read_text().endswith(FILE)  # a whole copy of what was there
    assert accepting.prepare(file, root=project).changes == {}  # a second time there is nothing to do
    accepting.accept(accepting.prepare(back, root=project))
    assert target.read_text() == FILE


def test_what_was_not_there_goes_in_and_out_again(accepted, project):
    """A file that names the strategy in one word, and one without the parameter."""
    name, (_, new) = next(iter(accepted.changes.items()))
    for text in ("symbols: [AAPL]\nstrategy: momentum_rotation  # defaults\n",
                 "strategy: {name: momentum_rotation, top_n: 3}\n", "# empty so far\nname: x\n"):
        target = project / "parameters" / "mine.yaml"
        target.write_text(text, encoding="utf-8")
        back = accepting.accept(accepting.prepare(written(accepted, project), root=project))
        held = yamlfile.read(target, "it")["strategy"]
        assert held["name"] == "momentum_rotation" and held[name] == new
        accepting.accept(accepting.prepare(back, root=project))
        again = yamlfile.read(target, "it").get("strategy")
        assert name not in (again if isinstance(again, dict) else {})
        (project / "parameters" / "mine.yaml").unlink()


def test_files_that_ship_keep_every_other_byte(root):
    for file in [root / "parameters" / f"{name}.yaml" for name in ("backtest", "paper", "live")]:
        text = file.read_text(encoding="utf-8")
        values = {"strategy": {"name": "mean_reversion_momentum", "rsi_period": 9}, "risk": {"stop_loss_pct": None}}
        changed = accepting._changed(text, {"strategy.rsi_period": (14, 9), "risk.stop_loss_pct": (5.0, None)}, values)
        lines = [(a, b) for a, b in zip(text.splitlines(), changed.splitlines(), strict=True) if a != b]
        assert [a.split(":")[0].strip() for a, _ in lines] == ["rsi_period", "stop_loss_pct"], file.name
        assert yamlfile.parse(changed, "it")["risk"]["stop_loss_pct"] is None and changed.endswith("\n")
        for before, after in lines:
            assert before.partition("#")[2] == after.partition("#")[2]  # the comment stays
    text = "a:\n  - x\nstrategy:\n    name: s\n    n: 0.10 # why\n    m: 'q'\nrisk: {stop: 5.0, size: 1}\nnone: null\n"
    changed = accepting._changed(text, {"strategy.n": (0.1, 0.2), "risk.stop": (5.0, 4.0)}, {})
    assert changed == text.replace("0.10 #", "0.2  #").replace("stop: 5.0", "stop: 4.0")


def test_what_is_not_accepted(accepted, kept, project):
    good, bad = written(accepted, project), written(kept, project)
    target = project / "parameters" / "mine.yaml"

    def refused(words: str, *args, **options) -> None:
        with pytest.raises(InputError, match=words):
            accepting.prepare(*args, root=project, **options)
        assert target.exists() is False or "lookback: 50" not in target.read_text()

    refused("it recommends to keep what is there.*--anyway", bad)
    refused("is for the strategy mean_reversion_momentum, and .* has momentum_rotation", bad, anyway=True)
    refused("holds no proposal", target)
    odd = project / "parameters" / "odd.yaml"
    odd.write_text(good.read_text().replace('"strategy.', '"safety.'), encoding="utf-8")
    refused("holds no proposal", odd)  # limits are none of its business
    odd.write_bytes(b"\xff\xfe\x00")
    refused("not UTF-8", odd)
    refused("does not exist", "parameters/proposals/none.yaml")
    nowhere = project / "parameters" / "nowhere.yaml"
    nowhere.write_text(good.read_text().replace('parameter_file: "parameters/mine.yaml"', 'parameter_file: ""'))
    refused("made without a parameter file; name the one it goes into with --into", nowhere)
    assert accepting.prepare(nowhere, into=target, root=project).target == target
    refused("parameter file parameters/other.yaml does not exist", good, into="parameters/other.yaml")
    name, (old, _) = next(iter(accepted.changes.items()))
    target.write_text(FILE.replace(f"{name}: {old} ", f"{name}: 99 "), encoding="utf-8")
    refused(f"was made with strategy.{name} = {old}, and parameters/mine.yaml has 99 now", good)
    assert accepting.prepare(good, root=project, anyway=True).changes
    given = accepting.prepare(good, root=project, anyway=True)
    target.write_text(FILE, encoding="utf-8")  # somebody edits it while the question stands
    with pytest.raises(InputError, match="has changed while you were asked"):
        accepting.accept(given)
    assert target.read_text() == FILE


# --- The command line -------------------------------------------------------------------------------------------------

def test_a_sessions_file_is_taken_as_it_is(root):
    for file in ("paper.yaml", "live.yaml", "backtest.yaml"):
        params, origins, _ = job.settled("learn", base=root, configs=[root / "parameters" / file])
        assert params.name == file.removesuffix(".yaml")
        assert origins["strategy.rsi_period"] == f"parameters/{file}"


def test_what_nobody_knows_is_refused(root, tmp_path):
    file = tmp_path / "odd.yaml"
    file.write_text("poll_seconds: 5\ntrain_barz: 500\n", encoding="utf-8")
    with pytest.raises(InputError, match="unknown parameter 'train_barz'.*did you mean 'train_bars'"):
        job.settled("learn", base=root, configs=[file])
    with pytest.raises(InputError, match="unknown parameter 'poll_seconds'"):
        job.settled("learn", base=root, sets=["poll_seconds=5"])  # typed for learning, it is a slip


@pytest.mark.slow
def test_learning_headless_then_a_person_accepts(clone):  # noqa: F811
    target = clone.write("parameters/mine.yaml", FILE)
    line = "learn --config parameters/mine.yaml --set estimate=[lookback,skip]"
    done = clone.run(line)
    assert done.returncode == 0, done.stderr
    assert "recommendation  accept. " in done.stdout
    file = re.search(r"^proposal +(parameters/proposals/mine-\S+\.yaml)$", done.stdout, re.MULTILINE)[1]
    folder = next((clone.folder / "outputs" / "learn").iterdir())
    result = json.loads((folder / "result.json").read_text())
    assert result["status"] == "ok" and result["proposal"] == file and result["written"] is True
    assert read_evidence((clone.folder / file).read_text())["parameter_file"] == "parameters/mine.yaml"
    again = clone.run(line)
    assert f"{file} (there already; nothing was written)" in again.stdout
    nobody = clone.run(f"learn accept {file}")
    assert nobody.returncode == 2 and "accepting is a person's" in nobody.stderr and target.read_text() == FILE
    shown, code = typed(clone, f"learn accept {file}", "n")
    assert code == 2 and "not accepted" in shown and target.read_text() == FILE
    shown, code = typed(clone, f"learn accept {file}", "y")
    assert code == 0 and "A session that runs goes on with the parameters it began with" in shown
    assert target.read_text() != FILE
    back = re.search(r"what was there +(\S+)", shown)[1]
    assert clone.run(f"learn accept {back} --yes").returncode == 0 and target.read_text() == FILE
    few = clone.run("learn --config parameters/mine.yaml --period 2y")
    assert few.returncode == 2 and few.stderr.count("\n") == 1 and "too few to learn from" in few.stderr
