from __future__ import annotations

import gc
import threading
import tracemalloc

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lasersell.errors import DecodeError
from lasersell.protocol import (
    PnlUpdate,
    UnknownMessage,
    codec,
    decode_client_message,
    decode_server_message,
)
from tests.wire.vectors import MESSAGES

_PNL = MESSAGES["pnl_update/minimal"].text
_TICK = MESSAGES["trade_tick/all_optional"].text
_DEEP = b"[" * 200_000

_HOSTILE: dict[str, bytes] = {
    "empty": b"",
    "blank": b"  ",
    "not JSON": b"hello",
    "cut short": _PNL[:-1],
    "two objects": _PNL + _PNL,
    "a byte order mark": b"\xef\xbb\xbf" + _PNL,
    "an array": b'[{"type":"pong","server_time_ms":1}]',
    "a text": b'"pong"',
    "a null": b"null",
    "an integer": b"7",
    "a comment": b'{"type":"pong","server_time_ms":1}//',
    "NaN": b'{"type":"pong","server_time_ms":NaN}',
    "an empty object": b"{}",
    "a null type": b'{"type":null}',
    "a list for a type": b'{"type":["pong"]}',
    "an object for a type": b'{"type":{"pong":1}}',
    "an integer for a type": b'{"type":1}',
    "a huge type of a missing field": b'{"x":"' + b"x" * 100_000 + b'"}',
    "deep arrays": _DEEP,
    "deep objects": b'{"a":' * 200_000,
    "deep in an unknown field": _PNL[:-1] + b',"x":' + _DEEP,
    "deep in a known field": b'{"type":"pong","server_time_ms":' + _DEEP,
    "bad UTF-8 in a text": _TICK.replace(b"buy", b"b\xffy"),
    "bad UTF-8 in an unknown field": _PNL[:-1] + b',"x":"\xff"}',
    "bad UTF-8 in an unknown key": _PNL[:-1] + b',"\xff":1}',
    "bad UTF-8 nested in an unknown field": _PNL[:-1] + b',"x":[{"y":"\xc3"}]}',
    "bad UTF-8 in a type": b'{"type":"p\xffng"}',
    "bad UTF-8 outside of texts": b'\xff{"type":"pong","server_time_ms":1}',
    "a surrogate in UTF-8": b'{"type":"error","code":"\xed\xa0\x80","message":""}',
    "a lone surrogate": b'{"type":"error","code":"\\ud800","message":"text"}',
    "a lone surrogate in a hot message": _TICK.replace(b"buy", b"\\ud800"),
    "half a surrogate pair": b'{"type":"error","code":"\\ud800\\u0041","message":""}',
    "a NUL": b'{"type":"pong\x00"}',
    "an integer of 5,000 digits": _PNL.replace(b"25000000", b"9" * 5000),
    "an integer of 1,000 digits": _PNL.replace(b"25000000", b"9" * 1000),
    "a float beyond f64": _PNL.replace(b"25000000", b"1e999"),
    "a hot message without fields": b'{"type":"pnl_update",}',
    "a hot type alone": b'{"type":"pnl_update"}',
}


@pytest.mark.parametrize("text", _HOSTILE.values(), ids=_HOSTILE)
def test_hostile_input_is_a_decode_error(text: bytes) -> None:
    """Whatever is no message raises that one error, with the text as it came."""
    with pytest.raises(DecodeError) as caught:
        decode_server_message(text)
    assert caught.value.raw == text
    with pytest.raises(DecodeError):
        decode_client_message(text)


@pytest.mark.parametrize(
    "text", ['{"type":"\ud800"}', '{"type":"pnl_update","x":"\udfff"}']
)
def test_a_lone_surrogate_in_a_str_is_a_decode_error(text: str) -> None:
    """A ``str`` that is no text either is refused, its bytes kept."""
    with pytest.raises(DecodeError, match="UTF-8") as caught:
        decode_server_message(text)
    assert caught.value.raw == text.encode(errors="surrogatepass")


