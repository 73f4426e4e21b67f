from __future__ import annotations

import struct
from collections.abc import Sequence

import pytest
from solders.instruction import AccountMeta, CompiledInstruction, Instruction
from solders.message import MessageV0
from solders.pubkey import Pubkey

from lasersell.errors import GuardRefusedError, TxError
from lasersell.exits.guard.check import CheckedTransaction, check
from lasersell.exits.guard.intent import Intent
from lasersell.exits.guard.policy import Policy
from lasersell.exits.guard.source import AccountSource, TokenAccount
from lasersell.exits.programs import SwapLayout, Venue
from lasersell.exits.transaction import decode_transaction
from tests.unit.exits import trades
from tests.unit.exits.trades import (
    ASSOCIATED,
    BLOCKHASH,
    BUYS,
    COMPUTE_BUDGET,
    MINT,
    OTHER_MINT,
    RENT,
    SALES,
    SYSTEM,
    THIEF,
    TOKEN,
    TOKEN_2022,
    TOKENS,
    USD1,
    WALLET,
    WSOL,
    ata,
    build,
    build_legacy,
    buy_instructions,
    close,
    create_ata,
    create_with_seed,
    encode,
    exit_instructions,
    initialise,
    instruction,
    made_up,
    purchase,
    sale,
    swap,
    table,
    token,
    transfer,
    transfer_checked,
    unit_limit,
    unit_price,
)

SOLD = Intent(wallet=WALLET, mint=MINT, is_sale=True, limit=TOKENS)
UNITS = 100_000_000
BOUGHT = Intent(
    wallet=WALLET, mint=MINT, is_sale=False, limit=UNITS, quote_mints=(WSOL,)
)


class Accounts:
    """Accounts of a chain that is not there."""

    def __init__(
        self,
        tables: dict[str, list[str]] | None = None,
        tokens: dict[str, TokenAccount] | None = None,
    ) -> None:
        self.tables = tables or {}
        self.tokens = tokens or {}
        self.asked: list[str] = []

    def lookup_table(self, address: str, least: int) -> Sequence[str]:
        assert least > 0
        if address not in self.tables:
            raise TxError("no table", stage="guard")
        return self.tables[address]

    def token_account(self, address: str) -> TokenAccount | None:
        self.asked.append(address)
        return self.tokens.get(address)


def checked(
    tx: str | list[Instruction],
    intent: Intent = SOLD,
    policy: Policy | None = None,
    source: AccountSource | None = None,
) -> CheckedTransaction:
    """Check a transaction, or the instructions of one."""
    text = tx if isinstance(tx, str) else build(tx)
    return check(decode_transaction(text), intent, policy, source)


def reason_of(
    tx: str | list[Instruction],
    intent: Intent = SOLD,
    policy: Policy | None = None,
    source: AccountSource | None = None,
) -> str:
    """Return why a transaction is refused."""
    with pytest.raises(GuardRefusedError) as caught:
        checked(tx, intent, policy, source)
    return caught.value.reason


# Honest ones


@pytest.mark.parametrize("venue", SALES)
def test_an_honest_sale_on_every_venue_is_accepted(venue: str) -> None:
    """Each documented way to sell passes the default policy."""
    result = checked(exit_instructions(venue))
    assert result.tip_lamports == 10_000_000


@pytest.mark.parametrize("venue", ["meteora_dbc", "raydium_launchpad", "raydium_cpmm"])
def test_an_honest_sale_for_usd1_is_accepted(venue: str) -> None:
    """A position may be sold for USD1, with a fee in USD1."""
    fee = transfer_checked(ata(mint=USD1), USD1, made_up("fee in usd1"), 2_000_000)
    checked([*exit_instructions(venue, quote=USD1)[:4], fee])


@pytest.mark.parametrize("venue", BUYS)
def test_an_honest_buy_on_every_venue_is_accepted(venue: str) -> None:
    """Each documented way to buy passes, if it spends what was asked for."""
    checked(buy_instructions(venue, units=UNITS), BOUGHT)


def test_a_legacy_transaction_is_judged_like_a_versioned_one() -> None:
    """The older format passes and is refused for the same reasons."""
    checked(build_legacy(exit_instructions()))
    hostile = build_legacy([*exit_instructions(), transfer(10**9)])
    assert reason_of(hostile) == "sol_outflow"


def test_a_sale_of_a_token_2022_is_accepted() -> None:
    """The account of the position may belong to the newer token program."""
    account = ata(program=TOKEN_2022)
    changes = {"user_base": account, "base_program": TOKEN_2022}
    checked([create_ata(), sale(changes=changes), close()])


