"""How long a test waits for what must come."""

from __future__ import annotations

__all__ = ["PATIENCE"]

PATIENCE = 20.0
"""Seconds that only a failing test waits; pytest ends one after 30."""
