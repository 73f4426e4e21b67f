"""One line for a person about a message of the server."""

from __future__ import annotations

from lasersell.protocol.server import (
    BalanceUpdate,
    ExitSignalWithTx,
    PositionClosed,
    PositionOpened,
    ServerError,
    ServerMessage,
)

__all__ = ["describe"]


def describe(message: ServerMessage) -> str:
    """Return the type and what matters most; never a transaction."""
    return f"{message.type}{_details(message)}"


def _details(message: ServerMessage) -> str:
    match message:
        case BalanceUpdate():
            return f": {message.tokens} of {message.mint}"
        case PositionOpened():
            return (
                f": position {message.position_id}, {message.tokens} "
                f"{message.token_symbol} for {message.entry_quote_units}"
            )
        case ExitSignalWithTx():
            return (
                f": position {message.position_id}, {message.reason}, "
                f"profit {message.profit_units}"
            )
        case PositionClosed():
            return f": position {message.position_id}, {message.reason}"
        case ServerError():
            return f": {message.code}, {message.message}"
        case _:
            return ""
