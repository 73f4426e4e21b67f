from __future__ import annotations

import pytest

from lasersell.errors import ConfigurationError
from lasersell.protocol.strategy import StrategyConfig
from lasersell.session.tables import (
    arguments_of,
    check_names,
    client_of,
    configure_of,
    list_of_tables,
)

WALLET = "AKnL4NNf3DGWZJS6cPknBuEGnVsV4A4m5tgebLHaRSZ9"


def test_the_tables_of_a_session() -> None:
    """Three tables are one configure, with the strategy and the watched wallets in it."""
    configure = configure_of(
        {
            "configure": {"wallet_pubkeys": [WALLET], "deadline_timeout_sec": 45},
            "strategy": {"target_profit_pct": 5.0, "stop_loss_pct": 1.5},
            "mirror": {"watch_wallets": [{"pubkey": WALLET}]},
        }
    )
    assert configure.wallet_pubkeys == (WALLET,)
    assert configure.deadline_timeout_sec == 45
    assert configure.strategy == StrategyConfig(
        target_profit_pct=5.0, stop_loss_pct=1.5
    )
    assert [wallet.pubkey for wallet in configure.watch_wallets] == [WALLET]


def test_a_key_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The API key may be named by the variable that holds it."""
    monkeypatch.setenv("A_KEY", "sk-made-up")
    client = client_of({"stream": {"api_key_env": "A_KEY"}})
    assert client.options.api_key.reveal() == "sk-made-up"


def test_a_value_in_the_place_of_a_table_is_not_repeated() -> None:
    """An API key that stands where a table should is refused without being shown."""
    with pytest.raises(
        ConfigurationError, match=r"\[stream\] must be a table, not str"
    ):
        client_of({"stream": "sk-made-up"})


def test_a_tuple_is_a_list_of_tables() -> None:
    """Settings in Python may hold a tuple where TOML has a list."""
    assert list_of_tables({"a": ({"b": 1},)}, "a", "a") == [{"b": 1}]


def test_an_unknown_table() -> None:
    """A table that nothing reads is refused, with what was meant."""
    with pytest.raises(ConfigurationError, match="did you mean 'strategy'"):
        check_names({"stratgy": {}}, ("strategy", "stream"))


def test_the_arguments_of_a_function() -> None:
    """What a table has for a function is checked against the function's own names."""

    def function(first: int, *, second: int = 0) -> None: ...

    assert arguments_of(function, {"second": 2}, "t", leave_out=["first"]) == {
        "second": 2
    }
    with pytest.raises(ConfigurationError, match=r"\[t\] has no 'secnd'.*'second'"):
        arguments_of(function, {"secnd": 2}, "t")
    with pytest.raises(ConfigurationError, match=r"\[t\] needs 'first'"):
        arguments_of(function, {}, "t")
