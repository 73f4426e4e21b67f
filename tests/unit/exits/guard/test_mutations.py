"""
Transactions that nobody thought of: built at random, and damaged at random.

What is accepted is judged again by an account of the transaction that shares no code
with the guard: it runs the instructions on made-up balances, and knows of the venues
only the trades that it built itself.
"""

from __future__ import annotations

import base64
import struct
from collections import Counter

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from solders.instruction import Instruction
from solders.message import Message, MessageV0
from solders.transaction import VersionedTransaction

from lasersell.errors import GuardRefusedError, TxError
from lasersell.exits.guard.check import check
from lasersell.exits.guard.intent import Intent
from lasersell.exits.transaction import PACKET_LIMIT, decode_transaction
from tests.unit.exits import trades
from tests.unit.exits.guard.test_check import HOSTILE
from tests.unit.exits.trades import (
    ASSOCIATED,
    COMPUTE_BUDGET,
    MINT,
    SYSTEM,
    THIEF,
    TOKEN,
    TOKEN_2022,
    TOKENS,
    WALLET,
    WSOL,
    ata,
    build,
    build_legacy,
    close,
    create_ata,
    exit_instructions,
    made_up,
    sale,
    transfer,
    unit_limit,
)

SOLD = Intent(wallet=WALLET, mint=MINT, is_sale=True, limit=TOKENS)
MOST_SOL_OUT = 15_000_000 + 10_000_000
"""Tip, fee and priority fee of the default policy, for a sale that may bring nothing."""

honest = st.sampled_from(
    [
        unit_limit(),
        create_ata(),
        create_ata(MINT),
        close(),
        transfer(1_000, to=made_up("tip account")),
        transfer(0),
        transfer(5_000, to=WALLET),
        sale(tokens=10),
        sale("pump_fun", tokens=10),
        sale("meteora_dbc", tokens=10),
        sale("raydium_cpmm", tokens=10),
    ]
)


def verdict(text: str) -> str | None:
    """Return why a transaction is not signed; None if it would be."""
    try:
        check(decode_transaction(text), SOLD)
    except GuardRefusedError as error:
        return error.reason
    except TxError as error:
        return error.stage
    return None


BAD_ALONE = [
    instruction
    for _, instructions in HOSTILE.values()
    for instruction in instructions
    if verdict(build([sale(tokens=10), instruction])) is not None
]
"""Instructions that make one honest sale a refused transaction."""


def test_there_are_many_bad_instructions() -> None:
    """The test below draws from most of the hostile transactions."""
    assert len(BAD_ALONE) > 40


def fitting(parts: list[Instruction]) -> str:
    """Return a transaction, if the network would take one of its size."""
    text = build(parts)
    assume(len(base64.b64decode(text)) <= PACKET_LIMIT)
    return text


@given(st.lists(honest, min_size=1, max_size=6))
def test_honest_parts_in_any_order_are_accepted(parts: list[Instruction]) -> None:
    """The order and the number of honest instructions do not matter."""
    assert verdict(fitting([sale(tokens=10), *parts])) is None


@given(st.lists(honest, max_size=4), st.sampled_from(BAD_ALONE), st.integers(0, 6))
def test_one_bad_part_among_honest_ones_is_found(
    parts: list[Instruction], bad: Instruction, place: int
) -> None:
    """A hostile instruction is refused wherever it hides."""
    parts = [sale(tokens=10), *parts]
    parts.insert(min(place, len(parts)), bad)
    assert verdict(fitting(parts)) not in (None, "decode")