def test_wrapped_sol_may_come_into_an_account_made_with_a_seed() -> None:
    """A throw-away account, created, initialised as ours and closed to us, is fine."""
    account = made_up("throw-away")
    checked(
        [
            create_with_seed(account),
            token(b"\x16", account),
            initialise(account),
            sale(changes={"user_quote": account}),
            close(account),
        ]
    )


@pytest.mark.parametrize(
    "data", [b"\x01", b"\x10" + bytes(Pubkey.from_string(WALLET))], ids=["1", "2"]
)
def test_every_form_of_initialisation_is_understood(data: bytes) -> None:
    """The two older forms of initialising an account name the owner elsewhere."""
    account = made_up("throw-away")
    made = token(data, account, WSOL, *([WALLET] if data == b"\x01" else []))
    checked([create_with_seed(account), made, sale(changes={"user_quote": account})])


def test_a_buy_may_wrap_into_an_account_made_with_a_seed() -> None:
    """What a buy spends may be put into a throw-away account of ours."""
    account = made_up("throw-away")
    changes = {"user_quote": account}
    trade = swap(
        BUYS["pump_swap"], is_sale=False, spent=UNITS, received=1, changes=changes
    )
    created = create_with_seed(account, lamports=RENT + UNITS)
    checked([created, initialise(account), trade, close(account)], BOUGHT)


def test_two_trades_may_share_the_amount() -> None:
    """A sale may be split, as long as its parts are not more than the whole."""
    half = TOKENS // 2
    checked([sale(tokens=half), sale("meteora_dbc", tokens=TOKENS - half)])
    parts = [sale(tokens=half), sale("meteora_dbc", tokens=TOKENS - half + 1)]
    assert reason_of(parts) == "amount_too_large"


def test_a_transfer_to_oneself_is_no_outflow() -> None:
    """SOL that the wallet sends itself has not left."""
    assert checked([sale(), transfer(10**12, to=WALLET)]).tip_lamports == 0


def test_a_transfer_between_own_accounts_is_no_outflow() -> None:
    """Wrapped SOL may move to another account of ours."""
    account = made_up("throw-away")
    move = transfer_checked(ata(mint=WSOL), WSOL, account, 10**12)
    checked([create_with_seed(account), initialise(account), sale(), move])


def test_other_limits_of_compute_are_taken() -> None:
    """The heap and the size of loaded accounts may be set."""
    heap = instruction(COMPUTE_BUDGET, [], struct.pack("<BI", 1, 65536))
    size = instruction(COMPUTE_BUDGET, [], struct.pack("<BI", 4, 65536))
    checked([heap, size, sale()])


# Hostile ones: forty-odd ways to be robbed, and why each is refused

SEEDED = made_up("seeded")


def _with_owner(tag: int, owner: str) -> bytes:
    return bytes([tag]) + bytes(Pubkey.from_string(owner))


