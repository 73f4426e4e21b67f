from __future__ import annotations

import asyncio

import pytest

from lasersell.testing.http import Head, accept_key, read_head, response

_REQUEST = b"GET /a HTTP/1.1\r\nHost: here\r\nX-Api-Key: k\r\nSec-WebSocket-Extensions: x\r\n\r\n"


def test_a_head_is_read_and_written_as_it_was() -> None:
    """Nothing is lost between the two."""
    assert Head.parse(_REQUEST).encode() == _REQUEST


def test_headers_are_found_in_any_case() -> None:
    """A name is given in small letters, whatever was sent; none is empty."""
    head = Head.parse(_REQUEST)
    assert head.get("x-api-key") == "k"
    assert head.get("cookie") == ""


def test_headers_are_replaced_and_taken_away() -> None:
    """The first line and the named headers change, all others stay."""
    head = Head.parse(_REQUEST).replacing(
        "GET /b HTTP/1.1", host="there", sec_websocket_extensions=None
    )
    assert head.encode() == (b"GET /b HTTP/1.1\r\nX-Api-Key: k\r\nhost: there\r\n\r\n")


@pytest.mark.parametrize(
    ("line", "status"),
    [("HTTP/1.1 101 Switching", 101), ("HTTP/1.1 503", 503), ("nonsense", 502)],
)
def test_a_status_that_is_none_is_a_bad_gateway(line: str, status: int) -> None:
    """What cannot be read as a response is one of a broken server."""
    assert Head(line, ()).status == status


def test_a_response_says_how_long_it_is() -> None:
    """The body's length in bytes is in the head, and the connection ends after it."""
    data = response(503, {"retry-after": "7"}, "später")
    head, _, body = data.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 7\r\n")
    assert f"content-length: {len(body)}".encode() in head
    assert b"connection: close" in head
    assert response(599, {}).startswith(b"HTTP/1.1 599 \r\n")


def test_the_proof_is_that_of_the_standard() -> None:
    """The example of RFC 6455, section 1.3."""
    key = "dGhlIHNhbXBsZSBub25jZQ=="
    assert accept_key(key) == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def test_what_follows_a_head_stays_to_be_read() -> None:
    """Frames that came with the head are not lost; a head that ends early is an error."""

    async def read() -> None:
        reader = asyncio.StreamReader()
        reader.feed_data(_REQUEST + b"rest")
        assert (await read_head(reader)).first == "GET /a HTTP/1.1"
        assert await reader.read(4) == b"rest"
        reader.feed_data(b"GET /")
        reader.feed_eof()
        with pytest.raises(ConnectionError):
            await read_head(reader)

    asyncio.run(read())
