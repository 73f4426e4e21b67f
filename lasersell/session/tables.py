"""
From plain tables, of a TOML file or of an application's settings, to what they configure.

A table is a call: its keys are the arguments of what it configures, so what may stand in
it is documented there. ``name_env = "VARIABLE"`` takes an argument from the environment.
"""

from __future__ import annotations

import difflib
import inspect
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from lasersell.errors import ConfigurationError, MissingExtraError
from lasersell.protocol.mirror import AutoBuy, MirrorConfig, WatchWallet
from lasersell.protocol.strategy import StrategyConfig, TakeProfitLevel
from lasersell.stream.client import StreamClient
from lasersell.stream.options import StreamConfigure

__all__ = [
    "ENV",
    "Table",
    "arguments_of",
    "call",
    "check_names",
    "client_of",
    "configure_of",
    "list_of_tables",
    "read_tables",
    "table_of",
    "with_values",
]

ENV = "_env"
"""What the name of a key ends with whose value is in the environment."""

_NEVER_IN_A_FILE = "api_key"

T = TypeVar("T")
Table = Mapping[str, Any]


# Reading


def read_tables(path: Path, known: Iterable[str]) -> dict[str, Any]:
    """
    Return the tables of a TOML file.

    Args:
        path: The file.
        known: The tables that it may have.

    Raises:
        ConfigurationError: It cannot be read, has a table that nothing reads, or holds a
            secret.
        MissingExtraError: No TOML parser is installed, on Python 3.10.
    """
    tables = _read(path)
    try:
        check_names(tables, known)
        _refuse_secrets(tables, "")
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {error}") from error
    return tables


def _read(path: Path) -> dict[str, Any]:
    try:
        # The parser is no part of Python 3.10.
        if sys.version_info >= (3, 11):
            import tomllib  # noqa: PLC0415
        else:
            import tomli as tomllib  # noqa: PLC0415
    except ImportError as error:
        raise MissingExtraError("a TOML configuration", "cli") from error
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is not TOML: {error}") from error


def with_values(tables: Table, name: str, **given: str | None) -> dict[str, Any]:
    """Return the tables with what is given in one of them, instead of what was there."""
    known = {key: value for key, value in given.items() if value is not None}
    kept = {
        key: value
        for key, value in table_of(tables, name).items()
        if key.removesuffix(ENV) not in known
    }
    return {**tables, name: {**kept, **known}}


def _refuse_secrets(value: Any, where: str) -> None:
    if isinstance(value, list):
        for item in value:
            _refuse_secrets(item, where)
    if not isinstance(value, dict):
        return
    if _NEVER_IN_A_FILE in value:
        raise ConfigurationError(
            f"[{where}] must not hold the {_NEVER_IN_A_FILE} itself; put it into the "
            f"environment, and name the variable in {_NEVER_IN_A_FILE}{ENV}"
        )
    for name, inner in value.items():
        _refuse_secrets(inner, f"{where}.{name}" if where else name)


def check_names(tables: Table, known: Iterable[str]) -> None:
    """
    Refuse a table that nothing reads.

    Raises:
        ConfigurationError: Names it, and what may have been meant.
    """
    unknown = sorted(set(tables) - set(known))
    if unknown:
        raise ConfigurationError(
            f"there is no table [{unknown[0]}]{_meant(unknown[0], known)}"
        )


def table_of(tables: Table, name: str) -> Table:
    """
    Return the table of a name; empty if there is none.

    Raises:
        ConfigurationError: It is no table.
    """
    return _as_table(tables.get(name, {}), name)


def list_of_tables(tables: Table, name: str, where: str) -> list[Table]:
    """
    Return the tables of a name; none if there is none.

    Args:
        tables: Where to look.
        name: The name there.
        where: What to call it in an error.

    Raises:
        ConfigurationError: It is no list of tables.
    """
    value = tables.get(name, [])
    if not isinstance(value, (list, tuple)):
        raise ConfigurationError(f"write [[{where}]], for there may be several")
    return [_as_table(item, where) for item in value]


def _as_table(value: Any, where: str) -> Table:
    if not isinstance(value, Mapping):
        # Not what it is: somebody may have written the API key here.
        kind = type(value).__name__
        raise ConfigurationError(f"[{where}] must be a table, not {kind}")
    return value