HOSTILE: dict[str, tuple[str, list[Instruction]]] = {
    "SOL to a thief": ("sol_outflow", [sale(), transfer(10**9)]),
    "SOL to a thief, and no sale": ("no_venue", [transfer(1_000)]),
    "SOL to a thief in small pieces": (
        "sol_outflow",
        [sale(), *(transfer(4_000_000 + n) for n in range(5))],
    ),
    "SOL into an account that a thief opens later": (
        "created_account",
        [create_with_seed(SEEDED), sale()],
    ),
    "SOL into an account opened for a thief": (
        "foreign_account",
        [create_with_seed(SEEDED), initialise(SEEDED, owner=THIEF), sale()],
    ),
    "all SOL wrapped, so that nothing else works": (
        "sol_outflow",
        [transfer(10**10, to=ata(mint=WSOL)), sale()],
    ),
    "too much SOL into a throw-away account": (
        "sol_outflow",
        [create_with_seed(SEEDED, lamports=RENT + 1), initialise(SEEDED), sale()],
    ),
    "an account for a thief's program": (
        "created_account",
        [create_with_seed(SEEDED, owner=THIEF), sale()],
    ),
    "the same account created twice": (
        "created_account",
        [create_with_seed(SEEDED), create_with_seed(SEEDED), sale()],
    ),
    "an account initialised that was not created": (
        "created_account",
        [initialise(SEEDED), sale()],
    ),
    "SOL burnt as a priority fee": (
        "priority_fee",
        [unit_limit(1_400_000), unit_price(10**9), sale()],
    ),
    "SOL burnt as a priority fee, without a limit": (
        "priority_fee",
        [unit_price(10**9), sale()],
    ),
    "SOL withdrawn from a nonce account": (
        "sol_outflow",
        [instruction(SYSTEM, [made_up("nonce"), THIEF], struct.pack("<IQ", 5, 1))],
    ),
    "SOL from an account derived from ours": (
        "sol_outflow",
        [instruction(SYSTEM, [SEEDED, WALLET, THIEF], struct.pack("<IQ", 11, 1))],
    ),
    "SOL of somebody else": (
        "foreign_account",
        [
            Instruction(
                Pubkey.from_string(SYSTEM),
                struct.pack("<IQ", 2, 5),
                [
                    AccountMeta(Pubkey.from_string(THIEF), False, True),
                    AccountMeta(Pubkey.from_string(WALLET), True, True),
                ],
            )
        ],
    ),
    "the wallet assigned to a program": (
        "authority_change",
        [
            sale(),
            instruction(
                SYSTEM,
                [WALLET],
                struct.pack("<I", 1) + bytes(Pubkey.from_string(THIEF)),
            ),
        ],
    ),
    "a durable nonce": (
        "durable_nonce",
        [
            instruction(SYSTEM, [made_up("nonce"), WALLET], struct.pack("<I", 4)),
            sale(),
        ],
    ),
    "space allocated in the wallet": (
        "unknown_instruction",
        [sale(), instruction(SYSTEM, [WALLET], struct.pack("<IQ", 8, 100))],
    ),
    "a System instruction without a number": (
        "unknown_instruction",
        [sale(), instruction(SYSTEM, [WALLET], b"\x02")],
    ),
    "a transfer with something after it": (
        "unknown_instruction",
        [sale(), instruction(SYSTEM, [WALLET, THIEF], struct.pack("<IQB", 2, 1, 0))],
    ),
    "a transfer without a receiver": (
        "unknown_instruction",
        [sale(), instruction(SYSTEM, [WALLET], struct.pack("<IQ", 2, 1))],
    ),
    "a creation whose seed is longer than the data": (
        "unknown_instruction",
        [
            sale(),
            instruction(SYSTEM, [WALLET, SEEDED], struct.pack("<I", 3) + b"\xff" * 50),
        ],
    ),
    "an account paid for by somebody else, with a seed": (
        "foreign_account",
        [
            sale(),
            instruction(
                SYSTEM, [THIEF, SEEDED], bytes(create_with_seed(SEEDED).data), WALLET
            ),
        ],
    ),
    "a creation with a few bytes too few": (
        "unknown_instruction",
        [
            sale(),
            instruction(
                SYSTEM, [WALLET, SEEDED], bytes(create_with_seed(SEEDED).data)[:-1]
            ),
        ],
    ),
    "a creation that is hardly begun": (
        "unknown_instruction",
        [sale(), instruction(SYSTEM, [WALLET, SEEDED], struct.pack("<I", 3))],
    ),
    "the tokens of somebody else moved by the older transfer": (
        "foreign_account",
        [sale(), token(struct.pack("<BQ", 3, 1), ata(THIEF), ata(), WALLET)],
    ),
    "the owner of the position's account changed": (
        "authority_change",
        [
            sale(),
            token(b"\x06\x02\x01" + bytes(Pubkey.from_string(THIEF)), ata(), WALLET),
        ],
    ),
    "the close authority of our wrapped SOL changed": (
        "authority_change",
        [
            sale(),
            token(
                b"\x06\x03\x01" + bytes(Pubkey.from_string(THIEF)),
                ata(mint=WSOL),
                WALLET,
            ),
        ],
    ),
    "a delegate": (
        "delegate",
        [sale(), token(struct.pack("<BQ", 4, 2**63), ata(), THIEF, WALLET)],
    ),
    "a checked delegate of Token-2022": (
        "delegate",
        [
            sale(),
            token(
                struct.pack("<BQB", 13, 2**63, 6),
                ata(program=TOKEN_2022),
                MINT,
                THIEF,
                WALLET,
                program=TOKEN_2022,
            ),
        ],
    ),
    "wrapped SOL closed to a thief": ("foreign_close", [sale(), close(to=THIEF)]),
    "an account closed that is not ours": (
        "foreign_account",
        [sale(), close(made_up("unknown account"))],
    ),
    "an account closed for somebody else": (
        "foreign_account",
        [sale(), close(owner=THIEF)],
    ),
    "the position given away within its amount": (
        "token_transfer",
        [sale(tokens=1), transfer_checked(ata(), MINT, THIEF, TOKENS - 1)],
    ),
    "the position given away by the older transfer": (
        "token_transfer",
        [sale(), token(struct.pack("<BQ", 3, 1), ata(), THIEF, WALLET)],
    ),
    "the position given away with a transfer fee": (
        "token_transfer",
        [
            sale(),
            token(
                b"\x1a\x01" + bytes(17), ata(), MINT, THIEF, WALLET, program=TOKEN_2022
            ),
        ],
    ),
    "wrapped SOL given away": (
        "sol_outflow",
        [sale(), transfer_checked(ata(mint=WSOL), WSOL, THIEF, 10**9)],
    ),
    "wrapped SOL called USD1": (
        "foreign_account",
        [sale(), transfer_checked(ata(mint=WSOL), USD1, THIEF, 1)],
    ),
    "USD1 given away beside a sale for SOL": (
        "quote_outflow",
        [sale(), transfer_checked(ata(mint=USD1), USD1, THIEF, 1)],
    ),
    "another token given away": (
        "foreign_account",
        [
            sale(),
            transfer_checked(ata(mint=OTHER_MINT), OTHER_MINT, THIEF, 1),
        ],
    ),
    "tokens burnt": (
        "burn",
        [sale(tokens=1), token(struct.pack("<BQ", 8, 5), ata(), MINT, WALLET)],
    ),
    "tokens burnt, checked": (
        "burn",
        [sale(tokens=1), token(struct.pack("<BQB", 15, 5, 6), ata(), MINT, WALLET)],
    ),
    "several token instructions in one": (
        "unknown_instruction",
        [sale(), token(b"\xff" + bytes(30), ata(), THIEF, WALLET)],
    ),
    "a token instruction without data": (
        "unknown_instruction",
        [sale(), token(b"", ata())],
    ),
    "a token instruction without its accounts": (
        "unknown_instruction",
        [sale(), token(b"\x09", ata())],
    ),
    "somebody else's account synchronised": (
        "foreign_account",
        [sale(), token(b"\x11", made_up("unknown account"))],
    ),
    "somebody else's account prepared": (
        "created_account",
        [sale(), token(b"\x16", made_up("unknown account"))],
    ),
    "an account for another token": (
        "other_mint",
        [create_ata(OTHER_MINT), sale()],
    ),
    "an account for a thief": (
        "foreign_account",
        [create_ata(WSOL, owner=THIEF), sale()],
    ),
    "an account that only looks like ours": (
        "foreign_account",
        [create_ata(WSOL, account=made_up("lookalike")), sale()],
    ),
    "an account of a token program that is none": (
        "unknown_program",
        [create_ata(WSOL, program=THIEF, account=made_up("fake")), sale()],
    ),
    "nested accounts recovered": (
        "unknown_instruction",
        [create_ata(kind=b"\x02"), sale()],
    ),
    "an account paid for by somebody else": (
        "foreign_account",
        [
            sale(),
            instruction(
                ASSOCIATED, [THIEF, ata(), WALLET, MINT, SYSTEM, TOKEN], b"\x01"
            ),
        ],
    ),
    "an unknown program": (
        "unknown_program",
        [sale(), instruction(made_up("program"), [WALLET, ata()], b"drain")],
    ),
    "an unknown program instead of a venue": (
        "unknown_program",
        [instruction(made_up("program"), [WALLET, ata()], sale().data)],
    ),
    "an instruction of a venue that does not trade": (
        "unknown_instruction",
        [
            swap(
                SALES["pump_swap"],
                is_sale=True,
                spent=1,
                received=1,
                data=trades.anchor("withdraw") + bytes(16),
            )
        ],
    ),
    "a trade with more bytes than it should have": (
        "unknown_instruction",
        [
            swap(
                SALES["pump_swap"],
                is_sale=True,
                spent=1,
                received=1,
                data=trades.anchor("sell") + bytes(24),
            )
        ],
    ),
    "a trade in a mode that does not exist": (
        "unknown_instruction",
        [
            swap(
                SALES["meteora_dbc_2"],
                is_sale=True,
                spent=1,
                received=1,
                data=trades.anchor("swap2") + bytes(16) + b"\x03",
            )
        ],
    ),
    "a trade without all its accounts": (
        "unknown_instruction",
        [instruction(trades.PUMP_AMM, [WALLET], bytes(sale().data))],
    ),
    "a route over several markets": (
        "unknown_instruction",
        [
            swap(
                SALES["pump_swap"],
                is_sale=True,
                spent=1,
                received=1,
                data=trades.anchor("multi_hop_swap") + bytes(16),
            )
        ],
    ),
    "more than the position": ("amount_too_large", [sale(tokens=TOKENS + 1)]),
    "more than the position, by its worst case": (
        "amount_too_large",
        [sale("meteora_dbc_2_out", tokens=TOKENS + 1)],
    ),
    "the position twice": ("amount_too_large", [sale(), sale()]),
    "another token sold": (
        "other_mint",
        [sale(changes={"base_mint": OTHER_MINT})],
    ),
    "another token sold from its own account": (
        "foreign_account",
        [
            sale(
                changes={"base_mint": OTHER_MINT, "user_base": ata(mint=OTHER_MINT)},
            )
        ],
    ),
    "sold for a worthless token": (
        "other_mint",
        [sale(changes={"quote_mint": OTHER_MINT})],
    ),
    "sold for a worthless token into its account": (
        "foreign_proceeds",
        [
            sale(
                changes={
                    "quote_mint": OTHER_MINT,
                    "user_quote": ata(mint=OTHER_MINT),
                },
            )
        ],
    ),
    "the proceeds to a thief": (
        "foreign_proceeds",
        [sale(changes={"user_quote": ata(THIEF, WSOL)})],
    ),
    "the proceeds to a thief, on a market of inputs and outputs": (
        "foreign_proceeds",
        [sale("raydium_cpmm", changes={"user_out": ata(THIEF, WSOL)})],
    ),
    "somebody else's position": (
        "foreign_account",
        [sale(changes={"user_base": ata(THIEF)})],
    ),
    "somebody else's trade": ("foreign_trader", [sale(changes={"user": THIEF})]),
    "a buy in place of a sale": ("wrong_direction", [purchase()]),
    "a buy in place of a sale, by exchanged accounts": (
        "wrong_direction",
        [
            sale(
                "meteora_dbc",
                changes={"user_in": ata(mint=WSOL), "user_out": ata()},
            )
        ],
    ),
    "SOL traded for USD1": (
        "other_mint",
        [
            sale(
                "raydium_cpmm",
                changes={
                    "user_in": ata(mint=WSOL),
                    "user_out": ata(mint=USD1),
                    "in_mint": WSOL,
                    "out_mint": USD1,
                },
            )
        ],
    ),
    "sold for two assets at once": (
        "other_mint",
        [sale(tokens=1), sale("raydium_cpmm", tokens=1, quote=USD1)],
    ),
    "an old way to ask for compute units": (
        "unknown_instruction",
        [instruction(COMPUTE_BUDGET, [], struct.pack("<BII", 0, 1, 10**9)), sale()],
    ),
    "a compute budget without data": (
        "unknown_instruction",
        [instruction(COMPUTE_BUDGET, [], b""), sale()],
    ),
}


