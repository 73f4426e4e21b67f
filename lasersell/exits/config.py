"""
The configuration of ``lasersell run``: a TOML file, and the environment for secrets.

A table of the file is a call: its keys are the arguments of what it configures, so what
may stand in it is documented there. ``name_env = "VARIABLE"`` takes an argument from the
environment; keys and everything else that is secret are never in the file itself.
"""

from __future__ import annotations

import difflib
import inspect
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import attrs

from lasersell.errors import ConfigurationError, MissingExtraError
from lasersell.exits.api import ExitApiClient
from lasersell.exits.auto_buys import LossCap
from lasersell.exits.auto_plan import AutoExitSettings, seconds
from lasersell.exits.guard.policy import Policy
from lasersell.exits.keys import WalletKey
from lasersell.exits.targets import SendTarget
from lasersell.protocol.mirror import AutoBuy, MirrorConfig, WatchWallet
from lasersell.protocol.strategy import StrategyConfig, TakeProfitLevel
from lasersell.stream.client import StreamClient
from lasersell.stream.options import StreamConfigure

__all__ = ["JOURNAL_VARIABLE", "RunConfig", "default_journal", "load_config"]

JOURNAL_VARIABLE = "LASERSELL_JOURNAL"
DRY_RUN_VARIABLE = "LASERSELL_DRY_RUN"

_ENV = "_env"
_NEVER_IN_A_FILE = frozenset({"api_key"})
_TABLES = frozenset(
    {
        "stream",
        "configure",
        "strategy",
        "keys",
        "targets",
        "confirm_with",
        "exits",
        "guard",
        "api",
        "journal",
        "mirror",
        "loss_cap",
        "run",
    }
)

T = TypeVar("T")
Table = Mapping[str, Any]


@attrs.frozen(kw_only=True)
class RunConfig:
    """What ``lasersell run`` does, checked; its secrets are in no ``repr``."""

    client: StreamClient
    """``[stream]``: where the stream is."""
    configure: StreamConfigure
    """``[configure]``, ``[strategy]`` and ``[mirror]``: what to watch and when to exit."""
    keys: tuple[WalletKey, ...]
    """``[keys]``: our wallets."""
    targets: tuple[SendTarget, ...]
    """``[[targets]]``: where to submit."""
    confirm_with: SendTarget | None
    """``[confirm_with]``: the node that is asked what became of a transaction."""
    settings: AutoExitSettings
    """``[exits]``: how to behave."""
    policy: Policy
    """``[guard]``: what a transaction may do."""
    api: ExitApiClient | None
    """``[api]``: the REST API; None is not used."""
    journal: Path
    """``[journal]``: the file."""
    mirror_buys: Mapping[str, AutoBuy] | None
    """``[mirror]``: what may be spent, by watched wallet; None leaves buys alone."""
    loss_cap: LossCap
    """``[loss_cap]``: when buying stops."""
    run: RunSettings
    """``[run]``: the daemon itself."""

    @property
    def wallets(self) -> tuple[str, ...]:
        """Our wallets; base58."""
        return tuple(key.pubkey for key in self.keys)


@attrs.frozen(kw_only=True)
class RunSettings:
    """How the daemon behaves."""

    register_wallets: bool = attrs.field(
        default=False, validator=attrs.validators.instance_of(bool)
    )
    """Whether to register our wallets with the service at the start; needs ``[api]``."""
    kill_file: str | None = attrs.field(
        default=None,
        validator=attrs.validators.optional(attrs.validators.instance_of(str)),
    )
    """While this file is there, nothing is submitted."""
    stop_timeout: float = attrs.field(default=15.0, validator=seconds(0))
    """Seconds that the end may take, for what is under way to land."""


def default_journal() -> Path:
    """Return the journal of a daemon that names none: ``LASERSELL_JOURNAL``, else ours."""
    named = os.environ.get(JOURNAL_VARIABLE)
    if named:
        return Path(named)
    state = os.environ.get("XDG_STATE_HOME")
    base = Path(state) if state else Path.home() / ".local" / "state"
    return base / "lasersell" / "journal.db"


