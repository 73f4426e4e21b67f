"""
A node that answers JSON-RPC, in as far as a test tells it what to say.
"""

from __future__ import annotations

import base64
from typing import Any

from solders.transaction import VersionedTransaction

from lasersell.exits.signer import Signer
from lasersell.exits.transaction import SignedTransaction
from tests.integration.exits.server import Answer, Request
from tests.unit.exits.trades import OWN, build, exit_instructions, exit_signal

__all__ = ["Node", "result", "rpc_error", "signed_exit"]


def signed_exit(tokens: int = 5_000_000) -> SignedTransaction:
    """Return a signed sale."""
    tx = build(exit_instructions(tokens=tokens))
    return Signer([OWN]).sign_exit(exit_signal(tx, position_tokens=tokens))


def result(value: Any, **more: Any) -> Answer:
    """Return the answer to a call that succeeded."""
    return Answer({"jsonrpc": "2.0", "id": 1, "result": value, **more})


def rpc_error(
    code: int, message: str = "no", data: Any = None, status: int = 200
) -> Answer:
    """Return the answer to a call that failed."""
    error: dict[str, Any] = {"code": code, "message": message}
    if data is not None:
        error["data"] = data
    return Answer({"jsonrpc": "2.0", "id": 1, "error": error}, status)


class Node:
    """
    The script of a node: answers by method, each list in turn, its last for ever.

    ``sendTransaction`` verifies the signature and returns it, unless it is told
    otherwise.
    """

    def __init__(self, **answers: list[Answer]) -> None:
        self.answers = answers
        self.sent: list[str] = []

    def __call__(self, request: Request) -> Answer:
        if request.method == "GET":
            return Answer({"pong": True})
        method = request.json["method"]
        answers = self.answers.get(method)
        if method == "sendTransaction":
            self.sent.append(request.json["params"][0])
            if answers is None:
                return result(_signature(request.json["params"][0]))
        if answers is None:
            return rpc_error(-32601, f"Method not found: {method}")
        return answers.pop(0) if len(answers) > 1 else answers[0]


def _signature(text: str) -> str:
    transaction = VersionedTransaction.from_bytes(base64.b64decode(text))
    assert transaction.verify_with_results() == [True]
    return str(transaction.signatures[0])
