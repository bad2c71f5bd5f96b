"""`Blend`: several strategies in one."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
import run_helpers as helpers

import botlib
from botlib import Blend, job, notebook_params, strategies, yamlfile
from botlib.bars import Bars
from botlib.errors import InputError, StrategyError
from botlib.strategies import MeanReversionMomentum, MomentumRotation, MovingAverageCross, Strategy, load, strategy_hash
from botlib.strategies.members import spelled_out

NAN = np.nan


@dataclass(frozen=True)
class Says(Strategy):
    """Targets of one symbol, written down; a point keeps."""

    text: str = ". . ."
    own_warmup: int = 0

    @property
    def warmup(self):
        return self.own_warmup

    def targets(self, bars):
        said = [NAN if word == "." else float(word) for word in self.text.split()]
        return np.array(said[: len(bars)] + [NAN] * (len(bars) - len(said))).reshape(-1, 1) + np.zeros(bars.shape)


class InShares(Strategy):
    unit: ClassVar[str] = "shares"

    def targets(self, bars):
        return np.full(bars.shape, 10.0)


class ByHand:
    unit, warmup = "weight", 0

    def on_bar(self, view):
        return None


def bars_of(rows: int, columns: int = 1, close: np.ndarray | None = None) -> Bars:
    close = np.full((rows, columns), 50.0) if close is None else close
    index = pd.bdate_range("2012-03-05", periods=rows, tz="America/New_York")
    return Bars(index, [f"S{j}" for j in range(close.shape[1])], open=close, high=close, low=close, close=close,
                volume=np.full(close.shape, 1e6))


def random_bars(rows: int, columns: int = 3, seed: int = 3) -> Bars:
    rng = np.random.default_rng(seed)
    return bars_of(rows, close=100 * np.exp(np.cumsum(rng.normal(0.0003, 0.02, (rows, columns)), axis=0)))


def blended(*texts: str, weights=None, memory=None, warmups=None) -> np.ndarray:
    members = [Says(text, warmup) for text, warmup in zip(texts, warmups or [0] * len(texts), strict=True)]
    rows = max(len(text.split()) for text in texts)
    return Blend(members, weights, memory).targets(bars_of(rows))[:, 0]


# --- the sum --------------------------------------------------------------------------------------------------------


def test_a_members_last_target_counts_until_its_next():
    #                 both    a keeps   both keep   a leaves   b keeps too
    targets = blended("0.4      .         .           0          . ",
                      "0.2      0.6       .           .          .", weights=[0.5, 0.25])
    np.testing.assert_allclose(targets, [0.25, 0.35, NAN, 0.15, NAN], rtol=1e-15)


def test_one_that_has_said_nothing_counts_zero_and_a_short_counts_negative():
    np.testing.assert_allclose(blended(". .  0.4", ". -0.2 .", weights=[0.5, 1.0]), [NAN, -0.2, 0.0], atol=1e-15)


def test_opposite_targets_are_exactly_flat():
    assert blended("0.3", "-0.1", weights=[0.1, 0.3])[0] == 0.0  # 0.1 * 0.3 and 0.3 * 0.1 differ in the last digit


def test_who_repeats_its_zero_does_not_reopen_what_a_stop_closed():
    targets = blended("0.4 .   .   0  .  0", "0   0   0   0  0  .", weights=[0.5, 0.5])
    np.testing.assert_array_equal(targets, [0.2, NAN, NAN, 0.0, 0.0, 0.0])


def test_who_repeats_a_position_does():
    np.testing.assert_allclose(blended("0.4 . .", ". 0.2 0.2"), [0.2, 0.3, 0.3], rtol=1e-15)  # as it would alone


def test_equal_weights_without_weights():
    assert Blend([Says(), Says(), Says(), Says()]).weights == (0.25, 0.25, 0.25, 0.25)


def test_a_member_is_heard_from_its_own_warm_up_on():
    np.testing.assert_array_equal(blended("0.4 0.2 .", "0.2 . .", weights=[1.0, 1.0], warmups=[1, 0]), [0.2, 0.4, NAN])


def test_a_symbol_that_begins_later_has_a_warm_up_of_its_own():
    close = np.full((5, 2), 50.0)
    close[:2, 1] = NAN  # its own bars are rows 2, 3 and 4; two come before row 4
    member = Says("0.1 0.2 0.3 0.4 0.5", 2)
    targets = Blend([member, Says()], [1.0, 1.0]).targets(bars_of(5, close=close))
    np.testing.assert_array_equal(targets, [[NAN, NAN], [NAN, NAN], [0.3, NAN], [0.4, NAN], [0.5, 0.5]])


@pytest.mark.parametrize("member", [MeanReversionMomentum(rsi_period=5, momentum_lookback=50),
                                    MovingAverageCross(fast=5, slow=20, allow_short=True),
                                    MomentumRotation(lookback=60, skip=5)], ids=lambda m: type(m).__name__)
def test_a_blend_of_one_trades_as_the_one_alone(member):
    bars = random_bars(900)
    one, alone = (botlib.backtest(bars, s, safety=None, quiet=True) for s in (Blend([member], [1.0]), member))
    if getattr(member, "rebalance_tolerance_pct", None) is not None:
        one = botlib.backtest(bars, Blend([member], [1.0], rebalance_tolerance_pct=1.0), safety=None, quiet=True)
    assert alone.n_trades > 10
    pd.testing.assert_frame_equal(one.trades, alone.trades)


def test_share_counts_add_up():
    blend = Blend([InShares(), InShares()], [1.0, 0.5])
    assert blend.unit == "shares" and Blend([Says()]).unit == "weight"
    np.testing.assert_array_equal(blend.targets(bars_of(2)), [[15.0], [15.0]])


def test_a_blend_may_hold_a_blend():
    inner = Blend([Says("0.4"), Says("0.2")], [0.5, 0.5])
    np.testing.assert_allclose(Blend([inner, Says("0.1")], [0.5, 1.0]).targets(bars_of(1)), [[0.25]])


# --- warm-up and memory ---------------------------------------------------------------------------------------------


def test_the_warm_up_is_the_longest_of_the_members_and_the_memory():
    members = [MeanReversionMomentum(), MovingAverageCross()]  # 280 and 200
    assert Blend(members).warmup == 280
    assert Blend(members, memory=100).warmup == 380


def test_a_target_counts_for_the_memory_and_then_zero():
    targets = blended("0.4 . . . . .", ". . . . . 0.1", weights=[1.0, 1.0], memory=3)
    np.testing.assert_array_equal(targets, [0.4, NAN, NAN, 0.0, NAN, 0.1])
    spoken_again = blended("0.4 . 0.5 . . .", weights=[1.0], memory=3)
    np.testing.assert_array_equal(spoken_again, [0.4, NAN, 0.5, NAN, NAN, 0.0])


def test_with_a_memory_more_history_changes_no_target():
    blend = Blend([MovingAverageCross(fast=5, slow=20), MomentumRotation(lookback=60, skip=5)], memory=40)
    bars = random_bars(700)
    whole = blend.targets(bars)
    assert np.isfinite(whole[blend.warmup:]).sum() > 100
    for start in (1, 37, 250, 480):
        later = bars_of(700 - start, close=bars.close[start:])
        later = Bars(bars.index[start:], bars.symbols, open=later.open, high=later.high, low=later.low,
                     close=later.close, volume=later.volume)
        np.testing.assert_array_equal(blend.targets(later)[blend.warmup:], whole[start + blend.warmup:])


def test_honesty_sees_what_lies_further_back_than_the_warm_up():
    bars = random_bars(1500)
    rare = [MovingAverageCross(fast=20, slow=100), MeanReversionMomentum(rsi_period=5, momentum_lookback=100)]
    for memory, passed in ((None, False), (150, True)):
        honesty = botlib.check_honesty(botlib.backtest(bars, Blend(rare, memory=memory), safety=None, quiet=True))
        assert not honesty.looks_ahead
        assert {check.name: check.passed for check in honesty.checks}["warm-up"] is passed


# --- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("options", "kind", "said"), [
    ({"members": []}, InputError, "Blend.members = []: give a list of strategies"),
    ({"members": Says()}, InputError, "give a list of strategies"),
    ({"members": "blend"}, InputError, "Blend.members = 'blend': give a list of strategies"),
    ({"members": [Says(), Says]}, InputError, "number 2, is the class Says; give an instance: Says()"),
    ({"members": [5]}, InputError, "number 1 = 5: it is no strategy; it needs targets(bars), unit and warmup"),
    ({"members": [Says(), ByHand()]}, StrategyError, "number 2: ByHand decides in on_bar(view), which looks at its own "
     "positions, and in a blend there is but one account; take strategies that define targets(bars)."),
    ({"members": [Says(), InShares()]}, StrategyError, "different units: Says 'weight', InShares 'shares'. Blend "
     "strategies of one unit."),
    ({"members": [Says()], "weights": [0.5, 0.5]}, InputError, "Blend.weights = [0.5, 0.5] has 2 values for 1 members"),
    ({"members": [Says()], "weights": 0.5}, InputError, "Blend.weights = 0.5: give a list of numbers"),
    ({"members": [Says(), Says()], "weights": [0.5, 50]}, InputError, "Blend.weights = [0.5, 50]: number 2 is out "
     "of range: valid is above 0, to 1 (0.5 is half of what the member asks for)."),
    ({"members": [Says()], "weights": [0]}, InputError, "Blend.weights = [0]: number 1 is out of range"),
    ({"members": [Says()], "weights": [NAN]}, InputError, "Blend.weights = [nan]: number 1 is out of range"),
    ({"members": [Says()], "weights": [True]}, InputError, "Blend.weights = [True]: number 1 is out of range"),
    ({"members": [Says()], "weights": ["a"]}, InputError, "Blend.weights = ['a']: number 1 is out of range"),
    ({"memory": 0}, InputError, "Blend.memory = 0 is out of range: valid is 1 to 100000."),
    ({"memory": 2.5}, InputError, "Blend.memory = 2.5 is a float; it must be int or None"),
    ({"mebers": []}, InputError, "Blend has no parameter 'mebers'; did you mean 'members'?"),
])
def test_what_cannot_be_blended_is_one_sentence(options, kind, said):
    with pytest.raises(kind) as caught:
        Blend(**options)
    assert said in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(("members", "said"), [
    ([{"name": "momentum_rotaton"}], "members, number 1: unknown strategy 'momentum_rotaton'; did you mean"),
    (["momentum_rotation", {"name": "moving_average_cross", "fst": 3}], "members, number 2: MovingAverageCross has no "
     "parameter 'fst'; did you mean 'fast'?"),
    ([{"top_n": 3}], "members, number 1: give a map with its name, e.g. {name: momentum_rotation}."),
    ([3], "number 1 = 3: it is no strategy"),
    ({"name": "momentum_rotation"}, "give a list of strategies"),
])
def test_a_file_that_names_no_strategy_is_one_sentence(members, said):
    with pytest.raises(InputError) as caught:
        load("blend", {"members": members})
    assert said in str(caught.value) and "\n" not in str(caught.value)


# --- loading and identity -------------------------------------------------------------------------------------------

MAPS = [{"name": "mine.py:Mine", "lookback": 30}, "moving_average_cross"]


def test_members_load_by_name_from_the_projects_root(tmp_path):
    (tmp_path / "mine.py").write_text(helpers.STRATEGY, encoding="utf-8")
    blend = load("blend", {"members": MAPS, "weights": [0.7, 0.3]}, root=tmp_path)
    assert [type(member).__name__ for member in blend.members] == ["Mine", "MovingAverageCross"]
    assert (blend.members[0].lookback, blend.weights) == (30, (0.7, 0.3))


def test_spelled_out_it_has_every_parameter_of_every_member(tmp_path):
    (tmp_path / "mine.py").write_text(helpers.STRATEGY, encoding="utf-8")
    full = spelled_out({"name": "blend", "members": MAPS}, load("blend", {"members": MAPS}, root=tmp_path))
    assert full.pop("members") == [
        {"name": "mine.py:Mine", "lookback": 30},
        {"name": "moving_average_cross", "fast": 50, "slow": 200, "weight": 0.1, "allow_short": False}]
    assert full == {"name": "blend", "weights": [0.5, 0.5], "memory": None, "rebalance_tolerance_pct": None}
    usual = spelled_out({"name": "blend"}, load("blend"))
    assert [member["name"] for member in usual["members"]] == ["mean_reversion_momentum", "momentum_rotation"]
    assert load("blend", {k: v for k, v in usual.items() if k != "name"}) == load("blend")


def test_a_users_own_parameter_of_the_same_name_is_left_alone():
    @dataclass(frozen=True)
    class Club(Strategy):
        members: tuple = ("AAPL", "IBM")

        def targets(self, bars):
            return bars.close * NAN

    assert load(Club, {"members": ["MSFT"]}).members == ["MSFT"]


def test_the_hash_covers_the_members_their_parameters_and_their_source(tmp_path):
    def of(lookback=30, weights=None, text=helpers.STRATEGY, swap=False):
        (tmp_path / "mine.py").write_text(text, encoding="utf-8")
        maps = [{"name": "mine.py:Mine", "lookback": lookback}, "moving_average_cross"]
        members = maps[::-1] if swap else maps
        return strategy_hash(load("blend", {"members": members, "weights": weights}, root=tmp_path))

    assert of() == of() == of(weights=[0.5, 0.5])
    changed = helpers.STRATEGY.replace("np.nan", "0.1")
    assert changed != helpers.STRATEGY
    hashes = [of(), of(lookback=31), of(weights=[0.4, 0.6]), of(text=changed), of(swap=True)]
    assert len(set(hashes)) == 5


IDEA = """\
from dataclasses import dataclass

