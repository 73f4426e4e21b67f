"""
LaserSell for Flask: an extension that calls your functions with the events of the stream.

::

    lasersell = LaserSell()

    @lasersell.on("exit_signal_with_tx")
    def sell(event): ...

    def create_app():
        app = Flask(__name__)
        app.config["LASERSELL"] = {...}
        lasersell.init_app(app)
        return app

The setting is described in :mod:`lasersell.contrib.source`. The stream is opened by ``flask
lasersell run``, and by the workers of a web server with its hook
(:mod:`lasersell.contrib.gunicorn`); by nothing else. Needs the extra ``flask``.

Functions and receivers are called one after the other in the one process that leads, in
a thread of ours, each in an app context of its own. One that raises is logged and reported
as ``callback_error``; the next one still runs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, TypeVar, overload

from lasersell.contrib.source import SETTING, source_of
from lasersell.contrib.worker import EVENT_TYPES, Failure, StreamWorker
from lasersell.errors import ConfigurationError, LaserSellError, MissingExtraError
from lasersell.session.callbacks import Callback
from lasersell.session.events import StreamEvent

try:
    import click
    from blinker import Namespace, Signal
    from flask import Flask, current_app
    from flask.cli import AppGroup
except ImportError as error:
    raise MissingExtraError("lasersell.contrib.flask", "flask") from error

__all__ = ["LaserSell", "signals"]

log = logging.getLogger(__name__)

F = TypeVar("F", bound=Callback)

EVERYTHING = "*"
_EXTENSION = "lasersell"

_namespace = Namespace()
signals: Mapping[str, Signal] = {
    name: _namespace.signal(name) for name in (*EVENT_TYPES, EVERYTHING)
}
"""
A blinker signal for each type of event, and ``"*"`` for all.

A receiver gets the app as ``sender``, ``event``, and ``session``, which can be asked and
commanded.
"""


class LaserSell:
    """
    The extension; one may serve several apps.

    Args:
        app: An app to begin with; see :meth:`init_app`.
    """

    def __init__(self, app: Flask | None = None) -> None:
        self._callbacks: dict[str, list[Callback]] = {}
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """
        Give an app the stream of its setting, and the commands ``flask lasersell``.

        Starts nothing and reads no setting yet.
        """
        # The worker is reached from the app, so it must not keep the app alive.
        app.extensions[_EXTENSION] = StreamWorker(
            lambda: source_of(app.config.get(SETTING), app.import_name),
            partial(self._deliver, app),
        )
        app.cli.add_command(_commands())

    @overload
    def on(self, type: str) -> Callable[[F], F]: ...

    @overload
    def on(self, type: str, callback: F) -> F: ...

    def on(self, type: str, callback: Any = None) -> Any:
        """
        Call ``callback`` with each event of a type; ``"*"`` is every type.

        Without a callback it is a decorator.

        Raises:
            ConfigurationError: There is no such type.
        """
        if type not in signals:
            raise ConfigurationError(
                f"there is no type {type!r} of events; there are {', '.join(signals)}"
            )
        if callback is None:
            return partial(self.on, type)
        self._callbacks.setdefault(type, []).append(callback)
        return callback

    def worker(self, app: Flask | None = None) -> StreamWorker:
        """
        Return this process's candidate for the stream of an app.

        Args:
            app: The app; None is the current one.

        Raises:
            ConfigurationError: The app was not initialised.
        """
        found = (app or current_app).extensions.get(_EXTENSION)
        if found is None:
            raise ConfigurationError("call init_app() with this app first")
        worker: StreamWorker = found
        return worker

    def _deliver(self, app: Flask, event: StreamEvent, session: Any) -> list[Failure]:
        failures: list[Failure] = []
        for callback, call in self._calls(app, event, session):
            try:
                with app.app_context():
                    call()
            except Exception as error:
                log.exception("the callback %r failed on a %s", callback, event.type)
                failures.append((callback, error))
        return failures

    def _calls(
        self, app: Flask, event: StreamEvent, session: Any
    ) -> Iterator[tuple[object, Callable[[], object]]]:
        """Yield who is to be called with an event, and the call."""
        for name in (event.type, EVERYTHING):
            for callback in self._callbacks.get(name, ()):
                yield callback, partial(callback, event)
            signal = signals.get(name)
            # Most events are updates of a profit, several a second.
            if signal is not None and signal.receivers:
                for receiver in signal.receivers_for(app):
                    yield receiver, partial(receiver, app, event=event, session=session)


def _commands() -> AppGroup:
    group = AppGroup("lasersell", help="The LaserSell stream of this app.")

    @group.command("run")
    def run() -> None:
        """
        Open the stream and call what is registered for its events, until Ctrl-C.

        While another process of this app has the stream, it stands by.
        """
        worker: StreamWorker = current_app.extensions[_EXTENSION]
        try:
            worker.run()
        except LaserSellError as error:
            raise click.ClickException(str(error)) from error

    return group
