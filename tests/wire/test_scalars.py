from __future__ import annotations

from typing import Any

import attrs
import pytest

from lasersell.errors import ConfigurationError, DecodeError
from lasersell.protocol import (
    ClosePosition,
    Configure,
    LiquiditySnapshot,
    MirrorBuyResult,
    MirrorConfig,
    Ping,
    PositionOpened,
    RequestExitSignal,
    StrategyConfig,
    TakeProfitLevel,
    UpdateStrategy,
    UpdateWallets,
    decode_client_message,
    decode_server_message,
    encode_client_message,
    encode_server_message,
)
from tests.wire.vectors import MESSAGES, as_text

# A message, a field of it, and the bounds of the field's width.
_WIDTHS: list[tuple[str, str, int, int]] = [
    ("position_opened/all_optional", "token_decimals", 0, 2**8 - 1),
    ("mirror_buy_signal/minimal", "slippage_bps", 0, 2**16 - 1),
    ("request_exit_signal/by_position_id_with_slippage", "slippage_bps", 0, 2**16 - 1),
    ("mirror_wallet_auto_disabled/consecutive_losses", "loss_count", 0, 2**32 - 1),
    ("exit_signal_with_tx/all_optional", "level_index", 0, 2**32 - 1),
    ("position_opened/minimal", "position_id", 0, 2**64 - 1),
    ("position_opened/minimal", "tokens", 0, 2**64 - 1),
    ("pnl_update/minimal", "position_id", 0, 2**64 - 1),
    ("pnl_update/minimal", "proceeds_units", 0, 2**64 - 1),
    ("pnl_update/all_optional", "token_price_quote", 0, 2**64 - 1),
    ("pnl_update/minimal", "profit_units", -(2**63), 2**63 - 1),
    ("exit_signal_with_tx/minimal", "profit_units", -(2**63), 2**63 - 1),
    ("trade_tick/all_optional", "quote_amount", 0, 2**64 - 1),
    ("ping", "client_time_ms", 0, 2**64 - 1),
]

# What is no integer, however much it looks like one.
_NO_INTEGERS = [b'"7"', b"1.9", b"1.0", b"1e2", b"true", b"false", b"[7]", b"{}"]

_OPTIONAL = {"token_decimals", "level_index", "token_price_quote"}


def _with_field(name: str, field: str, value: str) -> bytes:
    """Return the vector's text with one field replaced by any JSON text."""
    wire = {**MESSAGES[name].wire, field: "<here>"}
    return as_text(wire).replace(b'"<here>"', value.encode())


def _decode(name: str, text: bytes) -> Any:
    return MESSAGES[name].decode(text)


every_width = pytest.mark.parametrize(("name", "field", "low", "high"), _WIDTHS)


@every_width
def test_the_ends_of_a_width_are_exact(
    name: str, field: str, low: int, high: int
) -> None:
    """The least and the greatest integer of a width arrive unchanged."""
    for bound in (low, high):
        message = _decode(name, _with_field(name, field, str(bound)))
        assert getattr(message, field) == bound
        assert _decode(name, MESSAGES[name].encode(message)) == message


@every_width
def test_beyond_a_width_is_malformed(
    name: str, field: str, low: int, high: int
) -> None:
    """One less than the least and one more than the greatest integer do not fit."""
    for beyond in (low - 1, high + 1):
        _assert_malformed(name, field, str(beyond))


@every_width
@pytest.mark.parametrize("value", _NO_INTEGERS)
def test_nothing_is_coerced_to_an_integer(
    name: str, field: str, low: int, high: int, value: bytes
) -> None:
    """Text, fractions, flags, arrays and objects are not integers."""
    _assert_malformed(name, field, value.decode())


def _assert_malformed(name: str, field: str, value: str) -> None:
    text = _with_field(name, field, value)
    is_lenient = MESSAGES[name].direction == "server" and (
        field in _OPTIONAL or name.startswith("exit_signal")
    )
    if is_lenient:
        message = _decode(name, text)
        assert getattr(message, field) is None
        assert getattr(message, "decode_notes", (field,)) == (field,)
    else:
        with pytest.raises(DecodeError) as caught:
            _decode(name, text)
        assert caught.value.path == f"{MESSAGES[name].wire['type']}.{field}"
        assert caught.value.raw == text


