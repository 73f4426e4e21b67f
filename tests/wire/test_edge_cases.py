from __future__ import annotations

import pytest

from lasersell.errors import ConfigurationError, DecodeError
from lasersell.protocol import (
    ClosePosition,
    Configure,
    PositionOpened,
    UnknownMessage,
    decode_server_message,
    validate_strategy,
)
from tests.wire.vectors import EDGE_CASES, as_text


def _opened(name: str) -> PositionOpened:
    message = decode_server_message(EDGE_CASES[name].text)
    assert isinstance(message, PositionOpened)
    return message


def _refusal(name: str) -> DecodeError:
    vector = EDGE_CASES[name]
    with pytest.raises(DecodeError) as caught:
        vector.decode(vector.text)
    assert caught.value.raw == vector.text
    return caught.value


def test_every_edge_case_has_a_test() -> None:
    """Each line of the file is answered by the test of its name."""
    assert {f"test_{name}" for name in EDGE_CASES} <= set(globals())


def test_unknown_type() -> None:
    """A type yet unknown is handed on whole."""
    wire = EDGE_CASES["unknown_type"].wire
    message = decode_server_message(EDGE_CASES["unknown_type"].text)
    assert message == UnknownMessage(type="brand_new_event", raw=wire)


def test_unknown_extra_fields() -> None:
    """Fields yet unknown are kept, and are there again when encoded."""
    vector = EDGE_CASES["unknown_extra_fields"]
    message = _opened("unknown_extra_fields")
    assert message.extra == {"future_field": {"a": [1]}}
    assert message.decode_notes == ()
    assert decode_server_message(vector.encode(message)) == message


def test_unknown_market_type_on_position_opened() -> None:
    """A market type yet unknown is delivered, its venue kept as it came."""
    message = _opened("unknown_market_type_on_position_opened")
    context = message.market_context
    assert context is not None
    assert context.market_type == "orca_whirlpool"
    assert context.venue is None
    pool = "FMUEmtxhU46GzhKF4FW9MLJdQWiLgjiXP9TYRWSrqTpV"
    assert context.extra == {"orca_whirlpool": {"pool": pool}}
    assert message.decode_notes == ()


def test_market_type_without_underscore() -> None:
    """The other spelling of a market type is normalised."""
    context = _opened("market_type_without_underscore").market_context
    assert context is not None
    assert context.market_type == "pump_fun"


def test_optional_fields_explicit_null() -> None:
    """A null in an optional field is the same as no field."""
    wire = EDGE_CASES["optional_fields_explicit_null"].wire
    bare = {name: value for name, value in wire.items() if value is not None}
    message = _opened("optional_fields_explicit_null")
    assert message == decode_server_message(as_text(bare))
    assert message.decode_notes == ()


def test_missing_type() -> None:
    """An object without a type is refused, saying so."""
    assert _refusal("missing_type").path == "type"


def test_position_id_as_string() -> None:
    """A position id in quotes is refused, saying where."""
    assert _refusal("position_id_as_string").path == "position_closed.position_id"


def test_ping_without_time() -> None:
    """A ping without the client's time is refused."""
    assert _refusal("ping_without_time").path == "ping.client_time_ms"


def test_close_position_id_string() -> None:
    """A client's position id in quotes is refused."""
    assert _refusal("close_position_id_string").path == "close_position.position_id"


def test_go_sdk_update_position_strategy_type() -> None:
    """The type name that the Go SDK writes is not a known one."""
    error = _refusal("go_sdk_update_position_strategy_type")
    assert error.path == "type"
    assert "UpdatePositionStrategy" in str(error)


def test_go_sdk_ladder_field_names() -> None:
    """A ladder level without ``profit_pct`` is refused, saying which level."""
    error = _refusal("go_sdk_ladder_field_names")
    assert error.path == "update_strategy.strategy.take_profit_levels[0].profit_pct"


def test_strategy_missing_stop_loss() -> None:
    """A strategy without ``stop_loss_pct`` is refused."""
    error = _refusal("strategy_missing_stop_loss")
    assert error.path == "update_strategy.strategy.stop_loss_pct"


def test_configure_all_zero_strategy() -> None:
    """An all-zero strategy parses, and is valid only with a deadline."""
    vector = EDGE_CASES["configure_all_zero_strategy"]
    message = vector.decode(vector.text)
    assert isinstance(message, Configure)
    validate_strategy(message.strategy, deadline_timeout_sec=45)
    with pytest.raises(ConfigurationError, match="no exit condition"):
        validate_strategy(message.strategy)


def test_selector_none() -> None:
    """A ``close_position`` that names no position parses; the peer decides."""
    vector = EDGE_CASES["selector_none"]
    assert vector.decode(vector.text) == ClosePosition()
