from __future__ import annotations

import pickle
from typing import Any

import attrs
import pytest

from lasersell.protocol.server import PnlUpdate, Pong, UnknownMessage

_PNL = PnlUpdate(position_id=1, profit_units=-2, proceeds_units=3, server_time_ms=4)
_ANY: Any = _PNL  # mypy lets attrs.evolve take only what it knows attrs has made


def test_a_message_can_be_hashed() -> None:
    """A message is a value that fits in a set, whatever extra fields it carries."""
    plain, extra = Pong(server_time_ms=1), Pong(server_time_ms=1, extra={"a": [1]})
    assert len({plain, extra, Pong(server_time_ms=1)}) == 2
    unknown = UnknownMessage(type="x", raw={"type": "x"})
    assert {unknown: 1}[unknown] == 1


def test_decode_notes_do_not_make_messages_differ() -> None:
    """Two messages that say the same are equal, however they came."""
    assert Pong(server_time_ms=1, decode_notes=("x",)) == Pong(server_time_ms=1)


@pytest.mark.parametrize("message", [_PNL, Pong(server_time_ms=1)])
def test_a_message_cannot_be_changed(message: Any) -> None:
    """Every consumer sees the same message, in whatever thread."""
    for name in ("server_time_ms", "watched", "new_name"):
        with pytest.raises(AttributeError):
            setattr(message, name, 5)


def test_a_hot_message_can_be_treated_like_any_other() -> None:
    """A hot message, which attrs did not make, is whole in every way one can look at it."""
    full = attrs.evolve(_ANY, watched=True, token_price_quote=7)
    assert PnlUpdate.type == "pnl_update"
    assert attrs.has(PnlUpdate)
    assert (_PNL.watched, _PNL.token_price_quote) == (False, None)
    assert attrs.asdict(_PNL)["watched"] is False
    assert "watched=False" in repr(_PNL)
    assert (full.watched, full.token_price_quote) == (True, 7)
    assert pickle.loads(pickle.dumps(_PNL)) == _PNL
    assert full != _PNL