def load_config(path: str | Path) -> RunConfig:
    """
    Read a configuration, and check everything that can be without a network.

    Raises:
        ConfigurationError: The file cannot be read, or something in it is wrong; names
            the table and the key.
        MissingExtraError: No TOML parser is installed, on Python 3.10.
    """
    tables = _read(Path(path))
    unknown = sorted(set(tables) - _TABLES)
    if unknown:
        raise ConfigurationError(
            f"{path}: there is no table [{unknown[0]}]{_meant(unknown[0], _TABLES)}"
        )
    try:
        return _config(tables)
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {error}") from error


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


def _config(tables: Table) -> RunConfig:
    keys = _keys(_table(tables, "keys"))
    watch_wallets = _watch_wallets(tables)
    auto_buys = {w.pubkey: w.auto_buy for w in watch_wallets if w.auto_buy is not None}
    run = _call(RunSettings, _table(tables, "run"), "run")
    api = _api(tables)
    if run.register_wallets and api is None:
        raise ConfigurationError("[run] register_wallets needs a table [api]")
    return RunConfig(
        client=_call(
            StreamClient,
            _table(tables, "stream"),
            "stream",
            leave_out=("ssl_context",),
        ),
        configure=_configure(tables, keys, watch_wallets),
        keys=keys,
        targets=_targets(tables),
        confirm_with=_confirm_with(tables),
        settings=_settings(_table(tables, "exits")),
        policy=_policy(_table(tables, "guard")),
        api=api,
        journal=_journal(_table(tables, "journal")),
        mirror_buys=auto_buys or None,
        loss_cap=_call(LossCap, _table(tables, "loss_cap"), "loss_cap"),
        run=run,
    )


# Tables


def _table(tables: Table, name: str) -> Table:
    return _as_table(tables.get(name, {}), name)


def _as_table(value: Any, where: str) -> Table:
    if not isinstance(value, dict):
        raise ConfigurationError(f"[{where}] must be a table, not {value!r}")
    return value


def _list_of_tables(tables: Table, name: str, where: str) -> list[Table]:
    value = tables.get(name, [])
    if not isinstance(value, list):
        raise ConfigurationError(f"write [[{where}]], for there may be several")
    return [_as_table(item, where) for item in value]


def _call(
    function: Callable[..., T],
    table: Table,
    where: str,
    *,
    leave_out: Iterable[str] = (),
    **given: Any,
) -> T:
    """Call what a table configures with its keys as arguments."""
    arguments = _arguments(table, where)
    parameters = inspect.signature(function).parameters
    names = set(parameters) - set(leave_out) - set(given)
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
    try:
        return function(**arguments, **given)
    except ConfigurationError as error:
        raise ConfigurationError(f"[{where}] {error}") from error
    except (TypeError, ValueError) as error:
        # Validators of attrs tell the value; none of what is checked so is secret.
        raise ConfigurationError(f"[{where}] {error.args[0]}") from error


def _arguments(table: Table, where: str) -> dict[str, Any]:
    """Return the keys of a table, with those that name a variable looked up."""
    arguments = {}
    for name, value in table.items():
        if name in _NEVER_IN_A_FILE:
            raise ConfigurationError(
                f"[{where}] must not hold the {name} itself; put it into the environment, "
                f"and name the variable in {name}{_ENV}"
            )
        if name.endswith(_ENV):
            arguments[name[: -len(_ENV)]] = _variable(value, f"[{where}] {name}")
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


def _keys(table: Table) -> tuple[WalletKey, ...]:
    def load(
        files: Iterable[str] = (), allow_insecure_permissions: bool = False
    ) -> tuple[WalletKey, ...]:
        if not files:
            return (WalletKey.from_env(),)
        if isinstance(files, str):
            raise ConfigurationError(f"files must be a list, not {files!r}")
        return tuple(
            WalletKey.from_file(
                Path(file).expanduser(),
                allow_insecure_permissions=allow_insecure_permissions,
            )
            for file in files
        )

    return _call(load, table, "keys")


def _strategy(table: Table) -> StrategyConfig:
    where = "strategy.take_profit_levels"
    levels = [
        _call(TakeProfitLevel, level, where)
        for level in _list_of_tables(table, "take_profit_levels", where)
    ]
    rest = {
        name: value for name, value in table.items() if name != "take_profit_levels"
    }
    return _call(StrategyConfig, {**rest, "take_profit_levels": levels}, "strategy")


