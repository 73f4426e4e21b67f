"""
The wire as the load server and the raw client need it; shares no code with the library.
"""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Iterator
from functools import cache
from itertools import cycle, islice
from typing import Any

__all__ = [
    "CLOSE",
    "PING",
    "PONG",
    "TEXT",
    "WALLET",
    "WALLET_SEED",
    "MaskedFrames",
    "balance_update",
    "exit_frame",
    "flood_frames",
    "frame",
    "hello_ok",
    "masked_frame",
    "position_opened",
    "stamp_of",
    "text_frame",
    "token_account",
    "unmasked_frames",
    "upgrade_answer",
    "upgrade_request",
]

TEXT, CLOSE, PING, PONG = 0x1, 0x8, 0x9, 0xA

WALLET_SEED = bytes([1]) * 32
WALLET = "AKnL4NNf3DGWZJS6cPknBuEGnVsV4A4m5tgebLHaRSZ9"
_WATCHED = "GyGKxMyg1p9SsHfm15MkNUu1u9TN2JtTspcdmrtGUdse"
_MINT = "7v54NWdBtkjuAFJrLGsS2SXnuk8nKam81mZJeeYxVFi9"
_PROGRAM = "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA"
_POOL = "FMUEmtxhU46GzhKF4FW9MLJdQWiLgjiXP9TYRWSrqTpV"
_MAKER = "8SFqwqnq4whPhs8icwHA2hQg3hUoN1qrCLK1SBx3WKwe"
_SIGNATURE = _MAKER + _POOL
_NOW_MS = 1_706_000_003_000
_SLOT = 280_000_000
# A sale of the position on a Pump pool, as the simulator builds it.
_TRANSACTION = (
    "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
    "AAAAAAAAAACAAQABFIqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29cAAAAAAAAAAAAAAAA"
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAGm4hX/quBhPtof2NGGMA12sQ53BrrO1WYoPAAAAAAAQbd9uHX"
    "ZaGT2cvhRs7reawctIXtX1s3kTqM9YV+/wCpCPU2unlYZGeMNXQFvN62MtYMXe8UNw0EaJSdzTOu"
    "OfAMFN78gl7GdpQlCBi7ZUBl9CmNMVbVcbTU+AkMGOmoYxfh1mGBsyR1hKToUBNpbKYl1vn65/lx"
    "pbayGVOHAtOqNFUG0BDBno7Mn0UsFF3g/+IWxHo4B6y5lyRvohNcJhJHXy6vqt55RNCI3zvi8xg9"
    "lYZW/vw3dJKC3N2j2P/rZFqWPNXvWslu3YDzbf3lf1vhF4UibRIBADDpK524XUDBYdsizlI6/yq7"
    "qBUKKVETkO2mvlyW0MuO0Ydme70Fcv1mvn4zLHpFMzK9nQp/fbBV9cXvGgatpm2Ys5+2gQxHOnYx"
    "T6oDsdOl2dpqwg5mszNx3kU2BoArBVHQbici+9qijJclj04kifG7PRApFI4NgwtaE5na/xCEBI57"
    "2Nvp+Fmav8MPvILqs00WKBrEleXK8I9Ci70q0go2x4OtWQdQ7ZuFeG1FCjSMPtJFkjYvhmMefnJx"
    "4Ef2XV/PKzU4wdbBySp8b5dXCEFOEwjxpWTc1Iwh0k1jatvxwmud6JLbKbLVQgfaGUl33PRq2/7C"
    "vC51tS1aikIYT+39wAAk8OPo2ugmS7inAZtdbvmpOUiUL2rQZ9CzM4o79VXv8fEWQq7mAwZGb+Uh"
    "FzL/7K26csOb57yM5bvF9xJrLEObOkAAAABuehzdKbC3j9E69MVZj+/07yqXFm48pvLk+/zNgFBb"
    "8QYTAAUCQA0DABMACQNAQg8AAAAAAA0GAAoAAgEDAQEFExEACQsCBwoSBhAOAwMBDQ8FDAgYM+aF"
    "pAF/g61AS0wAAAAAAIBKXQUAAAAAAwMKAAABCQECAAQMAgAAAOgDAAAAAAAAAA=="
)
_ACCEPT_SALT = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


# --- Messages -----------------------------------------------------------------


def token_account(position: int) -> str:
    """Return the token account of a position, as long as a real one."""
    return _MINT[:34] + str(1_000_000_000 + position).replace("0", "Z")