class Ledger:
    """What a transaction takes out of the wallet at worst, by another reckoning."""

    def __init__(self, message: Message | MessageV0) -> None:
        self.lamports = 0
        self.tokens = 0
        self.doubts: Counter[str] = Counter()
        self._price, self._limit = 0, 1_400_000
        keys = [str(key) for key in message.account_keys]
        for compiled in message.instructions:
            program = keys[compiled.program_id_index]
            accounts = [keys[index] for index in compiled.accounts]
            self._run(program, accounts, bytes(compiled.data))
        self.lamports += self._price * min(self._limit, 1_400_000) // 1_000_000

    def _run(self, program: str, accounts: list[str], data: bytes) -> None:
        if program == SYSTEM:
            kind, lamports = struct.unpack("<IQ", data)
            self.doubts[f"system {kind}"] += kind != 2
            if accounts[1] not in (WALLET, ata(mint=WSOL)):
                self.lamports += lamports
        elif program == COMPUTE_BUDGET:
            if data[0] == 3:
                self._price = struct.unpack("<Q", data[1:])[0]
            elif data[0] == 2:
                self._limit = struct.unpack("<I", data[1:])[0]
        elif program == ASSOCIATED:
            self.doubts["owner"] += accounts[2] != WALLET
        elif program in (TOKEN, TOKEN_2022):
            self.doubts[f"token {data[0]}"] += data[0] not in (9, 17)
            self.doubts["close"] += data[0] == 9 and accounts[1] != WALLET
        elif program == trades.PUMP_AMM:
            self._trade(accounts, data)
        else:
            self.doubts[program] += 1

    def _trade(self, accounts: list[str], data: bytes) -> None:
        names = trades.SALES["pump_swap"].accounts
        by_name = dict(zip(names, accounts, strict=False))
        self.tokens += struct.unpack("<Q", data[8:16])[0]
        self.doubts["trade"] += data[:8] not in (
            trades.anchor("sell"),
            trades.anchor("sell_v2"),
        )
        self.doubts["mint"] += (by_name["base_mint"], by_name["quote_mint"]) != (
            MINT,
            WSOL,
        )
        self.doubts["accounts"] += (
            by_name["user_base"],
            by_name["user_quote"],
        ) not in [
            (ata(program=program), ata(mint=WSOL)) for program in (TOKEN, TOKEN_2022)
        ]


def damaged(raw: bytes, places: list[tuple[int, int]]) -> bytes:
    """Return bytes with some of them replaced."""
    changed = bytearray(raw)
    for place, value in places:
        changed[place % len(changed)] = value
    return bytes(changed)


BASES = [
    base64.b64decode(tx)
    for tx in (
        build(exit_instructions()),
        build_legacy(exit_instructions()),
        build([sale(tokens=TOKENS, least=0), transfer(15_000_000)]),
        build([sale(), transfer(1), transfer(10**9, to=WALLET), close()]),
        build([*exit_instructions(), transfer(10**9, to=THIEF)]),
    )
]


@settings(max_examples=800)
@given(
    st.sampled_from(BASES),
    st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=4),
)
def test_whatever_is_accepted_takes_no_more_than_it_may(
    raw: bytes, places: list[tuple[int, int]]
) -> None:
    """Damage is refused, or is harmless by the other reckoning; nothing else is raised."""
    text = base64.b64encode(damaged(raw, places)).decode()
    if verdict(text) is not None:
        return
    message = VersionedTransaction.from_bytes(base64.b64decode(text)).message
    assert isinstance(message, (Message, MessageV0))
    assert message.header.num_required_signatures == 1
    assert str(message.account_keys[0]) == WALLET
    ledger = Ledger(message)
    assert ledger.tokens <= TOKENS
    assert ledger.lamports <= MOST_SOL_OUT + _fee_share(message)
    assert +ledger.doubts == Counter()


def _fee_share(message: Message | MessageV0) -> int:
    # A sale that brings more at least may pay a larger fee.
    least = 0
    for compiled in message.instructions:
        if str(message.account_keys[compiled.program_id_index]) == trades.PUMP_AMM:
            least += struct.unpack("<Q", bytes(compiled.data)[16:24])[0]
    return least * 300 // 10_000


@given(st.binary(max_size=400))
def test_noise_is_refused_and_nothing_else(noise: bytes) -> None:
    """Bytes that are no transaction are an error of decoding."""
    assert verdict(base64.b64encode(noise).decode()) == "decode"


@given(st.text(max_size=60))
def test_text_that_is_no_base64_is_refused_and_nothing_else(text: str) -> None:
    """A text that is no transaction is an error of decoding."""
    assert verdict(text) == "decode"


@pytest.mark.parametrize("base", BASES[:4], ids=["v0", "legacy", "large fee", "small"])
def test_the_undamaged_ones_are_accepted(base: bytes) -> None:
    """The damage starts from what would have been signed."""
    assert verdict(base64.b64encode(base).decode()) is None
