"""Keeps positions and exits, and shows them on a page with server-sent events."""

from __future__ import annotations

import json
import logging
import os
import sqlite3
from collections.abc import Iterator
from typing import Any

from flask import Flask, Response, current_app, g, render_template

from lasersell.contrib.flask import LaserSell
from lasersell.session.events import StreamEvent

SHOWN = 20
LOOK_SEC = 0.5
"""Seconds between two looks into the database, which other processes write to."""
WHOLE = -1
"""The level of an exit that sells everything."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS positions (
  account TEXT, opened_at_ms INTEGER, name TEXT, is_open INTEGER DEFAULT 1,
  PRIMARY KEY (account, opened_at_ms)
);
CREATE TABLE IF NOT EXISTS exits (
  account TEXT, opened_at_ms INTEGER, level INTEGER, name TEXT, reason TEXT,
  profit_units INTEGER, received_at TEXT DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ')),
  PRIMARY KEY (account, opened_at_ms, level)
);
"""

lasersell = LaserSell()


def create_app() -> Flask:
    """Make the application; opens no stream."""
    logging.basicConfig(level=logging.INFO)
    app = Flask(__name__)
    app.config["DATABASE"] = os.environ.get("EXITBOARD_DATABASE", "exitboard.sqlite3")
    # The API key comes from LASERSELL_API_KEY.
    app.config["LASERSELL"] = {
        "configure": {
            "wallet_pubkeys": [os.environ["LASERSELL_WALLET"]],
            "deadline_timeout_sec": 300,
        },
        "strategy": {"target_profit_pct": 5.0, "stop_loss_pct": 1.5},
    }
    lasersell.init_app(app)
    app.teardown_appcontext(close_database)
    app.add_url_rule("/", view_func=page)
    app.add_url_rule("/events", view_func=events)
    with app.app_context():
        database().executescript(SCHEMA)
    return app


# The database


def database() -> sqlite3.Connection:
    """Return the connection of this request or callback."""
    if "database" not in g:
        g.database = connect(current_app.config["DATABASE"])
    connection: sqlite3.Connection = g.database
    return connection


def connect(path: str) -> sqlite3.Connection:
    """Return a connection that commits each statement."""
    connection = sqlite3.connect(path, isolation_level=None, timeout=10)
    connection.row_factory = sqlite3.Row
    return connection


def close_database(_error: BaseException | None) -> None:
    """Close the connection at the end of a request or callback."""
    connection = g.pop("database", None)
    if connection is not None:
        connection.close()


# The stream; in the one process that has it


@lasersell.on("position_opened")
def keep_position(event: StreamEvent) -> None:
    """Keep a position; after a reconnect it is named again."""
    assert event.handle is not None
    database().execute(
        "INSERT OR IGNORE INTO positions (account, opened_at_ms, name) VALUES (?, ?, ?)",
        (*identity(event), event.handle.token_symbol or event.handle.mint),
    )


@lasersell.on("position_closed")
def close_position(event: StreamEvent) -> None:
    """Note that a position is over."""
    database().execute(
        "UPDATE positions SET is_open = 0 WHERE account = ? AND opened_at_ms = ?",
        identity(event),
    )


@lasersell.on("exit_signal_with_tx")
def keep_exit(event: StreamEvent) -> None:
    """Keep an exit, once; here is where its transaction would be signed and sent."""
    signal: Any = event.message
    assert event.handle is not None
    # The same exit comes again with a fresh transaction, or after a take-over.
    database().execute(
        "INSERT OR IGNORE INTO exits (account, opened_at_ms, level, name, reason, profit_units)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (
            *identity(event),
            WHOLE if signal.level_index is None else signal.level_index,
            event.handle.token_symbol or event.handle.mint,
            signal.reason or "",
            signal.profit_units,
        ),
    )


def identity(event: StreamEvent) -> tuple[str, int]:
    """Return what tells this opening of a position from all others."""
    handle = event.handle
    return (
        ("", 0) if handle is None else (handle.token_account, handle.opened_at_ms or 0)
    )


# The pages; in any process


def page() -> str:
    """Return the page, which then listens to the events."""
    return render_template("page.html")


def events() -> Response:
    """Send what the page shows, and again each time it changes."""
    stopping = lasersell.worker().stopping
    path = current_app.config["DATABASE"]

    def changes() -> Iterator[str]:
        connection = connect(path)
        try:
            sent = None
            while not stopping.is_set():
                shown = json.dumps(board(connection))
                # A comment now and then finds out whether anybody listens.
                yield ":\n\n" if shown == sent else f"data: {shown}\n\n"
                sent = shown
                stopping.wait(LOOK_SEC)
        finally:
            connection.close()

    return Response(changes(), mimetype="text/event-stream")


def board(connection: sqlite3.Connection) -> dict[str, list[dict[str, Any]]]:
    """Return what the page shows."""
    positions = connection.execute(
        "SELECT name, account FROM positions WHERE is_open ORDER BY rowid DESC LIMIT ?",
        (SHOWN,),
    )
    exits = connection.execute(
        "SELECT name, reason, profit_units AS profit, received_at AS at"
        " FROM exits ORDER BY rowid DESC LIMIT ?",
        (SHOWN,),
    )
    return {
        "positions": [dict(row) for row in positions],
        "exits": [dict(row) for row in exits],
    }
