"""
What goes wrong on purpose, now or with the next messages.

More faults are elsewhere, as they are not of a moment: refused upgrades and calls,
floods and raw frames are methods of ``SimServer``; a late, missing or refused ``hello_ok`` and
the many ways to be turned away are ``SimOptions``.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

from lasersell.protocol.codec import encode_server_message
from lasersell.protocol.server import Pong, ServerMessage
from lasersell.sim.background import Background
from lasersell.sim.connection import Connection
from lasersell.sim.encoding import frame
from lasersell.sim.hub import Hub
from lasersell.sim.node import SubmissionFault, check_fault
from lasersell.sim.tampering import Duplicate, Lose, Swap, Tamper

__all__ = ["MISSING", "Faults"]

MISSING = object()
"""The value of a field that :meth:`Faults.malformed` leaves out."""

_FILLER = Pong(server_time_ms=0)


class Faults:
    """
    The faults of one server; ``SimServer.faults``.

    A fault of the stream meets every client that is connected, one of transactions
    whoever submits next. Any thread may call any method; each blocks until the
    server's thread has done the work.

    Args:
        hub: Where the clients are.
        background: The server's thread.
        seed: What garbage depends on.
    """

    def __init__(self, hub: Hub, background: Background, seed: int) -> None:
        self._hub = hub
        self._background = background
        self._random = random.Random(f"garbage:{seed}")  # noqa: S311 - noise, no secret

    # --- the connection -------------------------------------------------------

    def reset(self) -> None:
        """End every connection with a TCP reset, which discards what is under way."""
        self._background.call(self._hub.reset)

    def stall(self) -> None:
        """
        Read and write nothing until :meth:`resume`, like a process that hangs.

        Not even pings of the WebSocket are answered; TCP keeps the connection.
        """
        self._each(Connection.stall)

    def resume(self) -> None:
        """End a stall; what was to be sent meanwhile is sent now."""
        self._each(Connection.resume)

    def mute(self, is_mute: bool = True) -> None:
        """
        Say nothing more, though pings of the WebSocket are answered.

        What would have been said is lost, unlike in a stall.
        """

        def mute(connection: Connection) -> None:
            connection.is_mute = is_mute

        self._each(mute)

    # --- bytes ----------------------------------------------------------------

    def half_a_frame(
        self, message: ServerMessage = _FILLER, *, cut: bool = True
    ) -> None:
        """
        Send the first half of a frame, and nothing of the other half.

        Args:
            message: What the frame is of.
            cut: Whether the connection is cut there; if not, whatever is sent next
                is taken for the other half.
        """
        data = frame(encode_server_message(message))

        def send() -> None:
            self._hub.write(data[: len(data) // 2])
            if cut:
                self._hub.hang_up()

        self._background.call(send)

    def garbage(self, size: int = 64) -> None:
        """Send random bytes that are no frame; the same seed gives the same."""
        # No frame of a server has reserved bits set, or is masked.
        data = b"\xff\xff" + self._random.randbytes(max(0, size - 2))
        self._background.call(lambda: self._hub.write(data))

    def malformed(self, message: ServerMessage, **fields: Any) -> None:
        """
        Send a message with wrong fields.

        Args:
            message: A sound message.
            fields: What its fields are to be instead, as values JSON can say;
                ``MISSING`` leaves one out.
        """
        wire: dict[str, Any] = json.loads(encode_server_message(message))
        wire |= fields
        text = json.dumps({k: v for k, v in wire.items() if v is not MISSING})
        self._background.call(lambda: self._hub.write(frame(text.encode())))

    # --- messages to come -----------------------------------------------------

    def lose(self, kind: type[object], times: int = 1) -> None:
        """Do not send the next messages of a class, such as ``ExitSignalWithTx``."""
        self._tamper(Lose(kind, times))

    def duplicate(self, kind: type[object], times: int = 1) -> None:
        """Send the next messages of a class twice."""
        self._tamper(Duplicate(kind, times))

    def swap(self, kind: type[object], times: int = 1) -> None:
        """Send the next messages of a class after the message that follows them."""
        self._tamper(Swap(kind, times))

    def _tamper(self, tamper: Tamper) -> None:
        self._background.call(lambda: self._hub.tampers.append(tamper))

    # --- transactions to come -------------------------------------------------

    def submissions(self, *faults: SubmissionFault, times: int = 1) -> None:
        """
        Choose what happens to the next transactions that are submitted.

        Args:
            faults: One for each, see :data:`SubmissionFault`; ``none`` lets one through.
            times: How often all of them are gone through.

        Raises:
            ConfigurationError: If there is no such fault.
        """
        for fault in faults:
            check_fault(fault)
        self._background.call(lambda: self._hub.node.faults.extend(faults * times))

    def land_delayed(self) -> None:
        """Land what was submitted and delayed so far, unless its time has passed."""
        self._background.call(self._hub.node.land_delayed)

    def expire_blockhashes(self) -> None:
        """Let every block hash that was handed out be too old."""
        self._background.call(self._hub.node.expire_blockhashes)

    def settle(self, signature: str, err: object = None) -> None:
        """
        Have a transaction be on the chain that was never submitted here.

        Args:
            signature: Its signature; base58.
            err: Why it failed, as the chain says it; None if it did not.
        """
        self._background.call(lambda: self._hub.node.settle(signature, err))

    def _each(self, act: Callable[[Connection], None]) -> None:
        def act_on_all() -> None:
            for connection in self._hub.connections:
                act(connection)

        self._background.call(act_on_all)
