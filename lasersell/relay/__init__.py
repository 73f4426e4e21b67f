"""The relay."""

from __future__ import annotations