@pytest.mark.parametrize("value", ["0", "1", '"false"', "null", "[]"])
def test_nothing_is_coerced_to_a_flag(value: str) -> None:
    """Only ``true`` and ``false`` are flags; anything else makes a flag unknown."""
    for name in ("position_opened/minimal", "pnl_update/minimal"):
        message = _decode(name, _with_field(name, "watched", value))
        assert message.watched is None


@pytest.mark.parametrize("value", ["1", "true", "null", "[]", "{}"])
def test_nothing_is_coerced_to_text(value: str) -> None:
    """Numbers, flags, nulls, arrays and objects are not text."""
    for name in ("position_opened/minimal", "trade_tick/all_optional"):
        field = "mint" if name.startswith("position") else "side"
        with pytest.raises(DecodeError, match="expected text"):
            _decode(name, _with_field(name, field, value))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("5", 5.0),
        ("5.5", 5.5),
        ("-0.25", -0.25),
        ("1e3", 1000.0),
        ("18446744073709551617", 2.0**64),
    ],
)
def test_an_f64_takes_integers_too(value: str, expected: float) -> None:
    """A float field holds a float, whether the number came with a fraction or not."""
    strategy = f'{{"target_profit_pct":{value},"stop_loss_pct":1}}'
    message = decode_client_message(
        f'{{"type":"update_strategy","strategy":{strategy}}}'
    )
    assert isinstance(message, UpdateStrategy)
    assert message.strategy.target_profit_pct == expected
    assert type(message.strategy.target_profit_pct) is float


@pytest.mark.parametrize(
    "value", ['"5"', "true", "null", "1e999", "NaN", "Infinity", "1" + "0" * 400]
)
def test_what_is_no_finite_number_is_no_f64(value: str) -> None:
    """Text, flags, nulls and what no f64 can hold are refused, on either path."""
    band = f'{{"slippage_bps":1,"max_tokens":2,"coverage_pct":{value}}}'
    text = _with_field("liquidity_snapshot/trend_growing", "bands", f"[{band}]")
    with pytest.raises(DecodeError):
        decode_server_message(text)


def test_a_malformed_item_is_located() -> None:
    """The path of an error leads through arrays to the very field."""
    band = '{"slippage_bps":1,"max_tokens":2,"coverage_pct":3}'
    bad = '{"slippage_bps":65536,"max_tokens":2,"coverage_pct":3}'
    text = _with_field("liquidity_snapshot/trend_growing", "bands", f"[{band},{bad}]")
    with pytest.raises(DecodeError) as caught:
        decode_server_message(text)
    assert caught.value.path == "liquidity_snapshot.bands[1].slippage_bps"


def test_a_string_is_no_array_of_strings() -> None:
    """One text in place of an array is not taken apart into letters."""
    text = _with_field("liquidity_snapshot/trend_growing", "bands", '"abc"')
    with pytest.raises(DecodeError, match="expected an array, got text"):
        decode_server_message(text)


# --- Fields without which a message is still of use -----------------------------

_EXIT = "exit_signal_with_tx/all_optional"
_NEEDED = ["unsigned_tx_b64", "wallet_pubkey", "mint"]
_ALWAYS_SENT = [
    "session_id",
    "position_id",
    "position_tokens",
    "profit_units",
    "reason",
    "triggered_at_ms",
]
_MAY_BE_ABSENT = [
    "token_account",
    "token_program",
    "market_context",
    "sell_tokens",
    "level_index",
    "mirror_source",
]


@pytest.mark.parametrize("field", [*_ALWAYS_SENT, *_MAY_BE_ABSENT, "watched"])
def test_an_exit_signal_outlives_a_malformed_field(field: str) -> None:
    """Any field it can do without becomes None, is named, and costs no other field."""
    whole = _decode(_EXIT, MESSAGES[_EXIT].text)
    message = _decode(_EXIT, _with_field(_EXIT, field, "[[1]]"))
    assert message == attrs.evolve(whole, **{field: None})
    assert message.decode_notes == (field,)


@pytest.mark.parametrize("field", _ALWAYS_SENT)
def test_an_exit_signal_outlives_a_missing_field(field: str) -> None:
    """A field the server always sends is None and named when it did not come."""
    wire = dict(MESSAGES[_EXIT].wire)
    del wire[field]
    message = _decode(_EXIT, as_text(wire))
    assert getattr(message, field) is None
    assert message.decode_notes == (field,)


