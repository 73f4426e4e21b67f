from __future__ import annotations

import json
import pickle
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lasersell.errors import DecodeError
from lasersell.protocol import (
    PnlUpdate,
    UnknownMessage,
    decode_client_message,
    decode_server_message,
    encode_client_message,
    encode_server_message,
)
from tests.wire.messages import (
    CLIENT_CLASSES,
    HOT_CLASSES,
    SERVER_CLASSES,
    json_values,
    messages,
)
from tests.wire.vectors import MESSAGES, as_text

moderate = settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow])


def test_there_are_nine_client_and_thirteen_server_messages() -> None:
    """The classes are those of protocol 1.2.0, each with a tag of its own."""
    assert len({cls.type for cls in CLIENT_CLASSES}) == 9
    assert len({cls.type for cls in SERVER_CLASSES}) == 13


@pytest.mark.parametrize("cls", CLIENT_CLASSES)
@moderate
@given(data=st.data())
def test_a_client_message_survives_the_wire(cls: Any, data: st.DataObject) -> None:
    """Any valid message of a client decodes to what was encoded."""
    message = data.draw(messages(cls))
    assert decode_client_message(encode_client_message(message)) == message


@pytest.mark.parametrize("cls", SERVER_CLASSES)
@moderate
@given(data=st.data())
def test_a_server_message_survives_the_wire(cls: Any, data: st.DataObject) -> None:
    """Any valid message of the server decodes to what was encoded, in any layout."""
    message = data.draw(messages(cls))
    text = encode_server_message(message)
    assert decode_server_message(text) == message
    assert decode_server_message(text.decode()) == message
    type_last = dict(reversed(json.loads(text).items()))
    assert decode_server_message(json.dumps(type_last, indent=1)) == message
    assert pickle.loads(pickle.dumps(message)) == message


@moderate
@given(
    tag=st.text(max_size=20), fields=st.dictionaries(st.text(max_size=8), json_values)
)
def test_an_unknown_message_survives_the_wire(tag: str, fields: dict[str, Any]) -> None:
    """A message of a type yet unknown decodes to what was encoded."""
    tag = f"future_{tag}"
    message = UnknownMessage(type=tag, raw={**fields, "type": tag})
    assert decode_server_message(encode_server_message(message)) == message


def _outcome(text: bytes) -> object:
    try:
        return decode_server_message(text)
    except DecodeError as error:
        return (error.path, str(error))


@pytest.mark.parametrize("cls", HOT_CLASSES)
@settings(moderate, max_examples=60)
@given(data=st.data())
def test_the_fast_path_and_the_general_one_agree(cls: Any, data: st.DataObject) -> None:
    """
    A hot message with any field spoilt in any way has one outcome, by either path.

    Its type at the end instead of the start is what makes it take the general path.
    """
    wire = json.loads(encode_server_message(data.draw(messages(cls))))
    del wire["type"]
    spoilt = data.draw(
        st.dictionaries(st.sampled_from([*wire, "watched", "x"]), json_values)
    )
    wire |= spoilt
    fast = as_text({"type": cls.type, **wire})
    general = as_text({**wire, "type": cls.type})
    assert _outcome(fast) == _outcome(general)


def test_unknown_fields_of_hot_messages_are_ignored() -> None:
    """What comes too often to be carried along is left out, whatever its name."""
    vector = MESSAGES["pnl_update/minimal"]
    wire = {**vector.wire, "future": [1], "extra": {"a": 1}, "decode_notes": ["x"]}
    message = decode_server_message(as_text(wire))
    assert message == vector.decode(vector.text)
    assert isinstance(message, PnlUpdate)
    assert not hasattr(message, "extra")


def test_names_of_our_own_fields_are_unknown_on_the_wire() -> None:
    """A server cannot fill ``extra`` or ``decode_notes`` by their names."""
    wire = {
        "type": "pong",
        "server_time_ms": 1,
        "extra": {"a": 1},
        "decode_notes": ["x"],
    }
    message: Any = decode_server_message(as_text(wire))
    assert message.decode_notes == ()
    assert message.extra == {"extra": {"a": 1}, "decode_notes": ["x"]}
