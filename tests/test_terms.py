"""What permission to trade is bound to."""

from __future__ import annotations

import hashlib

import pytest

from botlib import LiveParams, SessionParams, terms, yamlfile
from botlib.safety import SafetyControls
from botlib.terms import limits_hash, params_hash

OTHER = {  # a valid value for each name, different from the default
    "name": "other", "account": "swing", "enable_live": True, "iterations": 9, "poll_seconds": 5.0, "at_end": "flatten",
    "replay_start": "2012-01-03", "replay_cash": 5e5, "replay_seed": 3, "speed": 60.0, "db": "x.sqlite",
    "on_event": "notify", "ping_env": None, "orders": "shadow", "provider_options": {"x": 1}, "symbols": ["AAPL"],
    "period": "1y", "start": "2011-01-03", "end": "2012-12-31", "interval": "30m", "calendar": "XNAS",
    "regular_hours": True, "signal_adjustment": "raw", "risk": {"stop_loss_pct": 4.0}, "costs": {"slippage_bps": 3.0},
    "capital": 5000.0, "trade_late": True, "late_grace_seconds": 120.0, "daily_delay_minutes": 30.0, "provider": "file",
    "strategy": {"name": "momentum_rotation"}, "safety": {"max_drawdown_pct": 6.0},
}


def hashes(params: SessionParams) -> tuple[str, str]:
    return params_hash(params), limits_hash(params)


def test_every_parameter_counts_once_or_is_said_not_to():
    named = [*terms.TRADED, *terms.NOT_TRADED, *terms.ELSEWHERE]
    assert sorted(named) == sorted(SessionParams.model_fields) and len(named) == len(set(named))


@pytest.mark.parametrize("name", sorted(OTHER))
def test_what_is_traded_changes_the_hash_and_nothing_else_does(name):
    usual, other = hashes(LiveParams()), hashes(LiveParams(**{name: OTHER[name]}))
    assert (other[0] != usual[0]) is (name in terms.TRADED)
    assert (other[1] != usual[1]) is (name == "safety")


def test_venue_and_feed_count():
    alpaca = {"venue": "alpaca", "provider": "alpaca"}
    values = ({"provider": "alpaca"}, alpaca, alpaca | {"feed": "sip"})
    assert len({params_hash(SessionParams(**these)) for these in values}) == 3


def test_each_limit_counts_but_the_enabling():
    usual = SafetyControls()
    other = {"max_drawdown_pct": 6.0, "max_daily_loss_pct": 3.0, "max_position_size_pct": 20.0, "max_orders_per_day": 5,
             "on_kill": "flatten", "max_order_value": 500.0, "max_gross_exposure_pct": 50.0, "price_collar_pct": 10.0,
             "max_data_age_seconds": 60.0, "max_adv_pct": 1.0, "exits_alarm_per_day": 9}
    assert set(other) == set(SafetyControls.model_fields) - {"require_explicit_enable"}
    found = {limits_hash(SessionParams(safety=usual.model_copy(update={k: v}))) for k, v in other.items()}
    assert len(found | {limits_hash(SessionParams()), limits_hash(SessionParams(safety=None))}) == len(other) + 2
    assert terms.limits(SessionParams(safety=None)) is None


def test_writing_the_same_in_another_way_changes_nothing():
    one = yamlfile.parse("symbols: [IBM, AAPL]\nrisk: {stop_loss_pct: 5, take_profit_pct: 10.0}\ncapital: 1e4\n"
                         "provider_options: {a: 1, b: 2.5}\n", "x")
    other = yamlfile.parse("capital: 10000\nprovider_options: {b: 2.5, a: 1.0}\n"
                           "risk: {take_profit_pct: 10, stop_loss_pct: 5.0}\nsymbols: [AAPL, IBM]\n", "x")
    assert list(one) != list(other)
    assert hashes(LiveParams.from_mapping(one)) == hashes(LiveParams.from_mapping(other))


def test_a_paper_session_of_the_same_terms_has_the_same_hashes():
    assert hashes(SessionParams(interval="15m", period="60d")) == hashes(LiveParams())


def test_a_strategys_parameters_are_the_strategy_hashs_to_cover():
    assert hashes(LiveParams(strategy={"name": "momentum_rotation"})) == \
        hashes(LiveParams(strategy={"name": "momentum_rotation", "top_n": 3}))


def test_a_limit_that_a_later_version_adds_changes_nothing_while_it_is_off():
    class Later(SafetyControls):
        max_sector_pct: float | None = None

    def of(safety):
        return limits_hash(SessionParams().model_copy(update={"safety": safety}))

    assert of(Later()) == of(SafetyControls()) != of(Later(max_sector_pct=5.0))


def test_the_hash_is_of_this_text():
    """Written out by hand: a version that hashes another text voids every arm."""
    safety = SafetyControls(max_drawdown_pct=5.5, max_orders_per_day=3)
    text = ('["botlib limits",1,{"exits_alarm_per_day":50,"max_daily_loss_pct":2,"max_drawdown_pct":5.5,'
            '"max_orders_per_day":3,"max_position_size_pct":10,"on_kill":"keep","price_collar_pct":20}]')
    assert limits_hash(SessionParams(safety=safety)) == hashlib.sha256(text.encode()).hexdigest()
    text = ('["botlib parameters",1,{"calendar":"XNYS","costs":{"borrow_rate_pct":0,"commission_bps":0,'
            '"commission_min":0,"commission_per_share":0,"margin_rate_pct":0,"regulatory_fees":true,"slippage_bps":2,'
            '"volume_impact_bps":0},"daily_delay_minutes":20,"feed":"iex","interval":"1d","late_grace_seconds":90,'
            '"orders":"send","period":"max","provider":"sample","provider_options":{},"regular_hours":false,'
            '"risk":{"account":"margin","fractional":false,"max_gross_exposure_pct":100,"max_position_pct":10,'
            '"stop_loss_pct":5,"take_profit_pct":10},"signal_adjustment":"split","symbols":["AAPL","IBM"],'
            '"trade_late":false,"venue":"sandbox"}]')
    assert params_hash(SessionParams(symbols=["IBM", "AAPL"])) == hashlib.sha256(text.encode()).hexdigest()
