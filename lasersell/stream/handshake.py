"""
Greet the server: ``hello_ok`` seen, ``configure`` written, in whichever order it wants.

The specification has the server send ``hello_ok`` at once; the deployed service
is reported to hold it back until it has ``configure``. So a short grace is given
to the greeting, then ``configure`` goes out, and then ``hello_ok`` is required.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

import attrs

from lasersell._clock import Clock, Deadline
from lasersell.errors import (
    AuthenticationError,
    ConnectError,
    ConnectTimeoutError,
    DecodeError,
    HandshakeError,
    StreamLostError,
)
from lasersell.protocol.client import Configure
from lasersell.protocol.codec import decode_server_message, encode_client_message
from lasersell.protocol.server import HelloOk, ServerError
from lasersell.stream.backoff import AUTHENTICATION_CODES
from lasersell.stream.frames import Opcode
from lasersell.stream.lifecycle import RAW_LIMIT, Undecodable
from lasersell.stream.reader import Message
from lasersell.stream.transport import Transport
from lasersell.stream.wakeup import Interrupted, Wakeup

__all__ = ["Greeting", "Handshake", "rejection"]

EARLY_LIMIT = 65536
"""Most bytes that are taken from a server that has not said hello_ok."""


@attrs.frozen
class Greeting:
    """How the handshake went."""

    hello: HelloOk
    told: Configure
    """The configuration as it was written."""
    configured_at: float
    """When it was written, monotonic seconds."""
    early: list[Message]
    """What else came during the handshake, in order."""
    hello_waited: bool
    """Whether the server held its greeting back until it had ``configure``."""


class Handshake:
    """
    One handshake on an upgraded connection.

    Args:
        transport: Open; nobody else reads it yet.
        wakeup: What calls it off.
        configure: Returns what the server must be told at that moment.
        grace: Seconds to wait for ``hello_ok`` before ``configure`` goes out.
        deadline: When it must be done.
        clock: Where time comes from.
    """

    def __init__(
        self,
        transport: Transport,
        wakeup: Wakeup,
        configure: Callable[[], Configure],
        *,
        grace: float,
        deadline: Deadline,
        clock: Clock,
    ) -> None:
        self._transport = transport
        self._wakeup = wakeup
        self._configure = configure
        self._deadline = deadline
        self._grace = deadline.within(grace)
        self._clock = clock
        self._hello: HelloOk | None = None
        self._told: Configure | None = None
        self._configured_at: float | None = None
        self._hello_waited = False
        self._early: list[Message] = []

    def run(self) -> Greeting:
        """
        Return the greeting; blocks until the deadline at most.

        Raises:
            HandshakeError: The server refused the key or the configuration.
            ConnectError: The connection ended, or ``hello_ok`` did not come.
            Interrupted: It was called off.
        """
        while True:
            if self._told is None and (
                self._hello is not None or self._grace.has_passed()
            ):
                self._send_configure()
            greeting = self._greeting()
            if greeting is not None:
                return greeting
            self._read()

    def _send_configure(self) -> None:
        # Not waited for: a server that does not read must not hold up close().
        self._told = self._configure()
        self._hello_waited = self._hello is None
        self._transport.post(Opcode.TEXT, encode_client_message(self._told))
        if self._transport.is_lost:
            self._raise_why_it_ended()

    def _greeting(self) -> Greeting | None:
        if self._told is None or self._transport.has_unsent:
            return None
        if self._configured_at is None:
            self._configured_at = self._clock.monotonic()
        if self._hello is None:
            return None
        return Greeting(
            self._hello,
            self._told,
            self._configured_at,
            self._early,
            self._hello_waited,
        )

    def _raise_why_it_ended(self) -> NoReturn:
        # What the server said before it hung up tells more than a failed write.
        while True:
            self._receive(self._deadline)

    def _read(self) -> None:
        try:
            self._receive(self._grace if self._told is None else self._deadline)
        except ConnectTimeoutError:
            if self._told is None and not self._deadline.has_passed():
                return  # only the grace is over
            missing = (
                "sent no hello_ok" if self._hello is None else "did not take configure"
            )
            raise ConnectTimeoutError(
                f"the server accepted the connection but {missing} in time"
            ) from None

    def _receive(self, deadline: Deadline) -> None:
        try:
            texts = self._transport.recv_batch(deadline)
        except StreamLostError as error:
            raise _hung_up(error) from error
        if self._wakeup.called_off:
            raise Interrupted
        for text in texts:
            self._take(text)
        if self._hello is None and self._transport.stats.bytes_in > EARLY_LIMIT:
            raise ConnectError(
                f"the server sent over {EARLY_LIMIT} bytes but no hello_ok; "
                "is the endpoint right?"
            )

    def _take(self, text: bytes) -> None:
        try:
            message: Message = decode_server_message(text)
        except DecodeError as error:
            message = Undecodable(raw=text[:RAW_LIMIT], problem=str(error))
        if isinstance(message, HelloOk) and self._hello is None:
            self._hello = message
        elif isinstance(message, ServerError) and (
            self._hello is None or self._told is None
        ):
            raise rejection(message)
        else:
            self._early.append(message)


def _hung_up(error: StreamLostError) -> HandshakeError | ConnectError:
    code = error.close_code
    if code is not None and (code == 1008 or 4000 <= code < 5000):
        return HandshakeError(
            f"the server refused the session ({error}); check the API key and how many "
            "sessions it allows",
            code=str(code),
            message=error.close_reason or None,
        )
    return ConnectError(f"the server hung up during the handshake: {error}")


def rejection(error: ServerError) -> HandshakeError:
    """Return an ``error`` frame of the server as an error that says what to do."""
    code, words = error.code, error.message
    if code in AUTHENTICATION_CODES:
        return AuthenticationError(
            f"the server refused the API key ({code}: {words}); check LASERSELL_API_KEY",
            code=code,
            message=words,
        )
    advice = {
        "invalid_strategy": "change the strategy",
        "wallet_not_registered": "register each wallet once before connecting",
        "capacity_exceeded": "name fewer wallets or close positions",
    }.get(code, "see the server's words")
    return HandshakeError(
        f"the server rejected the configuration ({code}: {words}); {advice}",
        code=code,
        message=words,
    )
