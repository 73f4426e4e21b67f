"""A Flask application that takes notes."""

from __future__ import annotations

import logging

from flask import Flask

from lasersell.contrib.flask import LaserSell
from tests.integration.contrib.site.notes import note, tables

logging.basicConfig(level=logging.INFO, format="%(process)d %(message)s")

app = Flask(__name__)
app.config["LASERSELL"] = tables()
lasersell = LaserSell(app)
lasersell.on("*", note)


@app.get("/")
def page() -> str:
    """Say what this process is doing."""
    return lasersell.worker().state
