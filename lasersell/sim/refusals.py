"""Commands that are answered with an ``error`` frame and change nothing."""

from __future__ import annotations

from lasersell.protocol.server import Limits, ServerError

__all__ = ["Refused", "check_room"]


class Refused(Exception):
    """
    A command was refused.

    Attributes:
        frame: The answer.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.frame = ServerError(code=code, message=message)


def check_room(limits: Limits, limit: str, wanted: int) -> None:
    """
    Check that a limit allows this many; 0 means unknown on the wire, and none here.

    Raises:
        Refused: If it does not, with the code ``capacity_exceeded``.
    """
    allowed: int | None = getattr(limits, limit)
    if allowed and wanted > allowed:
        raise Refused("capacity_exceeded", f"{limit} limit reached")
