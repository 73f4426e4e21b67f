"""
The configuration of ``lasersell run``: a TOML file, and the environment for secrets.

A table of the file is a call: its keys are the arguments of what it configures, so what
may stand in it is documented there. ``name_env = "VARIABLE"`` takes an argument from the
environment; keys and everything else that is secret are never in the file itself.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import attrs

from lasersell.errors import ConfigurationError
from lasersell.exits.api import ExitApiClient
from lasersell.exits.auto_buys import LossCap
from lasersell.exits.auto_plan import AutoExitSettings
from lasersell.exits.guard.policy import Policy
from lasersell.exits.keys import WalletKey
from lasersell.exits.targets import SendTarget
from lasersell.protocol.mirror import AutoBuy
from lasersell.session.tables import (
    Table,
    call,
    client_of,
    configure_of,
    list_of_tables,
    read_tables,
    table_of,
    with_values,
)
from lasersell.stream.client import StreamClient
from lasersell.stream.options import StreamConfigure, seconds, switch

__all__ = ["JOURNAL_VARIABLE", "RunConfig", "default_journal", "load_config"]

JOURNAL_VARIABLE = "LASERSELL_JOURNAL"
DRY_RUN_VARIABLE = "LASERSELL_DRY_RUN"

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

    register_wallets: bool = attrs.field(default=False, validator=switch)
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


def load_config(
    path: str | Path, *, endpoint: str | None = None, api_key: str | None = None
) -> RunConfig:
    """
    Read a configuration, and check everything that can be without a network.

    Args:
        path: The file.
        endpoint: Where the stream is, whatever the file says.
        api_key: The API key, whatever the file says.

    Raises:
        ConfigurationError: The file cannot be read, or something in it is wrong; names
            the table and the key.
        MissingExtraError: No TOML parser is installed, on Python 3.10.
    """
    tables = read_tables(Path(path), _TABLES)
    try:
        tables = with_values(tables, "stream", endpoint=endpoint, api_key=api_key)
        if "api" in tables:
            tables = with_values(tables, "api", api_key=api_key)
        return _config(tables)
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {error}") from error


def _config(tables: Table) -> RunConfig:
    keys = _keys(table_of(tables, "keys"))
    configure = configure_of(tables, [key.pubkey for key in keys])
    watched = configure.watch_wallets
    auto_buys = {w.pubkey: w.auto_buy for w in watched if w.auto_buy is not None}
    run = call(RunSettings, table_of(tables, "run"), "run")
    api = _api(tables)
    if run.register_wallets and api is None:
        raise ConfigurationError("[run] register_wallets needs a table [api]")
    return RunConfig(
        client=client_of(tables),
        configure=configure,
        keys=keys,
        targets=_targets(tables),
        confirm_with=_confirm_with(tables),
        settings=_settings(table_of(tables, "exits")),
        policy=_policy(table_of(tables, "guard")),
        api=api,
        journal=_journal(table_of(tables, "journal")),
        mirror_buys=auto_buys or None,
        loss_cap=call(LossCap, table_of(tables, "loss_cap"), "loss_cap"),
        run=run,
    )


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

    return call(load, table, "keys")


_KINDS: Mapping[str, Callable[..., SendTarget]] = {
    "rpc": SendTarget.rpc,
    "helius_sender": SendTarget.helius_sender,
    "astralane": SendTarget.astralane,
    "custom": SendTarget.custom,
}


def _targets(tables: Table) -> tuple[SendTarget, ...]:
    listed = list_of_tables(tables, "targets", "targets")
    if not listed:
        return (SendTarget.rpc(),)
    return tuple(_target(table, "targets") for table in listed)


def _confirm_with(tables: Table) -> SendTarget | None:
    table = table_of(tables, "confirm_with")
    return _target({"kind": "rpc", **table}, "confirm_with") if table else None


def _target(table: Table, where: str) -> SendTarget:
    rest = dict(table)
    kind = rest.pop("kind", None)
    if kind not in _KINDS:
        raise ConfigurationError(
            f"[{where}] kind must be one of {', '.join(_KINDS)}, not {kind!r}"
        )
    return call(_KINDS[kind], rest, where)


def _settings(table: Table) -> AutoExitSettings:
    forced = os.environ.get(DRY_RUN_VARIABLE, "")
    if forced not in ("", "0", "1"):
        raise ConfigurationError(f"{DRY_RUN_VARIABLE} must be 0 or 1, not {forced!r}")
    if forced:
        table = {**table, "dry_run": forced == "1"}
    return call(AutoExitSettings, table, "exits")


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
    table = table_of(tables, "api")
    return call(ExitApiClient, table, "api", leave_out=("ssl_context", "clock"))


def _journal(table: Table) -> Path:
    def choose(path: str | None = None) -> Path:
        # The environment names another one for a trial, without a change of the file.
        if path is None or os.environ.get(JOURNAL_VARIABLE):
            return default_journal()
        return Path(path).expanduser()

    return call(choose, table, "journal")