def test_the_hostile_transactions_are_many() -> None:
    """There are more than forty, and all reasons but those of their own tests occur."""
    assert len(HOSTILE) > 40


@pytest.mark.parametrize(("reason", "hostile"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_transaction_is_refused(
    reason: str, hostile: list[Instruction]
) -> None:
    """Each is refused for what is wrong with it, though the rest may be honest."""
    assert reason_of(hostile) == reason


def test_what_is_refused_names_no_byte_of_the_transaction() -> None:
    """The error says why, and does not carry the transaction."""
    text = build([sale(), transfer(10**9)])
    with pytest.raises(GuardRefusedError) as caught:
        checked(text)
    assert caught.value.stage == "guard"
    assert text not in str(caught.value)
    assert not caught.value.is_retryable


# Signers


def test_a_foreign_fee_payer_is_refused() -> None:
    """We do not sign for somebody else's transaction, not even as second signer."""
    assert reason_of(build([sale()], payer=THIEF)) == "foreign_fee_payer"


def test_an_extra_signer_is_refused() -> None:
    """A transaction that a second party must sign is no exit."""
    foreign = instruction(SYSTEM, [THIEF, WALLET], struct.pack("<IQ", 2, 1), THIEF)
    assert reason_of([sale(), foreign]) == "extra_signer"


def test_an_extra_signer_is_refused_even_if_only_the_signer_is_checked() -> None:
    """``signer_only`` is about the signer, so it still refuses another one."""
    foreign = instruction(SYSTEM, [THIEF, WALLET], struct.pack("<IQ", 2, 1), THIEF)
    assert reason_of([foreign], policy=Policy.signer_only()) == "extra_signer"
    other = build([sale()], payer=THIEF)
    assert reason_of(other, policy=Policy.signer_only()) == "foreign_fee_payer"


def test_signer_only_looks_no_further() -> None:
    """Whoever wants less gets less: anything of ours passes, and no tip is known."""
    result = checked([transfer(10**12)], policy=Policy.signer_only())
    assert result.tip_lamports is None


# Amounts


def test_a_sale_of_an_unknown_amount_is_refused() -> None:
    """Where neither signal nor position says how much, nothing is signed."""
    unknown = Intent(wallet=WALLET, mint=MINT, is_sale=True, limit=None)
    assert reason_of([sale()], unknown) == "amount_unknown"


def test_what_is_no_mint_is_refused() -> None:
    """A signal for what is no public key is a refusal as any other."""
    intent = Intent(wallet=WALLET, mint="no mint", is_sale=True, limit=TOKENS)
    assert reason_of([sale()], intent) == "other_mint"


@pytest.mark.parametrize("mint", [WSOL, USD1])
def test_a_position_in_the_quote_itself_is_refused(mint: str) -> None:
    """SOL and USD1 are what positions are paid in; nobody may sell them for us."""
    intent = Intent(wallet=WALLET, mint=mint, is_sale=True, limit=10**12)
    trade = sale(changes={"base_mint": mint, "user_base": ata(mint=mint)})
    assert reason_of([trade], intent) == "other_mint"


def test_a_sale_for_the_wrong_asset_is_refused() -> None:
    """Who asked for USD1 is not paid in SOL."""
    intent = Intent(
        wallet=WALLET, mint=MINT, is_sale=True, limit=TOKENS, quote_mints=(USD1,)
    )
    assert reason_of([sale()], intent) == "other_mint"


@pytest.mark.parametrize("lamports", [15_000_000, 15_000_001])
def test_tip_and_fee_are_bounded_to_the_lamport(lamports: int) -> None:
    """Five million for the tip and ten for the fee pass, and not one more."""
    honest = [sale(least=0), transfer(lamports)]
    if lamports == 15_000_000:
        checked(honest)
    else:
        assert reason_of(honest) == "sol_outflow"


@pytest.mark.parametrize("extra", [0, 1])
def test_the_fee_of_a_large_sale_is_bounded_by_its_share(extra: int) -> None:
    """Three percent of the least a sale brings may leave, beside the tip."""
    honest = [sale(least=10**10), transfer(5_000_000 + 300_000_000 + extra)]
    if extra == 0:
        checked(honest)
    else:
        assert reason_of(honest) == "sol_outflow"


@pytest.mark.parametrize("extra", [0, 1])
def test_the_fee_in_usd1_is_bounded_by_its_share(extra: int) -> None:
    """Of a sale for USD1 three percent may leave as USD1."""
    fee = transfer_checked(ata(mint=USD1), USD1, THIEF, 3_000_000 + extra)
    honest = [sale("raydium_cpmm", quote=USD1, least=100_000_000), fee]
    if extra == 0:
        checked(honest)
    else:
        assert reason_of(honest) == "quote_outflow"


@pytest.mark.parametrize("price", [50_000_000, 50_000_001])
def test_the_priority_fee_is_bounded_to_the_lamport(price: int) -> None:
    """Ten million lamports of priority fee pass; a fraction more is rounded up."""
    honest = [unit_limit(200_000), unit_price(price), sale()]
    if price == 50_000_000:
        checked(honest)
    else:
        assert reason_of(honest) == "priority_fee"


def test_limits_can_be_widened() -> None:
    """Who tips more says so, and keeps all other checks."""
    policy = Policy.default().with_limits(max_tip_lamports=10**9)
    checked([sale(), transfer(10**9)], policy=policy)
    assert reason_of([sale(), close(to=THIEF)], policy=policy) == "foreign_close"


# Buys


def test_a_buy_spends_the_signal_and_not_a_unit_more() -> None:
    """What a mirror buy may spend is bounded, in each of its forms."""
    checked([purchase(units=UNITS)], BOUGHT)
    assert reason_of([purchase(units=UNITS + 1)], BOUGHT) == "amount_too_large"
    native = purchase("pump_fun", units=UNITS + 1)
    assert reason_of([native], BOUGHT) == "amount_too_large"


def test_the_worst_case_of_a_buy_may_be_allowed_to_lie_higher() -> None:
    """A buy of an exact amount names a maximum; the policy may grant its slippage."""
    policy = Policy.default().with_limits(max_overspend_bps=2_500)
    checked([purchase(units=UNITS * 5 // 4)], BOUGHT, policy)
    over = [purchase(units=UNITS * 5 // 4 + 1)]
    assert reason_of(over, BOUGHT, policy) == "amount_too_large"
    assert reason_of([sale(tokens=TOKENS + 1)], SOLD, policy) == "amount_too_large"


HOSTILE_BUYS: dict[str, tuple[str, list[Instruction]]] = {
    "SOL to a thief": ("sol_outflow", [purchase(), transfer(UNITS)]),
    "more wrapped than spent": (
        "sol_outflow",
        [transfer(UNITS + 1, to=ata(mint=WSOL)), purchase()],
    ),
    "a sale in place of a buy": ("wrong_direction", [sale()]),
    "another token bought": (
        "other_mint",
        [
            swap(
                BUYS["pump_swap"],
                is_sale=False,
                spent=UNITS,
                received=1,
                changes={"base_mint": OTHER_MINT},
            )
        ],
    ),
    "bought for somebody else": (
        "foreign_proceeds",
        [
            swap(
                BUYS["pump_swap"],
                is_sale=False,
                spent=UNITS,
                received=1,
                changes={"user_base": ata(THIEF)},
            )
        ],
    ),
    "paid in another asset": ("other_mint", [purchase("raydium_cpmm", quote=USD1)]),
    "the token given away at once": (
        "token_transfer",
        [purchase(), transfer_checked(ata(), MINT, THIEF, 1)],
    ),
    "nothing bought": ("no_venue", [transfer(1_000)]),
}


@pytest.mark.parametrize(("reason", "hostile"), HOSTILE_BUYS.values(), ids=HOSTILE_BUYS)
def test_a_hostile_buy_is_refused(reason: str, hostile: list[Instruction]) -> None:
    """A mirror buy that does more than buy is refused for what is wrong with it."""
    assert reason_of(hostile, BOUGHT) == reason


# Programs


def test_a_further_venue_can_be_described() -> None:
    """A venue that is given to the policy is judged like the known ones."""
    program = made_up("another venue")
    layout = SwapLayout(
        instruction="trade",
        user=0,
        spent_from=1,
        received_in=2,
        mints=(3, 4),
        amounts="spent_first",
    )
    policy = Policy.default().with_venues(Venue("another", program, [layout]))

    def trade(tokens: int, receiver: str) -> Instruction:
        data = trades.anchor("trade") + struct.pack("<QQ", tokens, 1)
        accounts = [WALLET, ata(), receiver, MINT, WSOL]
        return instruction(program, accounts, data)

    checked([trade(TOKENS, ata(mint=WSOL))], policy=policy)
    over = [trade(TOKENS + 1, ata(mint=WSOL))]
    assert reason_of(over, policy=policy) == "amount_too_large"
    stolen = [trade(TOKENS, ata(THIEF, WSOL))]
    assert reason_of(stolen, policy=policy) == "foreign_proceeds"


def test_a_program_can_be_vouched_for() -> None:
    """An instruction of a trusted program passes; the others are still checked."""
    memo = made_up("memo")
    policy = Policy.default().with_programs(memo)
    note = instruction(memo, [WALLET], b"hello")
    checked([sale(), note], policy=policy)
    assert reason_of([sale(), note, transfer(10**9)], policy=policy) == "sol_outflow"
    assert reason_of([note], policy=policy) == "no_venue"


# Accounts that must be looked up


def test_accounts_in_a_table_are_refused_by_policy() -> None:
    """Who does not want tables gets none."""
    tx = build(exit_instructions(), tables=[table(made_up("tip account"))])
    policy = Policy.default().with_limits(lookup_tables="refuse")
    assert reason_of(tx, policy=policy, source=Accounts()) == "lookup_table"


def test_accounts_in_a_table_are_refused_if_there_is_no_one_to_ask() -> None:
    """Without a source nothing is signed unread."""
    tx = build(exit_instructions(), tables=[table(made_up("tip account"))])
    assert reason_of(tx) == "lookup_table"


def test_accounts_in_a_table_are_looked_up_and_judged() -> None:
    """What a table stands for is judged as if it were written out."""
    tip, pool = made_up("tip account"), made_up(f"{trades.PUMP_AMM} pool")
    tables = [table(tip, name="one"), table(pool, ata(mint=WSOL), name="two")]
    source = Accounts({made_up("one"): [tip], made_up("two"): [pool, ata(mint=WSOL)]})
    checked(build(exit_instructions(), tables=tables), source=source)


def test_the_proceeds_cannot_be_hidden_in_a_table() -> None:
    """An account that is a thief's on the chain is refused, whatever was compiled."""
    tables = [table(ata(mint=WSOL), name="one")]
    tx = build([sale()], tables=tables)
    swapped = Accounts({made_up("one"): [ata(THIEF, WSOL)]})
    assert reason_of(tx, source=swapped) == "foreign_proceeds"


def test_a_receiver_cannot_be_hidden_in_a_table() -> None:
    """A transfer that looks like one to ourselves is judged by where it goes."""
    tx = build(
        [sale(), transfer(10**9, to=ata(mint=WSOL))],
        tables=[table(ata(mint=WSOL), name="one")],
    )
    hidden = Accounts({made_up("one"): [THIEF]})
    assert reason_of(tx, source=hidden) == "foreign_proceeds"


def test_readable_and_writable_accounts_come_in_the_order_of_the_network() -> None:
    """Writable accounts of all tables come first, then the others."""
    mint = table(MINT, name="one")
    account = table(ata(mint=WSOL), name="two")
    trade = sale()
    metas = [
        AccountMeta(
            meta.pubkey, meta.is_signer, meta.is_writable and str(meta.pubkey) != MINT
        )
        for meta in trade.accounts
    ]
    trade = Instruction(trade.program_id, trade.data, metas)
    source = Accounts({made_up("one"): [MINT], made_up("two"): [ata(mint=WSOL)]})
    checked(build([trade], tables=[mint, account]), source=source)


def test_a_table_that_is_too_short_is_refused() -> None:
    """An index beyond the end of a table names nothing."""
    tx = build(exit_instructions(), tables=[table(made_up("tip account"))])
    assert reason_of(tx, source=Accounts({made_up("table"): []})) == "lookup_table"


def test_a_table_that_cannot_be_read_is_an_error_of_its_own() -> None:
    """That the node fails is no verdict on the transaction."""
    tx = build(exit_instructions(), tables=[table(made_up("tip account"))])
    with pytest.raises(TxError, match="no table") as caught:
        checked(tx, source=Accounts())
    assert not isinstance(caught.value, GuardRefusedError)


@pytest.mark.parametrize("places_beyond", [0, 5])
def test_a_program_cannot_be_hidden_in_a_table(places_beyond: int) -> None:
    """What is called must be written in the transaction, and exist."""
    tx = build(exit_instructions(), tables=[table(made_up("tip account"))])
    message = decode_transaction(tx).message
    assert isinstance(message, MessageV0)
    first, *others = message.instructions
    beyond = len(message.account_keys) + places_beyond
    forged = MessageV0(
        message.header,
        message.account_keys,
        BLOCKHASH,
        [CompiledInstruction(beyond, first.data, first.accounts), *others],
        message.address_table_lookups,
    )
    with pytest.raises(TxError) as caught:
        decode_transaction(encode(forged))
    assert caught.value.stage == "decode"


def test_an_account_may_not_be_named_twice() -> None:
    """A table that repeats an account would make two of one."""
    tx = build(exit_instructions(), tables=[table(made_up("tip account"))])
    twice = Accounts({made_up("table"): [WALLET]})
    assert reason_of(tx, source=twice) == "duplicate_account"


def test_an_account_that_cannot_be_derived_is_asked_for() -> None:
    """A token account of ours elsewhere is fine, once the chain says that it is ours."""
    aside = made_up("aside")
    trade = sale(changes={"user_base": aside})
    assert reason_of([trade]) == "foreign_account"
    ours = Accounts(tokens={aside: TokenAccount(MINT, WALLET)})
    checked([trade], source=ours)
    foreign = Accounts(tokens={aside: TokenAccount(MINT, THIEF)})
    assert reason_of([trade], source=foreign) == "foreign_account"
    other = Accounts(tokens={aside: TokenAccount(OTHER_MINT, WALLET)})
    assert reason_of([trade], source=other) == "other_mint"


def test_accounts_that_can_be_derived_are_not_asked_for() -> None:
    """The usual exit costs no round trip to a node."""
    source = Accounts()
    checked([create_ata(), sale(), close()], source=source)
    assert source.asked == []
