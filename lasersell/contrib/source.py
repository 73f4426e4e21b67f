"""
The setting ``LASERSELL``: where the events of a web application come from.

It is a table of tables, each with the arguments of what it configures:

* ``stream``: :class:`~lasersell.stream.client.StreamClient`
* ``configure``: :class:`~lasersell.stream.options.StreamConfigure`
* ``strategy``: :class:`~lasersell.protocol.strategy.StrategyConfig`
* ``mirror``: ``watch_wallets`` and ``config``
* ``session``: :meth:`StreamSession.connect
  <lasersell.session.session.StreamSession.connect>`

``name_env = "VARIABLE"`` takes an argument from the environment. The API key is best left
out, and so taken from ``LASERSELL_API_KEY``.

``source`` says where the session comes from. ``stream``, the default, opens it in the one
process that leads. ``relay`` gets it from a :class:`~lasersell.relay.Relay`, in every
process, on any number of hosts; then there is one table instead of the others:

* ``relay``: :meth:`RelaySession.connect <lasersell.relay.session.RelaySession.connect>`

There each exit signal goes to one process, and to another one if a callback fails; all
other events come to every process. ``"group": None`` sends every process everything.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import attrs

from lasersell.contrib.worker import Connect, Source
from lasersell.errors import ConfigurationError
from lasersell.relay.link import RedisLink
from lasersell.relay.session import RelaySession
from lasersell.session.exclusive import hold
from lasersell.session.session import StreamSession
from lasersell.session.tables import (
    Table,
    arguments_of,
    check_names,
    client_of,
    configure_of,
    table_of,
)
from lasersell.stream.client import StreamClient
from lasersell.stream.options import StreamConfigure

__all__ = ["SETTING", "source_of"]

SETTING = "LASERSELL"
"""The name of the setting."""

_TABLES = {
    "stream": ("source", "stream", "configure", "strategy", "mirror", "session"),
    "relay": ("source", "relay"),
}


def source_of(settings: Any, name: str) -> Source:
    """
    Return the source that the setting describes, checked as far as it can be offline.

    Args:
        settings: The value of the setting.
        name: The name of the application; its processes take turns.

    Raises:
        ConfigurationError: Something in it is wrong; names the table.
    """
    if settings is None:
        raise ConfigurationError(
            f"there is no setting {SETTING}; give your wallets and a strategy in it"
        )
    if not isinstance(settings, Mapping):
        kind = type(settings).__name__
        raise ConfigurationError(f"{SETTING} must be a dict of tables, not {kind}")
    try:
        source = settings.get("source", "stream")
        if not isinstance(source, str) or source not in _SOURCES:
            raise ConfigurationError(
                f"source must be one of {', '.join(_SOURCES)}, not {source!r}"
            )
        check_names(settings, _TABLES[source])
        return _SOURCES[source](settings, name)
    except ConfigurationError as error:
        raise ConfigurationError(f"{SETTING}: {error}") from error


@attrs.frozen
class _Stream:
    """The stream itself, in the one process of the application that leads."""

    name: str
    client: StreamClient
    configure: StreamConfigure
    options: dict[str, Any]

    @contextmanager
    def __call__(self, stop: threading.Event) -> Iterator[Connect]:
        """Wait for the lock of this application, then for a free session of the key."""
        key = self.client.options.api_key.reveal()
        # The service may allow two sessions, and still one process handles an event.
        role = f"{self.name} {key}"
        what = f"the stream of {self.name}"
        with (
            hold(role, slots=1, wait=True, stop=stop, what=what),
            hold(key, wait=True, stop=stop, what="the stream of this key") as key_hold,
        ):

            def connect() -> StreamSession:
                session = StreamSession.connect(
                    self.client, self.configure, **self.options
                )
                if session.limits is not None:
                    key_hold.allow(session.limits.max_sessions_per_api_key)
                return session

            yield connect


def _stream(settings: Table, name: str) -> Source:
    return _Stream(
        name,
        client_of(settings),
        configure_of(settings),
        arguments_of(
            StreamSession.connect,
            table_of(settings, "session"),
            "session",
            leave_out=("client", "configure", "exclusive"),
        ),
    )


def _relay(settings: Table, name: str) -> Source:
    arguments = arguments_of(RelaySession.connect, table_of(settings, "relay"), "relay")
    # Connects to nothing yet, and knows a wrong URL.
    RedisLink(arguments["url"], **(arguments.get("redis_options") or {})).close()

    @contextmanager
    def source(_stop: threading.Event) -> Iterator[Connect]:
        # No lock: every process has its own session, and Redis shares out the signals.
        yield lambda: RelaySession.connect(**{"group": name, **arguments})

    return source


_SOURCES: Mapping[str, Callable[[Table, str], Source]] = {
    "stream": _stream,
    "relay": _relay,
}
