from __future__ import annotations

import base64
import struct

import pytest
from solders.pubkey import Pubkey

from lasersell.errors import TxError
from lasersell.exits.accounts import AccountReader
from lasersell.exits.guard.source import TokenAccount
from lasersell.exits.programs import LOOKUP_TABLE_PROGRAM
from lasersell.exits.signer import Signer
from tests.integration.exits.chain import Node, result, rpc_error
from tests.integration.exits.server import Answer, Server, running
from tests.unit.exits.trades import (
    MINT,
    OWN,
    TOKEN,
    TOKEN_2022,
    WALLET,
    WSOL,
    ata,
    build,
    exit_instructions,
    exit_signal,
    made_up,
    sale,
    table,
)


def account(owner: str, data: bytes) -> Answer:
    """Return the answer to a question about an account."""
    encoded = base64.b64encode(data).decode()
    value = {"owner": owner, "data": [encoded, "base64"], "lamports": 1}
    return result({"context": {"slot": 1}, "value": value})


NOTHING = result({"context": {"slot": 1}, "value": None})


def table_account(*addresses: str) -> Answer:
    """Return the answer to a question about a look-up table."""
    # Kind 1, not deactivated, extended in slot 5 from index 0, no authority.
    meta = struct.pack("<IQQBBxx", 1, 2**64 - 1, 5, 0, 0).ljust(56, b"\x00")
    keys = b"".join(bytes(Pubkey.from_string(address)) for address in addresses)
    return account(LOOKUP_TABLE_PROGRAM, meta + keys)


def token_data(mint: str = MINT, owner: str = WALLET, more: bytes = b"") -> bytes:
    """Return the bytes of a token account."""
    keys = bytes(Pubkey.from_string(mint)) + bytes(Pubkey.from_string(owner))
    return (keys + bytes(44) + b"\x01").ljust(165, b"\x00") + more


def reader(server: Server) -> AccountReader:
    """Return a reader that asks a server."""
    return AccountReader(f"{server.url}/")


def test_a_table_is_read_once() -> None:
    """What is in a table never changes, so it is remembered."""
    node = Node(getAccountInfo=[table_account(MINT, WSOL)])
    with running(script=node) as server, reader(server) as accounts:
        for _ in range(3):
            assert accounts.lookup_table(made_up("table"), 2) == (MINT, WSOL)
        assert len(server.requests) == 1
        assert server.requests[0].json["params"][0] == made_up("table")


def test_a_table_that_grew_is_read_again() -> None:
    """A table known to be shorter than needed is asked for anew."""
    node = Node(getAccountInfo=[table_account(MINT), table_account(MINT, WSOL)])
    with running(script=node) as server, reader(server) as accounts:
        assert accounts.lookup_table(made_up("table"), 1) == (MINT,)
        assert accounts.lookup_table(made_up("table"), 2) == (MINT, WSOL)


@pytest.mark.parametrize(
    "answer",
    [
        NOTHING,
        account(TOKEN, token_data()),
        account(LOOKUP_TABLE_PROGRAM, b""),
        account(LOOKUP_TABLE_PROGRAM, b"\x01" * 20),
        result({"value": {"owner": 1}}),
        result(None),
        rpc_error(-32602, "invalid"),
        Answer(status=500),
    ],
)
def test_what_is_no_table_is_an_error(answer: Answer) -> None:
    """An account that cannot be read is no empty table."""
    node = Node(getAccountInfo=[answer])
    with (
        running(script=node) as server,
        reader(server) as accounts,
        pytest.raises(TxError) as caught,
    ):
        accounts.lookup_table(made_up("table"), 1)
    assert (caught.value.stage, caught.value.target) == ("guard", "rpc")


@pytest.mark.parametrize(
    ("owner", "data"),
    [
        (TOKEN, token_data()),
        (TOKEN_2022, token_data()),
        (TOKEN_2022, token_data(more=b"\x02" + bytes(20))),
    ],
)
def test_a_token_account_is_read(owner: str, data: bytes) -> None:
    """Mint and owner of an account of either token program."""
    node = Node(getAccountInfo=[account(owner, data)])
    with running(script=node) as server, reader(server) as accounts:
        assert accounts.token_account(ata()) == TokenAccount(MINT, WALLET)


@pytest.mark.parametrize(
    "answer",
    [
        NOTHING,
        account(made_up("program"), token_data()),
        account(TOKEN, token_data()[:82]),
        account(TOKEN, bytes(165)),
        account(TOKEN_2022, token_data(more=b"\x01" + bytes(20))),
    ],
    ids=["nothing", "foreign program", "a mint", "not initialised", "a long mint"],
)
def test_what_is_no_token_account_is_none(answer: Answer) -> None:
    """A mint, which may be as long, is not taken for an account of ours."""
    node = Node(getAccountInfo=[answer])
    with running(script=node) as server, reader(server) as accounts:
        assert accounts.token_account(ata()) is None


def test_a_sale_by_way_of_a_table_is_signed() -> None:
    """The guard asks the node what the transaction leaves out."""
    tip, pool = made_up("tip account"), made_up("pool of the table")
    tx = build(
        [*exit_instructions()[:3], sale(changes={"pool": pool})],
        tables=[table(pool, tip)],
    )
    node = Node(getAccountInfo=[table_account(pool, tip)])
    with running(script=node) as server, reader(server) as accounts:
        signed = Signer([OWN], accounts=accounts).sign_exit(exit_signal(tx))
        assert signed.wallet == WALLET
        assert len(server.requests) == 1


def test_a_node_that_is_down_is_no_verdict() -> None:
    """That the table cannot be had now may pass, and the error says so."""
    with running() as server:
        url = server.url
    tx = build(exit_instructions(), tables=[table(made_up("tip account"))])
    with AccountReader(url) as accounts, pytest.raises(TxError) as caught:
        Signer([OWN], accounts=accounts).sign_exit(exit_signal(tx))
    assert (caught.value.stage, caught.value.is_retryable) == ("guard", True)
