"""Exit codes, the same for every command."""

from __future__ import annotations

from lasersell.errors import (
    ApiError,
    AuthenticationError,
    ConfigurationError,
    DecodeError,
    LaserSellError,
    MissingExtraError,
    RelayError,
    SessionInUseError,
    StreamError,
)

__all__ = [
    "EXIT_CODES",
    "FAILED",
    "IN_USE",
    "LEFT_UNDER_WAY",
    "MISTAKE",
    "NOT_ACCEPTED",
    "STOPPED",
    "STREAM_ENDED",
    "code_of",
    "code_table",
]

STOPPED = 0
FAILED = 1
MISTAKE = 2
NOT_ACCEPTED = 3
STREAM_ENDED = 4
LEFT_UNDER_WAY = 5
IN_USE = 6

EXIT_CODES = {
    STOPPED: "done, or stopped as asked",
    FAILED: "something failed that no other code names",
    MISTAKE: "a mistake in the configuration or the command",
    NOT_ACCEPTED: "the API key was refused",
    STREAM_ENDED: "the stream, the API or Redis could not be reached or ended for good",
    LEFT_UNDER_WAY: "stopped with transactions under way; the next run sees to them",
    IN_USE: "another process holds the stream of this API key, or the wallet",
}
"""What an exit code means."""


def code_of(error: LaserSellError) -> int:
    """Return the exit code of a command that an error ended."""
    if isinstance(error, AuthenticationError):
        return NOT_ACCEPTED
    if isinstance(error, (StreamError, ApiError, RelayError)):
        return STREAM_ENDED
    if isinstance(error, SessionInUseError):
        return IN_USE
    if isinstance(error, (ConfigurationError, DecodeError, MissingExtraError)):
        return MISTAKE
    return FAILED


def code_table(*codes: int) -> str:
    """Return what codes mean, for the end of a command's help."""
    listed = "; ".join(f"{code}: {EXIT_CODES[code]}" for code in codes)
    return f"Exit codes: {listed}."