@pytest.mark.parametrize("field", _NEEDED)
@pytest.mark.parametrize("value", ["null", "1", None])
def test_an_exit_signal_needs_transaction_wallet_and_mint(
    field: str, value: str | None
) -> None:
    """Without one of them there is nothing to sign, so the signal is refused."""
    wire = dict(MESSAGES[_EXIT].wire)
    del wire[field]
    text = as_text(wire) if value is None else _with_field(_EXIT, field, value)
    with pytest.raises(DecodeError) as caught:
        decode_server_message(text)
    assert caught.value.path == f"exit_signal_with_tx.{field}"


def test_an_exit_signal_must_name_its_position() -> None:
    """With neither a usable id nor a token account, the signal is refused."""
    wire = {**MESSAGES[_EXIT].wire, "position_id": "1"}
    del wire["token_account"]
    with pytest.raises(DecodeError, match="neither position_id nor token_account"):
        decode_server_message(as_text(wire))


def test_a_malformed_optional_field_is_none_and_named() -> None:
    """Any message outlives a malformed field it need not have."""
    name = "position_opened/all_optional"
    message = _decode(name, _with_field(name, "token_name", "5"))
    assert isinstance(message, PositionOpened)
    assert message.token_name is None
    assert message.decode_notes == ("token_name",)
    assert message.token_symbol == "LAMP"


def test_a_malformed_field_within_an_object_is_named_by_its_path() -> None:
    """Of a nested object only the malformed field is lost."""
    wire = {**MESSAGES["hello_ok/seed_example"].wire}
    wire["limits"] = {**wire["limits"], "max_wallets_per_session": "ten", "new": 1}
    message: Any = decode_server_message(as_text(wire))
    assert message.limits.max_wallets_per_session is None
    assert message.limits.hi_capacity == 1024
    assert message.limits.extra == {"new": 1}
    assert message.decode_notes == ("limits.max_wallets_per_session",)


def test_a_malformed_venue_is_named_by_its_path() -> None:
    """Notes climb through every level of nesting."""
    context = '{"market_type":"pump_swap","pumpswap":{"pool":1,"global_config":"G"}}'
    name = "position_opened/minimal"
    message = _decode(name, _with_field(name, "market_context", context))
    assert message.market_context.venue.global_config == "G"
    assert message.decode_notes == ("market_context.pumpswap.pool",)


def test_a_malformed_required_field_within_an_object_is_located() -> None:
    """What a nested object cannot do without refuses the message, naming the path."""
    wire = {**MESSAGES["hello_ok/seed_example"].wire, "limits": {"hi_capacity": 1}}
    with pytest.raises(DecodeError) as caught:
        decode_server_message(as_text(wire))
    assert caught.value.path == "hello_ok.limits.pnl_flush_ms"


def test_a_malformed_optional_field_of_a_hot_message_is_none() -> None:
    """A hot message outlives it too, and has no room for a note."""
    name = "pnl_update/all_optional"
    message = _decode(name, _with_field(name, "token_price_quote", '"25"'))
    assert message.token_price_quote is None
    assert message.market_cap_quote == 25000000000


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("configure/seed_example", "tip_lamports", '"1000"'),
        ("configure/seed_example", "tip_lamports", "-1"),
        ("configure/seed_example", "send_mode", "1"),
        ("configure/seed_example", "watch_wallets", "null"),
        ("configure/seed_example", "wallet_pubkeys", "[1]"),
        ("configure/seed_example", "strategy", "null"),
        ("request_exit_signal/by_position_id", "slippage_bps", "65536"),
        ("update_position_strategy/minimal", "position_id", "null"),
    ],
)
def test_a_client_message_forgives_nothing(name: str, field: str, value: str) -> None:
    """A malformed field of a command refuses it, even one that may be left out."""
    with pytest.raises(DecodeError) as caught:
        decode_client_message(_with_field(name, field, value))
    assert f".{field}" in caught.value.path


# --- What must not reach the wire -----------------------------------------------

