"""A Flask application that takes notes."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from flask import Flask, Response

from lasersell.contrib.flask import LaserSell
from tests.integration.contrib.site.notes import WALLET, note

logging.basicConfig(level=logging.INFO, format="%(process)d %(message)s")

app = Flask(__name__)
app.config["LASERSELL"] = {
    "configure": {"wallet_pubkeys": [WALLET]},
    "strategy": {"target_profit_pct": 5.0},
    "session": {"wait_configured": 0},
}
lasersell = LaserSell(app)
lasersell.on("*", note)


@app.get("/")
def page() -> str:
    """Say what this process is doing."""
    return lasersell.worker().state


@app.get("/endless")
def endless() -> Response:
    """Answer until the worker stops."""
    stopping = lasersell.worker().stopping

    def lines() -> Iterator[str]:
        yield "begun\n"
        stopping.wait()

    return Response(lines(), mimetype="text/plain")
