"""The official SDKs see every message of the wire, in both handshake orders."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.interop.everything import (
    CONFIGURE,
    EVERY_KIND,
    EVERY_TYPE,
    HelloOrder,
    everything_server,
    say_everything,
)

_HERE = Path(__file__).parent
_SDK = "build/typescript/node_modules/@lasersell/lasersell-sdk/dist/stream"
_TYPESCRIPT = _HERE.parents[1] / _SDK
_TIMEOUT = 20

_ORDERS = pytest.mark.parametrize("hello", ["first", "after_configure"])
_NEEDS_PYTHON_SDK = pytest.mark.skipif(
    sys.version_info < (3, 11), reason="lasersell-sdk needs Python 3.11"
)
_NEEDS_TYPESCRIPT_SDK = pytest.mark.skipif(
    shutil.which("node") is None or not _TYPESCRIPT.exists(),
    reason="the TypeScript SDK is not installed: npm install --prefix "
    "build/typescript @lasersell/lasersell-sdk@1.1.0",
)


@contextlib.asynccontextmanager
async def _connected(url: str, face: str) -> AsyncIterator[Any]:
    """Connect with the official Python SDK, and close it in the end."""
    sdk = importlib.import_module("lasersell_sdk.stream")
    client = sdk.StreamClient("a-key").with_endpoint(url)
    configure = sdk.StreamConfigure(**CONFIGURE)
    if face == "session":
        stream = await sdk.StreamSession.connect(client, configure)
        worker = stream._connection._worker
    else:
        stream = await client.connect(configure)
        worker = stream._worker
    try:
        yield stream
    finally:
        stream.close()
        # Its close() only asks; this waits until nothing of it is left.
        await worker._task


async def _see_everything(url: str, face: str) -> tuple[set[str], set[str]]:
    """Do the client's part until every type was seen; return those, and kinds of event."""
    seen: set[str] = set()
    kinds: set[str] = set()
    async with _connected(url, face) as stream:
        stream.sender().ping(1)
        stream.sender().request_exit_signal_by_id(999_999)
        while not seen >= EVERY_TYPE:
            message = await stream.recv()
            if face == "session":
                kinds.add(message.type)
                message = message.message
            seen.add(message["type"])
            if message["type"] == "mirror_buy_signal":
                stream.sender().mirror_buy_result(message["mint"], True)
    return seen, kinds


@_NEEDS_PYTHON_SDK
@_ORDERS
@pytest.mark.parametrize("face", ["session", "connection"])
def test_the_python_sdk_sees_everything(hello: HelloOrder, face: str) -> None:
    """Its sessions and raw connections are given each message, as each kind of event."""

    async def bounded(url: str) -> tuple[set[str], set[str]]:
        return await asyncio.wait_for(_see_everything(url, face), _TIMEOUT)

    with everything_server(hello) as sim, say_everything(sim).playing():
        seen, kinds = asyncio.run(bounded(sim.url))
    assert seen == EVERY_TYPE
    assert kinds == (EVERY_KIND if face == "session" else set())


@_NEEDS_TYPESCRIPT_SDK
@_ORDERS
@pytest.mark.slow
@pytest.mark.parametrize("face", ["session", "connection", "lanes"])
def test_the_typescript_sdk_sees_everything(hello: HelloOrder, face: str) -> None:
    """Its sessions, raw connections and lanes are given each message, as each kind."""
    with everything_server(hello) as sim, say_everything(sim).playing():
        result = subprocess.run(
            [
                "node",
                str(_HERE / "everything.mjs"),
                str(_TYPESCRIPT),
                sim.url,
                face,
                json.dumps(CONFIGURE),
                json.dumps(sorted(EVERY_TYPE)),
            ],
            capture_output=True,
            text=True,
            timeout=_TIMEOUT,
            check=False,
        )
    assert result.returncode == 0, result.stderr
    answer = json.loads(result.stdout)
    assert set(answer["types"]) == EVERY_TYPE
    assert set(answer["kinds"]) == (EVERY_KIND if face == "session" else set())
