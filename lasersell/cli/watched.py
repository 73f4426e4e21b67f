"""What ``watch`` and ``doctor`` are about: a configuration file, or options."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from lasersell.cli.common import Common
from lasersell.errors import ConfigurationError
from lasersell.protocol.strategy import StrategyConfig

if TYPE_CHECKING:
    from lasersell.exits.config import RunConfig

__all__ = [
    "NEVER_MET",
    "config_option",
    "load_run_config",
    "wallet_option",
    "wallets_of",
]

F = TypeVar("F", bound=Callable[..., Any])

NEVER_MET = StrategyConfig(target_profit_pct=1e9)
"""A strategy must have a condition; whoever only watches gets one that is never met."""


def config_option(function: F) -> F:
    """Add ``--config``."""
    decorate = click.option(
        "-c",
        "--config",
        "path",
        type=click.Path(path_type=Path, dir_okay=False),
        help="The configuration of `lasersell run`, for stream, wallets and all else.",
    )
    return decorate(function)


def wallet_option(function: F) -> F:
    """Add ``--wallet``."""
    decorate = click.option(
        "--wallet",
        "wallets",
        multiple=True,
        metavar="PUBKEY",
        help="A wallet of yours; may be repeated. By default LASERSELL_WALLET.",
    )
    return decorate(function)


def wallets_of(wallets: tuple[str, ...]) -> tuple[str, ...]:
    """Return the wallets that the option named, else that of the environment, if any."""
    named = os.environ.get("LASERSELL_WALLET")
    return wallets or ((named,) if named else ())


def load_run_config(path: Path, wallets: tuple[str, ...], common: Common) -> RunConfig:
    """
    Return a configuration of ``lasersell run``, with what the options say instead.

    Raises:
        ConfigurationError: Something in it is wrong, or wallets were named too.
        MissingExtraError: What it needs is not installed.
    """
    if wallets:
        raise ConfigurationError(
            "the wallets are those of --config; leave out --wallet"
        )
    # Loads keys and targets, whose extra nobody needs who only watches.
    from lasersell.exits.config import load_config  # noqa: PLC0415

    return load_config(path, endpoint=common.endpoint, api_key=common.api_key)
