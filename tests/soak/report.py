"""What a client under load saw, as it is told from one process to another."""

from __future__ import annotations

import json
import platform
import ssl

import attrs

__all__ = ["Report"]


@attrs.define
class Report:
    """The counts of one run."""

    python: str = attrs.field(factory=platform.python_version)
    openssl: str = ssl.OPENSSL_VERSION.split()[1]
    events: int = 0
    """Numbered events that arrived."""
    lost_events: int = 0
    """Numbered events that did not, or not in order, on a connection that stayed."""
    pings: int = 0
    """Application pings that were answered."""
    disconnects: list[str] = attrs.field(factory=list)
    """Why each connection ended before its time."""

    def to_json(self) -> str:
        """Return it as one line."""
        return json.dumps(attrs.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Report:
        """Return what :meth:`to_json` wrote."""
        return cls(**json.loads(text))
