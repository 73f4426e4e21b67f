"""Texts of other people, made safe for a terminal."""

from __future__ import annotations

__all__ = ["printable"]


def printable(text: str) -> str:
    """
    Return a text that does nothing to a terminal but stand in its line.

    Anybody may call a token anything, also the escape sequence that clears a screen.
    """
    return "".join(char if char.isprintable() else "?" for char in text)