def _place(position: int) -> dict[str, Any]:
    return {
        "wallet_pubkey": WALLET,
        "mint": _MINT,
        "token_account": token_account(position),
    }


def hello_ok(session_id: int) -> dict[str, Any]:
    return {
        "type": "hello_ok",
        "session_id": session_id,
        "server_time_ms": time.time_ns() // 1_000_000,
        "limits": {
            "hi_capacity": 1024,
            "pnl_flush_ms": 100,
            "max_positions_per_session": 20_000,
            "max_wallets_per_session": 10,
            "max_positions_per_wallet": 20_000,
            "max_sessions_per_api_key": 5,
            "max_watch_wallets_per_session": 25,
        },
    }


def balance_update(position: int) -> dict[str, Any]:
    return {
        "type": "balance_update",
        **_place(position),
        "token_program": _PROGRAM,
        "tokens": 5_000_000,
        "slot": _SLOT,
    }


def position_opened(position: int) -> dict[str, Any]:
    return {
        "type": "position_opened",
        "position_id": position,
        **_place(position),
        "token_program": _PROGRAM,
        "tokens": 5_000_000,
        "entry_quote_units": 100_000_000,
        "market_context": {"market_type": "pump_swap", "pumpswap": {"pool": _POOL}},
        "token_name": "Lamppoli",
        "token_symbol": "LAMP",
        "token_decimals": 6,
        "slot": _SLOT,
    }


def _pnl_update(position: int, number: int) -> dict[str, Any]:
    return {
        "type": "pnl_update",
        "position_id": position,
        "profit_units": 25_000_000 + number,
        "proceeds_units": 125_000_000 + number,
        "server_time_ms": _NOW_MS + number,
        "token_price_quote": 25,
        "market_cap_quote": 25_000_000_000,
    }


def _exit_signal(position: int, stamp: int) -> dict[str, Any]:
    return {
        "type": "exit_signal_with_tx",
        "session_id": 1,
        "position_id": position,
        **_place(position),
        "token_program": _PROGRAM,
        "position_tokens": 5_000_000,
        "profit_units": 50_000_000,
        "reason": "target_profit",
        "market_context": {"market_type": "pump_swap", "pumpswap": {"pool": _POOL}},
        "triggered_at_ms": stamp,
        "unsigned_tx_b64": _TRANSACTION,
    }


def _one_of_each(position: int) -> Iterator[dict[str, Any]]:
    """Yield every type of message a server sends in the middle of a stream."""
    mirror = {"watched_wallet": _WATCHED, "mint": _MINT}
    bands = [
        {"slippage_bps": bps, "max_tokens": 5_000 * bps, "coverage_pct": bps / 10}
        for bps in (100, 200, 500, 1000)
    ]
    yield position_opened(position)
    yield _pnl_update(position, 0)
    yield {
        "type": "liquidity_snapshot",
        "position_id": position,
        "bands": bands,
        "liquidity_trend": "stable",
        "server_time_ms": _NOW_MS,
    }
    yield {
        "type": "trade_tick",
        "position_id": position,
        "time_ms": _NOW_MS,
        "side": "buy",
        "token_amount": 500_000,
        "quote_amount": 25_000_000,
        "price_quote": 50_000,
        "maker": _MAKER,
        "tx_signature": _SIGNATURE,
    }
    yield balance_update(position)
    yield _exit_signal(position, _NOW_MS)
    yield {
        "type": "position_closed",
        "position_id": position,
        **_place(position),
        "reason": "target_profit",
        "slot": _SLOT,
    }
    yield {
        "type": "mirror_buy_signal",
        "session_id": 1,
        **mirror,
        "user_wallet": WALLET,
        "amount_quote_units": 100_000_000,
        "input": "SOL",
        "unsigned_tx_b64": _TRANSACTION,
        "slippage_bps": 2500,
    }
    yield {"type": "mirror_buy_failed", **mirror, "reason": "no_route"}
    yield {
        "type": "mirror_wallet_auto_disabled",
        "watched_wallet": _WATCHED,
        "reason": "consecutive_losses",
        "loss_count": 3,
    }
    yield {"type": "pong", "server_time_ms": _NOW_MS}
    yield {"type": "error", "code": "capacity_exceeded", "message": "wallet limit"}


# --- Frames of the server -----------------------------------------------------