def call(
    function: Callable[..., T],
    table: Table,
    where: str,
    *,
    leave_out: Iterable[str] = (),
    **given: Any,
) -> T:
    """
    Call what a table configures with its keys as arguments.

    Args:
        function: What to call.
        table: The arguments.
        where: The name of the table, for an error.
        leave_out: Arguments that a table cannot give.
        given: Arguments from elsewhere.

    Raises:
        ConfigurationError: An argument is unknown, missing or wrong; names the table.
    """
    arguments = arguments_of(function, table, where, leave_out={*leave_out, *given})
    try:
        return function(**arguments, **given)
    except ConfigurationError as error:
        raise ConfigurationError(f"[{where}] {error}") from error
    except (TypeError, ValueError) as error:
        # Validators of attrs tell the value; none of what is checked so is secret.
        raise ConfigurationError(f"[{where}] {error.args[0]}") from error


def arguments_of(
    function: Callable[..., object],
    table: Table,
    where: str,
    *,
    leave_out: Iterable[str] = (),
) -> dict[str, Any]:
    """
    Return the arguments that a table has for a function; see :func:`call`.

    Raises:
        ConfigurationError: An argument is unknown or missing; names the table.
    """
    arguments = _looked_up(table, where)
    parameters = inspect.signature(function).parameters
    names = set(parameters) - set(leave_out)
    for name in arguments:
        if name not in names:
            raise ConfigurationError(f"[{where}] has no {name!r}{_meant(name, names)}")
    missing = [
        name
        for name in sorted(names)
        if parameters[name].default is inspect.Parameter.empty and name not in arguments
    ]
    if missing:
        raise ConfigurationError(f"[{where}] needs {missing[0]!r}")
    return arguments


def _looked_up(table: Table, where: str) -> dict[str, Any]:
    """Return the keys of a table, with those that name a variable looked up."""
    arguments = {}
    for name, value in table.items():
        if name.endswith(ENV):
            arguments[name[: -len(ENV)]] = _variable(value, f"[{where}] {name}")
        else:
            arguments[name] = value
    return arguments


def _variable(name: Any, where: str) -> str:
    value = os.environ.get(name) if isinstance(name, str) else None
    if not value:
        raise ConfigurationError(
            f"{where} names the environment variable {name!r}, which is not set"
        )
    return value


def _meant(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; there are {', '.join(sorted(known))}"


# What they configure


def client_of(tables: Table) -> StreamClient:
    """
    Return what ``stream`` configures: where the stream is.

    Raises:
        ConfigurationError: Something in it is wrong, or there is no API key.
    """
    return call(
        StreamClient, table_of(tables, "stream"), "stream", leave_out=("ssl_context",)
    )


def configure_of(
    tables: Table, wallet_pubkeys: Iterable[str] | None = None
) -> StreamConfigure:
    """
    Return what ``configure``, ``strategy`` and ``mirror`` configure: what to watch, when to exit.

    Args:
        tables: The tables.
        wallet_pubkeys: The own wallets, unless ``configure`` names them.

    Raises:
        ConfigurationError: Something in them is wrong.
    """
    table = table_of(tables, "configure")
    if wallet_pubkeys is not None:
        table = {"wallet_pubkeys": list(wallet_pubkeys), **table}
    mirror = table_of(tables, "mirror")
    for name in mirror:
        known = ("watch_wallets", "config")
        if name not in known:
            raise ConfigurationError(f"[mirror] has no {name!r}{_meant(name, known)}")
    return call(
        StreamConfigure,
        table,
        "configure",
        strategy=_strategy(table_of(tables, "strategy")),
        watch_wallets=_watch_wallets(mirror),
        mirror_config=_mirror_config(mirror),
    )


def _strategy(table: Table) -> StrategyConfig:
    where = "strategy.take_profit_levels"
    levels = [
        call(TakeProfitLevel, level, where)
        for level in list_of_tables(table, "take_profit_levels", where)
    ]
    rest = {
        name: value for name, value in table.items() if name != "take_profit_levels"
    }
    return call(StrategyConfig, {**rest, "take_profit_levels": levels}, "strategy")


def _mirror_config(mirror: Table) -> MirrorConfig | None:
    limits = mirror.get("config")
    if limits is None:
        return None
    where = "mirror.config"
    return call(MirrorConfig, _as_table(limits, where), where)


def _watch_wallets(mirror: Table) -> tuple[WatchWallet, ...]:
    where = "mirror.watch_wallets"
    return tuple(
        _watch_wallet(wallet, where)
        for wallet in list_of_tables(mirror, "watch_wallets", where)
    )


def _watch_wallet(table: Table, where: str) -> WatchWallet:
    auto_buy = table.get("auto_buy")
    if auto_buy is None:
        return call(WatchWallet, table, where)
    inner = f"{where}.auto_buy"
    built = call(AutoBuy, _as_table(auto_buy, inner), inner)
    return call(WatchWallet, {**table, "auto_buy": built}, where)
