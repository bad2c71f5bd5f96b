"""The tuner without a browser: what can be turned, what a move finds, what is counted, and what is saved."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest
from engine_helpers import make_bars

import botlib
from botlib import Repository, Risk, Strategy, indicators, job, param, targets_from_signals, tuner_page, yamlfile
from botlib.config import TuneParams
from botlib.errors import InputError
from botlib.tuner import Tuner
from botlib.tuner_save import read_evidence, save
from botlib.tuner_widgets import View
from botlib.tuner_work import Worker
from botlib.tuning.choices import choices_of
from botlib.tuning.ground import Ground
from botlib.tuning.judging import Honesty
from botlib.tuning.study import Study
from botlib.tuning.verdicts import verdicts

NOW = pd.Timestamp("2026-03-02 15:00", tz="UTC")


# --- What can be turned -------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Everything(Strategy):
    """One parameter of each kind."""

    few: int = param(3, low=1, high=5)
    many: int = param(20, low=2, high=1000, help="bars")
    level: float = param(50.0, low=0.0, high=100.0)
    free: float = 8.0
    maybe: float | None = param(None, low=1.0, high=4.0)
    flag: bool = False
    how: Literal["up", "down"] = "up"
    note: str = "x"

    def targets(self, bars: Any) -> np.ndarray:
        return np.full(bars.shape, np.nan)


def by_name(strategy, risk=None, **options):
    return {one.name: one for one in choices_of(strategy, risk or Risk(), **options)}


def test_choices_follow_types_and_declared_ranges():
    found = by_name(Everything(), most=10)
    assert set(found) == {"few", "many", "level", "free", "maybe", "flag", "how", "stop_loss_pct", "take_profit_pct"}
    assert found["few"].values == (1, 2, 3, 4, 5) and found["few"].ordered
    many = found["many"].values
    assert many[0] == 2 and many[-1] == 1000 and 20 in many and all(type(v) is int for v in many)
    ratios = [b / a for a, b in zip(many, many[1:], strict=False)]
    assert 10 <= len(many) <= 13 and max(ratios) < 2.6  # by ratio: the default lies low in its range
    level = found["level"].values
    assert level == tuple(float(v) for v in range(0, 101, 10))  # evenly
    assert min(found["free"].values) >= 2.0 and max(found["free"].values) <= 32.0 and 8.0 in found["free"].values
    assert found["maybe"].values[0] is None and found["maybe"].value is None
    assert found["flag"].values == (False, True) and not found["flag"].ordered
    assert found["how"].values == ("up", "down")
    assert found["stop_loss_pct"].values[0] is None and found["stop_loss_pct"].value == 5.0
    assert "bars" in found["many"].help and "2 to 1000" in found["many"].help


def test_own_values_and_the_value_that_is_set():
    found = by_name(Everything(many=7), Risk(stop_loss_pct=3.3), given={"many": [5, 9], "take_profit_pct": [None, 8]})
    assert found["many"].values == (5, 7, 9) and found["many"].value == 7
    assert found["stop_loss_pct"].value == 3.3 and 3.3 in found["stop_loss_pct"].values
    assert found["take_profit_pct"].values == (None, 8.0, 10.0)
    fractional = Risk(fractional=True, stop_loss_pct=None, take_profit_pct=None)
    assert "stop_loss_pct" not in by_name(Everything(), fractional)


@pytest.mark.parametrize(("given", "words"), [
    ({"meny": [1]}, "did you mean 'many'"), ({"many": [1.5]}, "must be int"), ({"many": [2000]}, "out of range"),
    ({"many": 5}, "must be a list"), ({"stop_loss_pct": [0.01]}, "stop_loss_pct"), ({"note": []}, "list"),
])
def test_values_that_are_none(given, words):
    with pytest.raises(InputError, match=words):
        by_name(Everything(), given=given)


# --- The surface --------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Dip(Strategy):
    """Buys below a multiple of its average, sells above another."""

    period: int = param(3, low=2, high=9)
    below: float = param(0.99, low=0.96, high=1.02)
    above: float = param(1.0, low=0.98, high=1.04)
    weight: float = param(0.5, low=0.01, high=1.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.below >= self.above:
            raise InputError(f"below = {self.below:g} must be below above = {self.above:g}.")

    @property
    def warmup(self) -> int:
        return self.period

    def targets(self, bars: Any) -> np.ndarray:
        average = indicators.sma(bars.close, self.period)
        return targets_from_signals(bars.close < average * self.below, bars.close > average * self.above, self.weight)


@dataclass(frozen=True)
class Slow(Dip):
    """The same by hand, which no sweep can share."""

    gate: Any = None

    def on_bar(self, view: Any) -> Any:
        close = view.bars.close[-self.period:]
        low, high = close[-1] < close.mean(axis=0) * self.below, close[-1] > close.mean(axis=0) * self.above
        return dict(zip(view.bars.symbols, np.where(high, 0.0, np.where(low, self.weight, np.nan)), strict=True))


@pytest.fixture(scope="module")
def bars():
    rng = np.random.default_rng(5)
    return make_bars({s: list(np.round(50.0 * np.cumprod(1.0 + rng.normal(0.0, 0.02, 300)), 2)) for s in "AB"})


@pytest.fixture
def study(bars):
    return Study(bars, Dip, 210, safety=None, by="portfolio", risk=Risk(max_position_pct=50.0))


POINT = {"period": 3, "below": 0.99, "above": 1.0, "weight": 0.5}


def test_a_ground_is_the_study_s_surface_row_by_row_or_at_once(study):
    xs, ys = (2, 4, 6), (0.97, 0.98, 0.99)
    whole = study.surface(study.search(POINT, "period", xs, "below", ys), "period", "below").values
    at_once = Ground(study, POINT, "period", "below", xs, ys, quick=True)
    at_once.search()
    np.testing.assert_array_equal(at_once.surface("sharpe").values, whole)
    by_row, seen = Ground(study, POINT, "period", "below", xs, ys), []
    while not by_row.done:
        by_row._search(by_row.rows, by_row.rows + 1, lambda: None)
        seen.append(int(np.isfinite(by_row.surface("sharpe").values).sum()))
    np.testing.assert_array_equal(by_row.surface("sharpe").values, whole)
    assert seen == [3, 6, 9] and by_row.points == 9
    assert by_row.facts() == at_once.facts()


def test_values_that_go_with_no_other_are_blank(study):
    ground = Ground(study, POINT, "period", "below", (2, 4), (0.98, 0.99, 1.0, 1.01))
    ground.search()
    known = np.isfinite(ground.surface("sharpe").values)
    assert known.tolist() == [[True, True], [True, True], [False, False], [False, False]]
    assert ground.done and ground.points == 4
    assert ground.holds(POINT | {"period": 4}) and not ground.holds(POINT | {"period": 5})
    assert not ground.holds(POINT | {"period": 4, "weight": 0.4})


def test_a_search_that_is_ended_goes_on_where_it_was(study):
    ground = Ground(study, POINT, "period", "below", (2, 4), (0.97, 0.98, 0.99))

    class Enough(Exception):
        pass

    def after_one():
        if ground.rows:
            raise Enough

    with pytest.raises(Enough):
        ground.search(progress=after_one)
    assert ground.rows == 1
    ground.search()
    whole = study.surface(study.search(POINT, "period", (2, 4), "below", (0.97, 0.98, 0.99)), "period", "below").values
    np.testing.assert_array_equal(ground.surface("sharpe").values, whole)


# --- Words --------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("sharpe", "deflated", "pbo", "years", "out", "words"), [
    (1.5, 0.97, 0.1, 10.0, 1.4, ["good", "good", "good", "good"]),
    (1.5, 0.60, 0.4, 5.0, 0.9, ["bad", "doubtful", "doubtful", "doubtful"]),
    (1.5, 0.20, 0.5, 10.0, 0.3, ["good", "bad", "bad", "bad"]),
    (-0.5, 0.00, 0.7, 10.0, 2.0, ["good", "bad", "bad", "bad"]),  # what lost in sample cannot last
    (1.5, math.nan, math.nan, 10.0, math.nan, ["good", "unknown", "unknown", "unknown"]),
])
def test_verdicts(sharpe, deflated, pbo, years, out, words):
    found = verdicts(Honesty(900, 300.0, sharpe, deflated, pbo, years, 8.0), out)
    assert [one.word for one in found] == words
    assert "900" in found[0].figure and "300" in found[0].figure
    page = tuner_page.meter(found)
    for one in found:
        assert f">{one.word}</span>" in page  # never a colour alone


def test_what_is_lost_out_of_sample_is_said():
    one = verdicts(Honesty(10, 5.0, 2.0, 0.5, 0.5, 5.0, 1.0), 1.0)[3]
    assert "50 %" in one.meaning and one.figure == "Sharpe ratio 2.00 in, 1.00 out"
    assert "being worked out" in verdicts(Honesty(10, math.nan, 2.0, math.nan, math.nan, 5.0, math.nan), 1.0,
                                          pending=True)[1].meaning.lower()


# --- The tuner ----------------------------------------------------------------------------------------------------

@pytest.fixture
def project(tmp_path):
    (tmp_path / "parameters").mkdir()
    return tmp_path


@pytest.fixture(scope="module")
def settings():
    return TuneParams(symbols=["AAPL", "IBM"], period="5y", safety=None, steps=5,
                      values={"rsi_period": [7, 14, 21], "oversold": [25.0, 30.0, 35.0]},
                      strategy={"name": "mean_reversion_momentum", "momentum_lookback": 100})


@pytest.fixture(scope="module")
def sample(settings):
    return settings.load_bars()


@pytest.fixture
def tuner(settings, sample, project):
    return Tuner(settings, sample, clock=lambda: NOW, root=project)


def worked_out(tuner, at, repository=None):
    ground = tuner.ground(at)
    ground.search()
    tuner.work_out(at, ground, repository)
    return ground


def test_a_saved_file_is_run_by_backtests_and_sessions_and_holds_its_evidence(tuner, project, sample):
    at = tuner.start.moved(rsi_period=7, stop_loss_pct=None)
    worked_out(tuner, at)
    file = save(tuner, at, "mine")
    kept = file.read_text(encoding="utf-8")
    for kind in ("backtest", "paper"):
        params, _, _ = job.settled(kind, base=project, configs=[file])
        assert params.load_strategy() == botlib.strategies.MeanReversionMomentum(7, 30.0, 70.0, 100)
        assert params.risk == Risk(stop_loss_pct=None) and params.symbols == ["AAPL", "IBM"]
    found, split = read_evidence(kept), tuner.split
    run = job.settled("backtest", base=project, configs=[file])[0]
    result = botlib.backtest(sample, run.load_strategy(), cash=run.cash, risk=run.risk, costs=run.costs, safety=None,
                             quiet=True)
    inside, outside = result.equity.iloc[:split], result.equity.iloc[split - 1:]
    for name, part in (("in_sample", inside), ("out_of_sample", outside)):
        returns = part.pct_change().iloc[1:]
        assert found[name]["total_return_pct"] == pytest.approx(100.0 * (part.iloc[-1] / part.iloc[0] - 1.0), rel=1e-5)
        assert found[name]["sharpe"] == pytest.approx(returns.mean() / returns.std() * 252**0.5, rel=1e-5)
        assert found[name]["to"] == f"{part.index[-1]:%Y-%m-%d}"
    assert (found["date"], found["trials"], found["account"]) == ("2026-03-02", 9, "portfolio")
    assert found["data_hash"] == sample.data_hash()
    assert found["strategy_hash"] == botlib.strategies.strategy_hash(run.load_strategy())
    assert 0.0 <= found["pbo"] <= 1.0 and found["searched"]["rsi_period"] == "3 values, 7 to 21"
    with pytest.raises(InputError, match="exists already and stays as it is"):
        save(tuner, at, "mine")
    assert file.read_text(encoding="utf-8") == kept


@pytest.mark.parametrize("name", ["", "  ", "../up", "a b", "a/b", ".hidden", "x" * 61, "C:\\x", "né"])
def test_a_name_that_is_none_is_refused(tuner, project, name):
    with pytest.raises(InputError, match="use up to 60 letters") as refused:
        save(tuner, tuner.start, name)
    assert "\n" not in str(refused.value) and list((project / "parameters").iterdir()) == []


def test_nothing_is_saved_without_its_evidence(tuner, project):
    with pytest.raises(InputError, match="still being searched"):
        save(tuner, tuner.start, "early")
    assert list((project / "parameters").iterdir()) == []


def test_every_trial_counts_once(tuner, project, monkeypatch):
    monkeypatch.delenv("PYTEST_CURRENT_TEST")
    at, trials = tuner.start, []
    with Repository.open(project / "t.sqlite", root=project) as repository:
        for one in (at, at.moved(rsi_period=21), at.moved(overbought=80.0), at):
            worked_out(tuner, one, repository)
            trials.append(tuner.honesty(one).trials)
    assert trials == [9, 9, 18, 18]  # a move on the surface is no new trial, another surface is nine
    other = Tuner(tuner.settings, tuner.bars, clock=lambda: NOW, root=project)
    with Repository.open(project / "t.sqlite", root=project) as repository:
        worked_out(other, at, repository)
    assert other.honesty(at).trials == 18  # the kernel forgot, the database did not


def test_a_symbol_alone_and_accounts_of_their_own(tuner):
    assert tuner.accounts == ("portfolio", "divided", "AAPL", "IBM")
    parts = [tuner.curve(replace(tuner.start, account=s)).equity for s in ("AAPL", "IBM")]
    np.testing.assert_allclose(tuner.curve(replace(tuner.start, account="divided")).equity, sum(parts) / 2.0)
    held = tuner.held(replace(tuner.start, account="IBM"))
    assert held[0] == 100_000.0 and held[-1] > 100_000.0


@pytest.mark.parametrize(("changes", "words"), [
    ({"x": "rsi_perod"}, "did you mean 'rsi_period'"), ({"account": "MSFT"}, "Valid: portfolio, divided, AAPL, IBM"),
    ({"x": "weight", "y": "weight"}, "two different"), ({"out_of_sample_pct": 2.0}, "out_of_sample_pct"),
    ({"values": {"rsi": [1]}}, "rsi_period"), ({"db": "postgresql://me:secret@h/d"}, "password"),
])
def test_settings_that_cannot_be(settings, sample, project, changes, words):
    with pytest.raises(InputError, match=words):
        Tuner(TuneParams(**settings.plain() | changes), sample, clock=lambda: NOW, root=project)


def test_the_words_say_where_it_stands(tuner):
    assert "run this cell again" in tuner.words()
    worked_out(tuner, tuner.at)
    text = tuner.words()
    for words in ("rsi_period = 14", "Plateau", "Trials: 9", "Deflated Sharpe ratio", "PBO", "Out of sample"):
        assert words in text


# --- Moves --------------------------------------------------------------------------------------------------------

class Screen:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, Any]] = []
        self.at_surface = threading.Event()

    def drawn(self, at, curve, held):
        self.seen.append(("account", at))

    def waits(self, at):
        pass

    def surface(self, at, ground, words):
        self.seen.append(("surface", at) if ground.done else ("part", at))
        if ground.rows:
            self.at_surface.set()

    def honesty(self, at, found, pending):
        if not pending:
            self.seen.append(("honesty", at))

    def says(self, text):
        if text:
            self.seen.append(("says", text))


@pytest.fixture
def worker(tuner):
    screen = Screen()
    made = Worker(tuner, screen)
    made.start()
    yield made, screen
    made.close()


def test_a_move_shows_the_account_first_then_surface_and_honesty(worker, tuner):
    made, screen = worker
    made.move(tuner.start)
    assert made.settle()
    assert [what for what, _ in screen.seen if what != "part"][:3] == ["account", "surface", "honesty"]
    screen.seen.clear()
    made.move(tuner.start.moved(rsi_period=21))
    assert made.settle()
    assert [what for what, _ in screen.seen][:3] == ["account", "surface", "honesty"]  # nothing is searched anew


def test_a_point_that_the_strategy_refuses_is_a_sentence(worker, tuner):
    made, screen = worker
    made.move(tuner.start.moved(overbought=20.0))
    assert made.settle()
    assert screen.seen == [("says", "oversold = 30 must be below overbought = 20.")]
    made.move(tuner.start)
    assert made.settle() and screen.seen[-1][0] == "honesty"


def test_a_new_move_ends_a_search(tuner, worker, monkeypatch):
    """Off the fast path: the account comes first, rows fill in, and the next move does not wait for the rest."""
    made, screen = worker
    at, gate = tuner.start, threading.Event()
    search = Study.search

    def held_up(self, *arguments, **options):
        if tuner.ground(at).rows and not gate.is_set():  # the first row is through, and shown
            gate.wait(30.0)
        return search(self, *arguments, **options)

    monkeypatch.setattr("botlib.tuning.ground.QUICK_SECONDS", 0.0)
    monkeypatch.setattr("botlib.tuner_work._LATE_SECONDS", 0.0)
    monkeypatch.setattr(Study, "search", held_up)
    made.move(at)
    assert screen.at_surface.wait(30.0)
    made.move(at.moved(overbought=75.0))
    gate.set()
    assert made.settle()
    assert screen.seen[0] == ("account", at) and screen.seen[1] == ("part", at)
    assert ("surface", at) not in screen.seen and ("honesty", at) not in screen.seen
    assert screen.seen[-1] == ("honesty", at.moved(overbought=75.0))
    assert 0 < tuner.ground(at).rows < 3  # what was found stays


def test_what_goes_wrong_behind_is_a_sentence(tuner):
    def nowhere():
        raise InputError("db: there is no such database.")

    screen = Screen()
    made = Worker(tuner, screen, nowhere)
    made.start()
    made.move(tuner.start)
    assert made.settle()
    made.close()
    assert ("says", "db: there is no such database.") in screen.seen


def test_the_next_step_of_a_slider_is_searched_beforehand(worker, tuner):
    made, _ = worker
    values = next(one.values for one in tuner.choices(tuner.start.strategy) if one.name == "momentum_lookback")
    here = values.index(100)
    for step in (0, 1):
        made.move(tuner.start.moved(momentum_lookback=values[here + step]))
        assert made.settle()
    coming = tuner.start.moved(momentum_lookback=values[here + 2])
    assert tuner.ground(coming).done and not tuner.settled(coming)


def test_a_strategy_with_on_bar_is_tuned_too(bars, project):
    study = Study(bars, Slow, 210, safety=None, by="portfolio", risk=Risk(max_position_pct=50.0))
    ground = Ground(study, POINT, "period", "below", (2, 4), (0.98, 0.99))
    ground.search()
    result = botlib.backtest(bars.upto(209), Slow(4, 0.98, 1.0, 0.5), safety=None, quiet=True,
                             risk=Risk(max_position_pct=50.0))
    assert ground.surface("total_return_pct").values[0, 1] == pytest.approx(result.metrics["total_return_pct"])


def test_evidence_is_read_back_as_it_was_written(project):
    assert read_evidence("name: x\n") == {}
    text = "# evidence:\n#   trials: 12\n#   pbo:\n\nname: x\n"
    assert read_evidence(text) == {"trials": 12, "pbo": None}
    assert yamlfile.parse(text, "x") == {"name": "x"}


# --- Widgets ------------------------------------------------------------------------------------------------------

@pytest.fixture
def view(tuner):
    made = View(tuner)
    made.worker.start()
    yield made
    made.close()


def turn(view, name, text):
    """As a person sees it: a slider, and what it shows."""
    view.turned[name].label = text


def test_every_control_is_named_and_explained(view, tuner):
    controls = [view.strategy, view.account, view.metric, view.x, view.y, view.name, *view.turned.values()]
    assert all(one.description and one.tooltip for one in controls) and view.save.tooltip
    assert list(view.turned) == list(tuner.start.point)


def test_two_axes_change_places_rather_than_being_one(view, tuner):
    before = tuner.at.x, tuner.at.y
    view.x.value = before[1]
    assert (tuner.at.x, tuner.at.y) == before[::-1] == (view.x.value, view.y.value)


def test_another_strategy_brings_its_own_sliders(view, tuner):
    view.strategy.value = "moving_average_cross"
    assert list(view.turned)[:2] == ["fast", "slow"] == [tuner.at.x, tuner.at.y]
    assert view.worker.settle() and view.said.value == ""
    assert "fast 50" in view.point.value and "Sharpe ratio" in view.heads[0].value
    before = view.picture.value, view.map.value
    turn(view, "fast", "22")
    assert view.worker.settle()
    assert "fast 22" in view.point.value and before[0] != view.picture.value and before[1] != view.map.value
    turn(view, "slow", "2")
    assert view.worker.settle()
    assert "fast = 22 must be below slow = 2" in view.said.value and "Traceback" not in view.said.value


def test_a_stop_is_turned_off_and_on(view, tuner):
    turn(view, "stop_loss_pct", "none")
    assert tuner.at.point["stop_loss_pct"] is None
    assert view.worker.settle() and "stop_loss_pct none" in view.point.value
    turn(view, "stop_loss_pct", "1.5")
    assert tuner.at.point["stop_loss_pct"] == 1.5 and tuner.risk(tuner.at).stop_loss_pct == 1.5


def test_save_as_says_what_became_of_it(view, project):
    view.worker.move(view.tuner.at)
    assert view.worker.settle()
    for name, words in (("no good", "use up to 60 letters"), ("fine", "Saved parameters/fine.yaml"),
                        ("fine", "exists already")):
        view.name.value = name
        view.save.click()
        assert words in view.saved.value
    assert [file.name for file in (project / "parameters").iterdir()] == ["fine.yaml"]


def test_a_symbol_with_too_few_bars_is_a_sentence(project):
    settings = TuneParams(symbols=["FB", "IBM"], period="1y", safety=None, steps=4, out_of_sample_pct=70.0)
    tuner = Tuner(settings, settings.load_bars(), clock=lambda: NOW, root=project)
    view = View(tuner)
    view.worker.start()
    view.account.value = "FB"
    assert view.worker.settle()
    assert "at least 60 bars" in view.said.value
    view.close()