def frame(opcode: int, payload: bytes = b"") -> bytes:
    """Return one unmasked frame."""
    length = len(payload)
    if length < 126:
        return bytes((0x80 | opcode, length)) + payload
    if length < 65536:
        return bytes((0x80 | opcode, 126)) + length.to_bytes(2, "big") + payload
    return bytes((0x80 | opcode, 127)) + length.to_bytes(8, "big") + payload


def text_frame(message: dict[str, Any]) -> bytes:
    """Return a message as the service sends it: compact JSON in one text frame."""
    return frame(TEXT, json.dumps(message, separators=(",", ":")).encode())


def flood_frames(count: int, positions: int, *, mixed: bool) -> list[bytes]:
    """Return ``count`` frames for positions 1 to ``positions``, in turn."""
    if mixed:
        every = [text_frame(message) for message in _one_of_each(1)]
        return list(islice(cycle(every), count))
    return [text_frame(_pnl_update(i % positions + 1, i)) for i in range(count)]


_STAMP = 111_111_111


@cache
def _around_stamp(position: int) -> tuple[bytes, bytes]:
    message = json.dumps(_exit_signal(position, _STAMP), separators=(",", ":"))
    before, after = message.encode().split(str(_STAMP).encode())
    return before, after


def exit_frame(stamp: int, position: int = 1) -> bytes:
    """Return an exit signal for a position that carries nanoseconds as its time."""
    before, after = _around_stamp(position)
    return frame(TEXT, b"%b%d%b" % (before, stamp, after))


def stamp_of(payload: bytes) -> int | None:
    """Return the time in an :func:`exit_frame` of position 1; None of anything else."""
    before, _ = _around_stamp(1)
    if not payload.startswith(before):
        return None
    return int(payload[len(before) : payload.index(b",", len(before))])


# --- Frames of a client -------------------------------------------------------

_MASK = b"\x12\x34\x56\x78"


def masked_frame(message: dict[str, Any]) -> bytes:
    """Return a client's message as one masked frame of at most 125 bytes."""
    payload = json.dumps(message, separators=(",", ":")).encode()
    return bytes((0x81, 0x80 | len(payload))) + _MASK + _mask(payload, _MASK)


def _mask(payload: bytes, mask: bytes) -> bytes:
    length = len(payload)
    key = (mask * (length // 4 + 1))[:length]
    masked = int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")
    return masked.to_bytes(length, "big")


class MaskedFrames:
    """Cuts what a client sends into frames."""

    def __init__(self) -> None:
        self._data = b""

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Take bytes; return the opcodes and payloads they complete."""
        self._data += data
        frames = []
        while (found := self._take()) is not None:
            frames.append(found)
        return frames

    def _take(self) -> tuple[int, bytes] | None:
        data = self._data
        if len(data) < 2:
            return None
        length = data[1] & 0x7F
        start = 2
        if length >= 126:
            start += 2 if length == 126 else 8
            length = int.from_bytes(data[2:start], "big")
        stop = start + 4 + length
        if len(data) < stop:
            return None
        self._data = data[stop:]
        return data[0] & 0x0F, _mask(data[start + 4 : stop], data[start : start + 4])


def unmasked_frames(data: bytes) -> tuple[list[bytes], bytes]:
    """Return the payloads of a server's whole frames, and what is left over."""
    payloads = []
    at = 0
    while len(data) - at >= 2:
        start = at + 2
        length = data[at + 1]
        if length >= 126:
            start += 2 if length == 126 else 8
            length = int.from_bytes(data[at + 2 : start], "big")
        if start > len(data) or start + length > len(data):
            break
        payloads.append(data[start : start + length])
        at = start + length
    return payloads, data[at:]


# --- The upgrade --------------------------------------------------------------


def upgrade_request(path: str) -> bytes:
    """Return the head of a client's request."""
    lines = [
        f"GET {path} HTTP/1.1",
        "Host: 127.0.0.1",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        "Sec-WebSocket-Version: 13",
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def upgrade_answer(request: bytes) -> bytes:
    """Return the head that lets a client in."""
    key = next(
        line.partition(b":")[2].strip()
        for line in request.split(b"\r\n")
        if line.lower().startswith(b"sec-websocket-key:")
    )
    accept = base64.b64encode(hashlib.sha1(key + _ACCEPT_SALT).digest()).decode()
    lines = [
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {accept}",
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()
