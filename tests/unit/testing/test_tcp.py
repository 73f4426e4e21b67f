from __future__ import annotations

import asyncio
import socket

from lasersell.testing.tcp import hang_up
from tests.patience import PATIENCE


def test_a_hang_up_that_is_cancelled_leaves_nothing_open() -> None:
    """A server that is stopped does not wait for who reads nothing."""

    async def cancel() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            _, writer = await asyncio.open_connection(*listener.getsockname())
            writer.write(bytes(1 << 26))  # more than the other side has room for
            hanging_up = asyncio.ensure_future(hang_up(writer))
            await asyncio.wait([hanging_up], timeout=0.05)
            assert not hanging_up.done()
            hanging_up.cancel()
            await asyncio.wait([hanging_up], timeout=PATIENCE)
            assert hanging_up.cancelled()
            assert writer.get_extra_info("socket").fileno() == -1

    asyncio.run(cancel())
