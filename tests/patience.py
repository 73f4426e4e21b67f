"""How long a test waits for what must come, and how late a machine may be."""

from __future__ import annotations

__all__ = ["PATIENCE", "SLACK"]

PATIENCE = 20.0
"""Seconds that only a failing test waits; pytest ends one after 30."""
SLACK = 10
"""How many times slower than promised a busy machine may be."""
