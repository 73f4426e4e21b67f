"""Where ``lasersell watch`` looks: at a stream of its own, or at another process's."""

from __future__ import annotations

from typing import Protocol

import attrs

from lasersell._clock import SYSTEM_CLOCK, Deadline
from lasersell.cli.attach import Attachment, attach
from lasersell.cli.monitor import EventLog, Monitor
from lasersell.cli.snapshot import Snapshot
from lasersell.errors import ConfigurationError, SessionInUseError
from lasersell.session.session import StreamSession
from lasersell.stream.client import StreamClient
from lasersell.stream.options import StreamConfigure

__all__ = ["Attached", "OwnStream", "Source", "open_source"]

_RETRY_SEC = 1.0


class Source(Protocol):
    """What can be looked at; a context manager that ends it."""

    is_read_only: bool

    def look(self) -> Snapshot:
        """Return what there is to see now; never blocks."""

    def request_exit(self, token_account: str) -> None:
        """Ask for the exit of a position."""

    def check(self) -> None:
        """Raise what has ended the stream for good, if something has."""

    def __enter__(self) -> Source: ...

    def __exit__(self, *_: object) -> None: ...


class HolderIsMuteError(SessionInUseError):
    """Another process holds the stream, and cannot be attached to."""

    def __init__(self, pid: int | None) -> None:
        super().__init__(pid)
        holder = "another process" if pid is None else f"process {pid}"
        self.args = (
            f"{holder} holds the stream of this API key, and there is no attaching to it; "
            "stop it first, or open a second stream with --force",
        )


class OwnStream:
    """
    A stream of our own.

    Args:
        session: The session; closed with this.
        monitor: Looks at it.
    """

    is_read_only = False

    def __init__(self, session: StreamSession, monitor: Monitor) -> None:
        self._session = session
        self._monitor = monitor
        session.start()

    def look(self) -> Snapshot:
        """Return the session as it is now."""
        return self._monitor.snapshot()

    def request_exit(self, token_account: str) -> None:
        """
        Ask for the exit of a position.

        Raises:
            LaserSellError: It cannot be asked for now.
        """
        self._monitor.request_exit(token_account)

    def check(self) -> None:
        """Raise the error that ended the stream for good, if one did."""
        if self._session.error is not None:
            raise self._session.error

    def __enter__(self) -> OwnStream:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()


class Attached:
    """
    The stream of another process, read-only. If it ends, the next one is waited for.

    Args:
        attachment: Connected to it.
        key: The API key of the stream.

    Raises:
        SessionInUseError: The process does not say anything.
    """

    is_read_only = True

    def __init__(self, attachment: Attachment, key: str) -> None:
        self._attachment = attachment
        self._key = key
        self._next_try = Deadline(_RETRY_SEC)
        first = attachment.first()
        if first is None:
            attachment.close()
            raise HolderIsMuteError(None)
        self._last = first

    def look(self) -> Snapshot:
        """Return the newest snapshot."""
        self._last = self._attachment.latest() or self._last
        if not self._attachment.is_over:
            return self._last
        self._try_again()
        return attrs.evolve(
            self._last,
            at_ms=SYSTEM_CLOCK.wall_ms(),
            state="gone",
            error=f"process {self._last.pid} has let go of the stream; waiting for the next",
        )

    def _try_again(self) -> None:
        # A look now and then: nobody tells when the next process serves.
        if not self._next_try.has_passed():
            return
        self._next_try = Deadline(_RETRY_SEC)
        attachment = attach(self._key)
        if attachment is not None:
            self._attachment.close()
            self._attachment = attachment

    def request_exit(self, token_account: str) -> None:
        """
        Refuse.

        Raises:
            ConfigurationError: Always; what is attached to is read-only.
        """
        raise ConfigurationError(
            f"this is read-only; the exit of {token_account} is for the process that "
            "holds the stream to ask for"
        )

    def check(self) -> None:
        """Do nothing: the end of another process is no failure of this one."""

    def __enter__(self) -> Attached:
        return self

    def __exit__(self, *_: object) -> None:
        self._attachment.close()


def open_source(
    client: StreamClient,
    configure: StreamConfigure | None,
    events: EventLog,
    *,
    force: bool,
) -> Source:
    """
    Attach to the process that holds the stream of a key, or else open a stream.

    Blocks as ``StreamSession.connect`` does.

    Args:
        client: Where the stream is, and its key.
        configure: What to watch; None is enough to attach.
        events: Where to write down what happens.
        force: Whether to open a stream whoever else has one.

    Raises:
        SessionInUseError: Another process holds the stream and serves no snapshots.
        ConfigurationError: No wallet is named, and there is nothing to attach to.
        StreamError: The stream cannot be opened.
    """
    key = client.options.api_key.reveal()
    attachment = None if force else attach(key)
    if attachment is not None:
        return Attached(attachment, key)
    if configure is None:
        raise ConfigurationError(
            "no wallet to watch: name one with --wallet, LASERSELL_WALLET or --config"
        )
    try:
        session = StreamSession.connect(client, configure, exclusive=not force)
    except SessionInUseError as error:
        raise HolderIsMuteError(error.pid) from error
    endpoint, wallets = client.options.endpoint, configure.wallet_pubkeys
    return OwnStream(session, Monitor(session, endpoint, wallets, events))