def test_text_beyond_ascii_is_kept() -> None:
    """Valid UTF-8 arrives as it is, on the fast path too."""
    message = decode_server_message(_TICK.replace(b"buy", "köp 🚀".encode()))
    assert getattr(message, "side", None) == "köp 🚀"


@settings(max_examples=200)
@given(text=st.binary(max_size=40))
@example(text=b'{"type":"pnl_update","')
def test_no_bytes_raise_anything_else(text: bytes) -> None:
    """Any bytes at all give a message or a DecodeError."""
    _decode_or_refuse(text)


@settings(max_examples=200)
@given(
    name=st.sampled_from(sorted(MESSAGES)),
    position=st.integers(0, 2000),
    junk=st.binary(min_size=1, max_size=3),
)
def test_no_damage_raises_anything_else(name: str, position: int, junk: bytes) -> None:
    """A message damaged anywhere gives a message or a DecodeError."""
    text = MESSAGES[name].text
    position %= len(text)
    _decode_or_refuse(text[:position] + junk + text[position + len(junk) :])


def _decode_or_refuse(text: bytes) -> None:
    for decode in (decode_server_message, decode_client_message):
        try:
            decode(text)
        except DecodeError as error:
            assert error.raw == text  # noqa: PT017  # either outcome is right


def test_an_unknown_type_may_be_any_text() -> None:
    """An empty type is no known one, and nothing worse."""
    message = decode_server_message(b'{"type":""}')
    assert message == UnknownMessage(type="", raw={"type": ""})


def test_a_longer_type_is_not_a_hot_one() -> None:
    """Only the whole type is recognised by the first bytes, not its beginning."""
    text = _PNL.replace(b"pnl_update", b"pnl_update2")
    assert isinstance(decode_server_message(text), UnknownMessage)


def test_an_unknown_client_type_is_cut_in_the_error() -> None:
    """A peer cannot fill the log with the name of a type."""
    with pytest.raises(DecodeError) as caught:
        decode_client_message(b'{"type":"' + b"x" * 100_000 + b'"}')
    assert len(str(caught.value)) < 200


@pytest.mark.slow
def test_memory_does_not_grow_with_unknown_types() -> None:
    """A peer that makes up types, fields and markets leaves nothing behind."""
    _decode_made_up(range(100))
    tracemalloc.start()
    try:
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        _decode_made_up(range(100, 3100))
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 100_000


def _decode_made_up(numbers: range) -> None:
    opened = MESSAGES["position_opened/minimal"].text[:-1]
    for number in numbers:
        decode_server_message(b'{"type":"made_up_%d","field_%d":1}' % (number, number))
        context = b'"market_context":{"market_type":"m_%d","k_%d":{}}' % (
            number,
            number,
        )
        decode_server_message(opened + b',"f_%d":1,' % number + context + b"}")
        with pytest.raises(DecodeError):
            decode_client_message(b'{"type":"made_up_%d"}' % number)


@pytest.mark.parametrize(
    "name",
    [
        "pnl_update/all_optional",
        "liquidity_snapshot/trend_growing",
        "trade_tick/all_optional",
    ],
)
def test_hot_messages_take_the_fast_path(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hot message as the server writes it never reaches the general path."""
    monkeypatch.setattr(codec, "_decode_any_server_message", pytest.fail)
    assert (
        decode_server_message(MESSAGES[name].text).type == MESSAGES[name].wire["type"]
    )


def test_threads_may_decode_at_once() -> None:
    """Nothing is prepared at first use, so any number of threads may start together."""
    start = threading.Barrier(8)
    found: list[PnlUpdate | str] = []

    def decode_all() -> None:
        start.wait(5)
        found.extend(vector.decode(vector.text).type for vector in MESSAGES.values())

    threads = [threading.Thread(target=decode_all) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(found) == 8 * len(MESSAGES)
