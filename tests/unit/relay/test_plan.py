from __future__ import annotations

import random
from typing import Any

import pytest

from lasersell.errors import ConfigurationError
from lasersell.protocol.server import Limits
from lasersell.relay.plan import Account, Plan, plan


def _account(name: str = "a", **limits: Any) -> Account:
    given = {
        "hi_capacity": 256,
        "pnl_flush_ms": 100,
        "max_positions_per_session": 1000,
        "max_wallets_per_session": 10,
        "max_sessions_per_api_key": 5,
    }
    return Account(name, Limits(**{**given, **limits}))


def _moved(before: Plan, after: Plan) -> int:
    now = after.assignments
    return sum(now.get(wallet) != shard for wallet, shard in before.assignments.items())


def test_20000_positions_in_200_wallets_fit_into_the_sessions_of_the_limits() -> None:
    """No session has more wallets or positions than it may, and no wallet is left out."""
    chance = random.Random(1)
    sizes = {f"w{n}": chance.randrange(50, 150) for n in range(200)}
    assert sum(sizes.values()) >= 19_000
    accounts = [_account(f"k{n}") for n in range(5)]
    planned = plan(sizes, accounts)
    assert sorted(planned.assignments) == sorted(sizes)
    for shard in planned.shards:
        assert len(shard.wallets) <= 10
        assert shard.positions == sum(sizes[w] for w in shard.wallets) <= 1000
    # First fit wastes little: 20 sessions are the least that 20,000 positions need.
    assert len(planned.shards) <= 24


def test_a_wallet_that_is_added_moves_no_other() -> None:
    """One after the other up to 200, nobody ever changes the session."""
    accounts = [_account(f"k{n}") for n in range(5)]
    before = plan({}, accounts)
    sizes: dict[str, int] = {}
    for number in range(200):
        # In an order that is not that of the names, nor that of the plan before.
        sizes = {f"w{number}": 90, **sizes}
        after = plan(sizes, accounts, previous=before.assignments)
        assert _moved(before, after) == 0
        before = after
    assert len(before.assignments) == 200


def test_a_wallet_at_the_end_moves_none_without_a_plan_before() -> None:
    """Hosts that share only the list of wallets come to the same plan."""
    accounts = [_account()]
    names = [f"w{n}" for n in range(40)]
    assert _moved(plan(names[:-1], accounts), plan(names, accounts)) == 0
    assert plan(names, accounts) == plan(names, accounts)


def test_a_wallet_that_is_taken_away_moves_no_other() -> None:
    """Its place is free for the next one."""
    accounts = [_account()]
    names = [f"w{n}" for n in range(50)]
    before = plan(names, accounts)
    after = plan(names[1:], accounts, previous=before.assignments)
    assert _moved(before, after) == 1
    again = plan([*names[1:], "new"], accounts, previous=after.assignments).assignments
    assert again["new"] == before.assignments["w0"]


def test_a_wallet_that_grew_too_large_moves_alone() -> None:
    """Only what must go goes."""
    accounts = [_account(max_positions_per_session=100)]
    sizes = {"a": 40, "b": 40, "c": 10}
    before = plan(sizes, accounts)
    assert len(before.shards) == 1
    after = plan({**sizes, "a": 80}, accounts, previous=before.assignments)
    assert _moved(before, after) == 1
    assert after.assignments["a"] != before.assignments["a"]


def test_a_key_that_is_gone_gives_its_wallets_to_the_others() -> None:
    """The wallets of the keys that stay do not move."""
    both = [_account("a", max_sessions_per_api_key=1), _account("b")]
    names = [f"w{n}" for n in range(15)]
    before = plan(names, both)
    after = plan(names, both[1:], previous=before.assignments)
    assert {shard.account for shard in after.shards} == {"b"}
    assert _moved(before, after) == 10


def test_each_shard_is_named_for_its_key_and_session() -> None:
    """The name is the relay's, and the same on every host."""
    planned = plan([f"w{n}" for n in range(11)], [_account("prod")])
    assert [shard.name for shard in planned.shards] == ["prod-0", "prod-1"]
    assert {shard.account for shard in planned.shards} == {"prod"}


def test_limits_that_are_not_known_are_none() -> None:
    """One session of an old service takes them all."""
    account = _account(
        max_wallets_per_session=0,
        max_positions_per_session=0,
        max_sessions_per_api_key=None,
    )
    planned = plan([f"w{n}" for n in range(500)], [account])
    assert len(planned.shards) == 1


def test_what_does_not_fit_is_said() -> None:
    """The error names the wallet and the cure."""
    with pytest.raises(ConfigurationError, match=r"w50 .* 5 sessions; add an API key"):
        plan([f"w{n}" for n in range(51)], [_account()])


def test_a_wallet_over_the_limit_of_a_wallet_fits_nowhere() -> None:
    """The service would not track all of its positions."""
    with pytest.raises(ConfigurationError, match="fits into none"):
        plan({"a": 21}, [_account(max_positions_per_wallet=20)])


def test_accounts_must_have_names_of_their_own() -> None:
    """Two keys of one name would share their sessions."""
    with pytest.raises(ConfigurationError, match="same name"):
        plan(["a"], [_account(), _account()])
