"""The methods of Solana's JSON-RPC that an exit needs, on the simulated chain."""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable
from typing import Any

from solders.pubkey import Pubkey

from lasersell.sim.blockhashes import LIFETIME_SLOTS
from lasersell.sim.chain import Chain
from lasersell.sim.ledger import Holding
from lasersell.sim.lookup_tables import TABLES, account_data
from lasersell.sim.node import Node, RpcError
from lasersell.sim.solana import LOOKUP_TABLE_PROGRAM

__all__ = ["Rpc"]

_LAMPORTS = 2_039_280
_TOKEN_ACCOUNT = struct.Struct("<32s32sQ36sB56s")
_INITIALISED = 1


class Rpc:
    """
    What a node answers; one thread at a time may use it.

    Args:
        chain: What it knows.
        node: Where transactions go.
    """

    def __init__(self, chain: Chain, node: Node) -> None:
        self._chain = chain
        self._node = node
        self._methods: dict[str, Callable[..., Any]] = {
            "sendTransaction": self._send_transaction,
            "getSignatureStatuses": self._get_signature_statuses,
            "getLatestBlockhash": self._get_latest_blockhash,
            "isBlockhashValid": self._is_blockhash_valid,
            "getAccountInfo": self._get_account_info,
            "getSlot": lambda _config=None: self._chain.slot,
            "getHealth": lambda: "ok",
        }

    def call(self, method: str, params: list[Any]) -> Any:
        """
        Return the result of a method.

        Raises:
            RpcError: There is none.
            Lost: The caller gets no answer.
        """
        serve = self._methods.get(method)
        if serve is None:
            raise RpcError(-32601, f"Method not found: {method[:64]}")
        try:
            return serve(*params)
        except (TypeError, AttributeError, ValueError) as error:
            raise RpcError(-32602, f"Invalid params: {error}") from error

    def _send_transaction(self, text: str, config: dict[str, Any] | None = None) -> str:
        config = config or {}
        if config.get("encoding") != "base64":
            raise RpcError(-32602, "the simulator takes transactions in base64")
        is_simulated = not config.get("skipPreflight", False)
        return self._node.submit(text, is_simulated=is_simulated)

    def _get_signature_statuses(
        self, signatures: list[str], _config: Any = None
    ) -> dict[str, Any]:
        return self._in_context([self._status(signature) for signature in signatures])

    def _status(self, signature: str) -> dict[str, Any] | None:
        status = self._node.statuses.get(signature)
        if status is None:
            return None
        confirmation = status.confirmation(self._chain.slot)
        return {
            "slot": status.slot,
            "confirmations": None if confirmation == "finalized" else 1,
            "err": status.err,
            "confirmationStatus": confirmation,
        }

    def _get_latest_blockhash(self, _config: Any = None) -> dict[str, Any]:
        return self._in_context(
            {
                "blockhash": self._chain.blockhash(),
                "lastValidBlockHeight": self._chain.slot + LIFETIME_SLOTS,
            }
        )

    def _is_blockhash_valid(
        self, blockhash: str, _config: Any = None
    ) -> dict[str, Any]:
        chain = self._chain
        return self._in_context(chain.blockhashes.is_valid(blockhash, chain.slot))

    def _get_account_info(self, address: str, _config: Any = None) -> dict[str, Any]:
        account = self._account(address)
        if account is None:
            return self._in_context(None)
        owner, data = account
        return self._in_context(
            {
                "lamports": _LAMPORTS,
                "owner": owner,
                "data": [base64.b64encode(data).decode(), "base64"],
                "executable": False,
                "rentEpoch": 0,
            }
        )

    def _account(self, address: str) -> tuple[str, bytes] | None:
        """Return an account's owner and data; None if there is none."""
        if address in TABLES:
            return LOOKUP_TABLE_PROGRAM, account_data(TABLES[address])
        holding = self._chain.ledger.holding(address)
        if holding is None:
            return None
        return holding.token_program, _token_account_data(holding)

    def _in_context(self, value: Any) -> dict[str, Any]:
        return {"context": {"slot": self._chain.slot}, "value": value}


def _token_account_data(holding: Holding) -> bytes:
    mint, owner = (
        bytes(Pubkey.from_string(key)) for key in (holding.mint, holding.wallet)
    )
    return _TOKEN_ACCOUNT.pack(
        mint, owner, holding.tokens, bytes(36), _INITIALISED, bytes(56)
    )