def _configure(
    tables: Table, keys: Iterable[WalletKey], watch_wallets: Iterable[WatchWallet]
) -> StreamConfigure:
    table = {"wallet_pubkeys": [key.pubkey for key in keys]}
    limits = _table(tables, "mirror").get("config")
    mirror_config = None
    if limits is not None:
        where = "mirror.config"
        mirror_config = _call(MirrorConfig, _as_table(limits, where), where)
    return _call(
        StreamConfigure,
        {**table, **_table(tables, "configure")},
        "configure",
        strategy=_strategy(_table(tables, "strategy")),
        watch_wallets=watch_wallets,
        mirror_config=mirror_config,
    )


def _watch_wallets(tables: Table) -> tuple[WatchWallet, ...]:
    table = _table(tables, "mirror")
    for name in table:
        if name not in ("watch_wallets", "config"):
            known = ("watch_wallets", "config")
            raise ConfigurationError(f"[mirror] has no {name!r}{_meant(name, known)}")
    where = "mirror.watch_wallets"
    return tuple(
        _watch_wallet(wallet, where)
        for wallet in _list_of_tables(table, "watch_wallets", where)
    )


def _watch_wallet(table: Table, where: str) -> WatchWallet:
    auto_buy = table.get("auto_buy")
    if auto_buy is None:
        return _call(WatchWallet, table, where)
    inner = f"{where}.auto_buy"
    built = _call(AutoBuy, _as_table(auto_buy, inner), inner)
    return _call(WatchWallet, {**table, "auto_buy": built}, where)


_KINDS: Mapping[str, Callable[..., SendTarget]] = {
    "rpc": SendTarget.rpc,
    "helius_sender": SendTarget.helius_sender,
    "astralane": SendTarget.astralane,
    "custom": SendTarget.custom,
}


def _targets(tables: Table) -> tuple[SendTarget, ...]:
    listed = _list_of_tables(tables, "targets", "targets")
    if not listed:
        return (SendTarget.rpc(),)
    return tuple(_target(table, "targets") for table in listed)


def _confirm_with(tables: Table) -> SendTarget | None:
    table = _table(tables, "confirm_with")
    return _target({"kind": "rpc", **table}, "confirm_with") if table else None


def _target(table: Table, where: str) -> SendTarget:
    rest = dict(table)
    kind = rest.pop("kind", None)
    if kind not in _KINDS:
        raise ConfigurationError(
            f"[{where}] kind must be one of {', '.join(_KINDS)}, not {kind!r}"
        )
    return _call(_KINDS[kind], rest, where)


def _settings(table: Table) -> AutoExitSettings:
    forced = os.environ.get(DRY_RUN_VARIABLE, "")
    if forced not in ("", "0", "1"):
        raise ConfigurationError(f"{DRY_RUN_VARIABLE} must be 0 or 1, not {forced!r}")
    if forced:
        table = {**table, "dry_run": forced == "1"}
    return _call(AutoExitSettings, table, "exits")


def _policy(table: Table) -> Policy:
    rest = dict(table)
    kind = rest.pop("policy", "default")
    if kind == "signer_only" and not rest:
        return Policy.signer_only()
    if kind != "default":
        raise ConfigurationError(
            "[guard] policy must be 'default', or 'signer_only' with nothing beside it"
        )
    programs = rest.pop("trusted_programs", [])
    try:
        return Policy.default().with_programs(*programs).with_limits(**rest)
    except ConfigurationError as error:
        raise ConfigurationError(f"[guard] {error}") from error


def _api(tables: Table) -> ExitApiClient | None:
    if "api" not in tables:
        return None
    table = _table(tables, "api")
    return _call(ExitApiClient, table, "api", leave_out=("ssl_context", "clock"))


def _journal(table: Table) -> Path:
    def choose(path: str | None = None) -> Path:
        # The environment names another one for a trial, without a change of the file.
        if path is None or os.environ.get(JOURNAL_VARIABLE):
            return default_journal()
        return Path(path).expanduser()

    return _call(choose, table, "journal")