_STRATEGY = StrategyConfig(target_profit_pct=5)
_HUGE: Any = 10**400


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), float("-inf"), _HUGE, "5", True, None]
)
def test_what_is_no_finite_number_is_not_sent(value: Any) -> None:
    """A strategy with NaN, infinity or no number is refused, naming the field."""
    level = TakeProfitLevel(profit_pct=value, sell_pct=50)
    for strategy, where in [
        (attrs.evolve(_STRATEGY, stop_loss_pct=value), "strategy.stop_loss_pct"),
        (
            attrs.evolve(_STRATEGY, breakeven_trail_pct=value),
            "strategy.breakeven_trail_pct",
        ),
        (
            attrs.evolve(_STRATEGY, take_profit_levels=(level,)),
            "take_profit_levels[0].profit_pct",
        ),
    ]:
        with pytest.raises(ConfigurationError) as caught:
            encode_client_message(UpdateStrategy(strategy=strategy))
        assert where in str(caught.value)


@pytest.mark.parametrize(
    "message",
    [
        Ping(client_time_ms=-1),
        Ping(client_time_ms=2**64),
        Ping(client_time_ms=1.5),  # type: ignore[arg-type]  # what a test is for
        RequestExitSignal(position_id=1, slippage_bps=65536),
        RequestExitSignal(position_id="1"),  # type: ignore[arg-type]
        RequestExitSignal(position_id=True, slippage_bps=1),
        MirrorBuyResult(mint=5, success=True),  # type: ignore[arg-type]
        MirrorBuyResult(mint="M", success=1),  # type: ignore[arg-type]
        MirrorBuyResult(mint="\ud800", success=True),
        UpdateStrategy(strategy={}),  # type: ignore[arg-type]
        UpdateWallets(wallet_pubkeys=[1]),  # type: ignore[list-item]
        Configure(wallet_pubkeys=["W"], strategy=_STRATEGY, tip_lamports=2**64),
        Configure(
            wallet_pubkeys=["W"],
            strategy=_STRATEGY,
            mirror_config=MirrorConfig(max_active_sol=float("nan")),
        ),
    ],
    ids=str,
)
def test_what_the_wire_cannot_carry_is_not_sent(message: Any) -> None:
    """A field of the wrong type or width is refused before it is sent."""
    with pytest.raises(ConfigurationError, match=message.type):
        encode_client_message(message)


@pytest.mark.parametrize("cls", [ClosePosition, RequestExitSignal])
def test_a_command_names_its_position_in_one_way(cls: Any) -> None:
    """Neither an id nor a token account, or both, is refused: nobody knows what it means."""
    for message in (cls(), cls(position_id=1, token_account="A")):
        with pytest.raises(
            ConfigurationError, match="either position_id or token_account"
        ):
            encode_client_message(message)


def test_a_message_of_the_other_direction_is_not_sent() -> None:
    """A client sends no server messages, and the other way round."""
    pong: Any = decode_server_message(MESSAGES["pong"].text)
    ping: Any = Ping(client_time_ms=1)
    with pytest.raises(ConfigurationError, match="Pong"):
        encode_client_message(pong)
    with pytest.raises(ConfigurationError, match="Ping"):
        encode_server_message(ping)


def test_a_sequence_of_the_wrong_type_is_not_sent() -> None:
    """Where the wire has an array, nothing else is sent."""
    snapshot: Any = decode_server_message(
        MESSAGES["liquidity_snapshot/all_optional"].text
    )
    with pytest.raises(ConfigurationError, match="bands: expected a tuple"):
        encode_server_message(attrs.evolve(snapshot, bands={}))


def test_an_extra_field_cannot_replace_a_known_one() -> None:
    """What a message says itself wins over an extra field of the same name."""
    pong: Any = decode_server_message(MESSAGES["pong"].text)
    forged = attrs.evolve(pong, extra={"server_time_ms": "x", "type": "y", "new": 1})
    again: Any = decode_server_message(encode_server_message(forged))
    assert (again.server_time_ms, again.extra) == (pong.server_time_ms, {"new": 1})


def test_the_type_is_the_first_key() -> None:
    """Readers may recognise a message by its first bytes, as ours does."""
    snapshot = decode_server_message(MESSAGES["liquidity_snapshot/all_optional"].text)
    assert isinstance(snapshot, LiquiditySnapshot)
    assert encode_server_message(snapshot).startswith(b'{"type":"liquidity_snapshot",')
