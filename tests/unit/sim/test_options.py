from __future__ import annotations

import inspect
from typing import Any

import attrs
import pytest

from lasersell.errors import ConfigurationError
from lasersell.sim.options import (
    DEFAULT_LIMITS,
    OptionFields,
    SimOptions,
    make_options,
)
from lasersell.sim.tiers import TIERS


def test_the_default_limits_are_those_of_the_specification() -> None:
    """The limits are the specification's example, with a flush every 100 ms."""
    assert attrs.astuple(DEFAULT_LIMITS, filter=lambda field, _: field.name != "extra")[
        -7:
    ] == (1024, 100, 100, 10, 20, 5, 0)


@pytest.mark.parametrize("keys", ["key", ["key"], {"key"}])
def test_one_key_or_several_are_let_in(keys: Any) -> None:
    """A single key need not be wrapped in a list."""
    assert SimOptions(api_keys=keys).api_keys == frozenset({"key"})


def test_a_key_is_not_shown() -> None:
    """The keys that are let in are not part of the representation."""
    assert "secret" not in repr(SimOptions(api_keys=frozenset({"secret"})))


@pytest.mark.parametrize(
    "options",
    [
        {"hello": "maybe"},
        {"position_ids": "lost"},
        {"exit_state": "lost"},
        {"unknown_key": "drop_older"},
        {"too_many_sessions": "500"},
    ],
    ids=str,
)
def test_a_choice_that_does_not_exist_is_refused(options: dict[str, Any]) -> None:
    """A misspelt choice is an error, not the default."""
    with pytest.raises(ConfigurationError, match="choose one of"):
        SimOptions(**options)


def test_a_flush_interval_of_nothing_is_refused() -> None:
    """Ticks without a pause between them are refused."""
    limits = attrs.evolve(DEFAULT_LIMITS, pnl_flush_ms=0)
    with pytest.raises(ConfigurationError, match="pnl_flush_ms"):
        SimOptions(limits=limits)


def test_every_option_is_described_and_typed() -> None:
    """The documentation and the typed keyword arguments have every field."""
    names = {field.name for field in attrs.fields(SimOptions)}
    assert set(OptionFields.__annotations__) == names
    # Indented or not, as the version of Python has it.
    text = inspect.getdoc(SimOptions) or ""
    for name in names:
        assert f"\n    {name}: " in text


def test_without_a_tier_options_are_the_defaults() -> None:
    """Nothing said is nothing changed."""
    assert make_options(None, None, {}) == SimOptions()


def test_a_tier_sets_what_was_not_set() -> None:
    """A tier's fields hold, but for those that were named, and the flush interval."""
    options = make_options("personal", 20, {"advanced_exits": True})
    tier = TIERS["personal"]
    assert options == SimOptions(
        limits=attrs.evolve(tier.limits, pnl_flush_ms=20),
        inactivity_timeout_ms=tier.inactivity_timeout_ms,
        advanced_exits=True,
    )


def test_an_option_that_does_not_exist_is_refused() -> None:
    """A misspelt option is named."""
    fields: Any = {"helo": "first"}
    with pytest.raises(ConfigurationError, match="no option helo"):
        make_options(None, None, fields)
