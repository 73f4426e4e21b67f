from __future__ import annotations

from typing import Any

import attrs
import msgspec
import pytest

from lasersell.errors import DecodeError, RelayError
from lasersell.protocol.client import RequestExitSignal
from lasersell.protocol.server import (
    ExitSignalWithTx,
    Limits,
    PnlUpdate,
    Pong,
    UnknownMessage,
)
from lasersell.relay.codec import (
    HighEntry,
    StreamState,
    decode_message,
    decode_record,
    encode_message,
    encode_record,
    from_json,
    opened_of,
    record_of,
    to_json,
)
from lasersell.relay.replica import handle_of
from lasersell.session.positions import PositionHandle
from lasersell.stream.lifecycle import (
    CommandExpired,
    Connected,
    Disconnected,
    ExitRequestUnanswered,
    Fresh,
    Gap,
    PositionLost,
    Stale,
    Undecodable,
)
from tests.unit.session.frames import opened

MESSAGES: list[Any] = [
    Pong(server_time_ms=2**64 - 1),
    PnlUpdate(position_id=1, profit_units=-5, proceeds_units=7, server_time_ms=9),
    UnknownMessage(type="new", raw={"type": "new", "a": [1, None]}),
    opened(),
    ExitSignalWithTx(
        session_id=None,
        position_id=None,
        wallet_pubkey="W",
        mint="M",
        token_account="A",
        position_tokens=None,
        profit_units=None,
        reason=None,
        triggered_at_ms=None,
        unsigned_tx_b64="AA==",
    ),
    Connected(number=1, attempts=2),
    Disconnected(cause="gone", close_code=1006, delay=0.1),
    Gap(from_ms=1, to_ms=2, attempts=3, restored=("strategy", "wallets")),
    Stale(silent_sec=30.5),
    Fresh(),
    PositionLost(
        position_id=1, wallet_pubkey="W", mint="M", token_account="A", reason="replaced"
    ),
    CommandExpired(
        command=RequestExitSignal(token_account="A", slippage_bps=7), held_sec=30.0
    ),
    ExitRequestUnanswered(token_account="A", asks=3),
    Undecodable(raw=b"\xff{", problem="no JSON", binary=True),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: str(message.type))
def test_every_message_crosses_the_relay(message: Any) -> None:
    """What arrives is equal to what was sent, whoever it is from."""
    raw, born_here = encode_message(message)
    entry = HighEntry(message=_raw(raw), arrived_ms=1.5, epoch="e", born_here=born_here)
    read = from_json(to_json(entry), HighEntry)
    assert decode_message(bytes(read.message), read.born_here) == message


def _raw(data: bytes) -> Any:
    return msgspec.Raw(data)


def test_a_position_crosses_the_relay() -> None:
    """Everything that its handle says is said by the handle at the other end."""
    handle = PositionHandle(opened(), 5.0)
    handle.tokens, handle.status, handle.close_reason = 7, "closed", "stop_loss"
    handle.peak_profit_units, handle.is_untracked, handle.is_here = 9, True, False
    record = record_of(handle, "key", "epoch", {None: 2, 3: 1})
    read = decode_record(encode_record(record))
    copy = handle_of(read)
    assert copy.to_dict() == handle.to_dict()
    assert copy.exit_attempts == {None: 2, 3: 1}
    assert (read.key, read.epoch, copy.is_here) == ("key", "epoch", False)


def test_a_position_that_only_a_signal_named_crosses_too() -> None:
    """It has no id, which no wire can carry."""
    stranger = attrs.evolve(opened(), position_id=-1)
    handle = PositionHandle(stranger, 5.0, known=False)
    read = decode_record(encode_record(record_of(handle, "key", "epoch", {})))
    copy = handle_of(read)
    assert (copy.position_id, copy.opened.position_id, copy.known) == (-1, -1, False)


def test_the_state_crosses_with_its_limits() -> None:
    """A subscriber knows what the publisher's account may do."""
    limits = Limits(hi_capacity=1, pnl_flush_ms=2, max_positions_per_session=3)
    state = StreamState(
        state="live", publisher="p", epoch="e", session_id=4, limits=limits
    )
    assert from_json(to_json(state), StreamState) == state


@pytest.mark.parametrize("raw", [b"", b"{}", b"[1]", b"\xff", b'{"message":1}'])
def test_what_another_version_wrote_is_said(raw: bytes) -> None:
    """The error says what to do about it."""
    with pytest.raises(RelayError, match="same version"):
        from_json(raw, HighEntry)


def test_an_event_that_this_version_does_not_know_is_said() -> None:
    """A newer publisher may have events of its own."""
    with pytest.raises(RelayError, match="same version"):
        decode_message(b"{}", "brand_new")


def test_a_record_holds_an_opening_and_nothing_else() -> None:
    """Not even another message of the server."""
    record = record_of(PositionHandle(opened(), 5.0), "key", "epoch", {})
    pong, _ = encode_message(Pong(server_time_ms=1))
    record.opened = _raw(pong)
    with pytest.raises(RelayError, match="pong"):
        opened_of(record)
    record.opened = _raw(b"1")
    with pytest.raises(DecodeError):
        opened_of(record)
