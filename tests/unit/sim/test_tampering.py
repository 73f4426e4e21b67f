from __future__ import annotations

import pytest

from lasersell.errors import ConfigurationError
from lasersell.protocol.server import (
    MirrorBuyFailed,
    Pong,
    ServerError,
    ServerMessage,
)
from lasersell.sim.tampering import Duplicate, Lose, Swap, Tamper

_PONG = Pong(server_time_ms=1)
_ERROR = ServerError(code="a", message="b")
_FAILED = MirrorBuyFailed(watched_wallet="w", mint="m", reason="r")


@pytest.mark.parametrize(
    ("tamper", "sent"),
    [
        (Lose(Pong, 1), [_ERROR, _PONG, _FAILED]),
        (Lose(Pong, 5), [_ERROR, _FAILED]),
        (Duplicate(Pong, 1), [_PONG, _PONG, _ERROR, _PONG, _FAILED]),
        (Swap(Pong, 1), [_ERROR, _PONG, _PONG, _FAILED]),
        (Swap(Pong, 2), [_ERROR, _PONG, _FAILED, _PONG]),
        (Swap(ServerError, 1), [_PONG, _PONG, _ERROR, _FAILED]),
    ],
)
def test_the_next_messages_of_a_kind_are_tampered_with(
    tamper: Tamper, sent: list[ServerMessage]
) -> None:
    """As often as asked for, and all other messages pass."""
    assert tamper.apply(1, [_PONG, _ERROR, _PONG, _FAILED]) == sent


def test_a_swap_waits_for_the_next_message_of_the_same_session() -> None:
    """What is held back for one client is not sent to another."""
    swap = Swap(Pong, 1)
    assert swap.apply(1, [_PONG]) == []
    assert swap.apply(2, [_ERROR, _PONG]) == [_ERROR, _PONG]
    assert not swap.is_over
    assert swap.apply(1, [_FAILED]) == [_FAILED, _PONG]
    assert swap.is_over


def test_an_order_is_over_after_so_many() -> None:
    """It counts over all sessions."""
    lose = Lose(Pong, 2)
    assert lose.apply(1, [_PONG]) == []
    assert not lose.is_over
    assert lose.apply(2, [_PONG, _PONG]) == [_PONG]
    assert lose.is_over


def test_nothing_can_be_done_no_times() -> None:
    """A fault that never happens is a mistake."""
    with pytest.raises(ConfigurationError, match="once or more"):
        Lose(Pong, 0)