from botlib.strategies import Strategy, param


@dataclass(frozen=True)
class Idea(Strategy):
    lookback: int = param(20, low=2)
    pair: tuple = ("AAPL", "IBM")

    def targets(self, bars):
        return bars.close * 0.0
"""


def test_the_hash_of_a_strategy_that_is_no_blend_is_what_it_was(tmp_path):
    """As version 0.1 gave it before there were blends: sessions are recorded under such hashes."""
    (tmp_path / "idea.py").write_text(IDEA, encoding="utf-8")
    assert strategy_hash(load("idea.py:Idea", {"lookback": 30}, root=tmp_path)) == \
        "c2e408cbd512a0d675c74d9dabb34b875afe51a93871c8661406a94067d51bf7"


def test_a_blend_is_a_run_like_any_other(tmp_path):
    project = helpers.make_project(tmp_path)
    (project / "mine.py").write_text(helpers.STRATEGY, encoding="utf-8")
    (project / "parameters" / "b.yaml").write_text(
        "strategy:\n  name: blend\n  members:\n  - {name: 'mine.py:Mine', lookback: 30}\n  - moving_average_cross\n",
        encoding="utf-8")
    work = job.prepare(root=project, configs=["parameters/b.yaml"], sets=["strategy.weights=[0.6, 0.2]"])
    assert work.params.strategy["weights"] == [0.6, 0.2]
    assert work.params.strategy["members"][0] == {"name": "mine.py:Mine", "lookback": 30}
    assert work.origins["strategy.members"] == "parameters/b.yaml"
    kept = yamlfile.parse(yamlfile.dump(work.values), "x")
    assert kept["strategy"] == work.params.strategy
    text = notebook_params.literal(work.params.strategy)
    assert ast.literal_eval(text) == work.params.strategy
    assert [type(member).__name__ for member in work.params.load_strategy(project).members] == [
        "Mine", "MovingAverageCross"]
    with pytest.raises(InputError, match=r"^--set: Blend\.weights = \[2, 0\.5\]: number 1 is out of range"):
        job.prepare(root=project, configs=["parameters/b.yaml"], sets=["strategy.weights=[2, 0.5]"])
    with pytest.raises(InputError, match=r"^--set: members, number 1: unknown strategy 'x'"):
        job.prepare(root=project, sets=["strategy={name: blend, members: [{name: x}]}"])


def test_the_shipped_default_runs():
    provider = botlib.providers.load("sample")
    frame = provider.download_bars(symbols=["AAPL", "IBM"], period="5y", interval="1d")
    result = botlib.backtest(Bars.from_frame(frame), load("blend"), quiet=True)
    assert result.n_trades > 0
    assert strategies.Blend is Blend


def test_the_settings_name_each_member_on_a_row_of_its_own():
    result = botlib.backtest(bars_of(30), Blend([Says("0.1"), Says("0.2")]), quiet=True)
    shown = botlib.report.settings_table(result)
    rows = shown.loc["strategy"].iloc[:, 0].to_dict()
    assert rows["members, number 2"] == "Says(text='0.2', own_warmup=0)"
    assert "members" not in rows
