"""What ``lasersell doctor`` looks at, and its looks at what is no stream."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from lasersell._clock import SYSTEM_CLOCK
from lasersell.cli.codes import FAILED, NOT_ACCEPTED, STREAM_ENDED
from lasersell.cli.common import Common
from lasersell.cli.examine import Finding, failure_of, look_at_key_file
from lasersell.cli.watched import load_run_config, wallets_of
from lasersell.errors import ApiError, MissingExtraError, TxError
from lasersell.stream.client import StreamClient
from lasersell.stream.options import STREAM_ENDPOINT, check_wallets, is_loopback

if TYPE_CHECKING:
    from lasersell.exits.api import ExitApiClient
    from lasersell.exits.targets import SendTarget

__all__ = ["Patient", "look_at_api", "look_at_keys", "look_at_rpcs", "patient_of"]

_REFUSED = frozenset({401, 403})


@attrs.frozen(kw_only=True)
class Patient:
    """What is to be looked at."""

    client: StreamClient
    wallets: tuple[str, ...]
    api_key_file: Path | None
    """Where the API key was read from; None is the environment."""
    has_wallet_keys: bool
    """Whether a configuration has loaded the keys of the wallets."""
    api: ExitApiClient | None
    rpcs: tuple[SendTarget, ...]
    missing: str | None
    """Why there is neither API nor node to look at; None if there may be."""


def patient_of(
    common: Common,
    path: Path | None,
    wallets: tuple[str, ...],
    *,
    api_url: str | None,
    rpc_url: str | None,
) -> Patient:
    """
    Return what the options and the environment name.

    Raises:
        ConfigurationError: Something in them is wrong.
    """
    if path is not None:
        return _configured(common, path, wallets)
    client = common.client()
    wallets = wallets_of(wallets)
    if wallets:
        check_wallets(wallets)
    api: ExitApiClient | None = None
    rpcs: tuple[SendTarget, ...] = ()
    missing = None
    try:
        api = _api_of(client, api_url)
        rpcs = _rpcs_of(client, rpc_url)
    except MissingExtraError as error:
        missing = str(error)
    return Patient(
        client=client,
        wallets=wallets,
        api_key_file=common.api_key_file,
        has_wallet_keys=False,
        api=api,
        rpcs=rpcs,
        missing=missing,
    )


def _configured(common: Common, path: Path, wallets: tuple[str, ...]) -> Patient:
    config = load_run_config(path, wallets, common)
    targets = list(config.targets)
    if config.confirm_with is not None:
        targets.append(config.confirm_with)
    return Patient(
        client=config.client,
        wallets=config.configure.wallet_pubkeys,
        api_key_file=common.api_key_file,
        has_wallet_keys=True,
        api=config.api,
        rpcs=tuple(targets),
        missing=None,
    )


def _api_of(client: StreamClient, api_url: str | None) -> ExitApiClient | None:
    # The rest of this command works without the extra.
    from lasersell.exits.api import ExitApiClient  # noqa: PLC0415

    is_production = client.options.endpoint == STREAM_ENDPOINT
    if not (api_url or os.environ.get("LASERSELL_API_URL") or is_production):
        return None
    return ExitApiClient(client.options.api_key.reveal(), base_url=api_url, attempts=1)


def _rpcs_of(client: StreamClient, rpc_url: str | None) -> tuple[SendTarget, ...]:
    # The rest of this command works without the extra.
    from lasersell.exits.targets import SendTarget  # noqa: PLC0415

    is_here = is_loopback(client.options.url.hostname or "")
    if not (rpc_url or os.environ.get("LASERSELL_RPC_URL")) and is_here:
        return ()
    return (SendTarget.rpc(rpc_url),)


def look_at_keys(patient: Patient) -> Iterator[Finding]:
    """Look at where the keys are."""
    if patient.api_key_file is not None:
        yield look_at_key_file("key file", patient.api_key_file)
    else:
        yield Finding("key file", "ok", "none: the API key is in the environment")
    if patient.has_wallet_keys:
        wallets = ", ".join(patient.wallets)
        yield Finding("wallet keys", "ok", f"loaded for {wallets}")


def look_at_api(patient: Patient) -> Finding:
    """Ask the REST API for the account; blocks for its time-out at most."""
    if patient.api is None:
        return Finding("API", "skipped", patient.missing or "none is named: --api-url")
    started = SYSTEM_CLOCK.monotonic()
    with patient.api as api:
        try:
            account = api.account()
        except ApiError as error:
            code = NOT_ACCEPTED if error.status in _REFUSED else STREAM_ENDED
            return _with_advice("API", error, code, "check the URL and the API key")
    took_ms = (SYSTEM_CLOCK.monotonic() - started) * 1000
    limits = account.limits
    text = (
        f"{account.tier_name}: {limits.max_wallets} wallets, "
        f"{limits.max_positions_per_session} positions ({took_ms:.0f} ms)"
    )
    if len(patient.wallets) > limits.max_wallets:
        return Finding(
            "API", "failure", text, "name fewer wallets, or choose another tier"
        )
    return Finding("API", "ok", text)


def look_at_rpcs(patient: Patient, timeout: float) -> Iterator[Finding]:
    """Ask each node how it is; blocks for ``timeout`` seconds each at most."""
    if not patient.rpcs:
        yield Finding("RPC", "skipped", patient.missing or "none is named: --rpc-url")
    for target in patient.rpcs:
        yield _look_at_rpc(target, timeout)


def _look_at_rpc(target: SendTarget, timeout: float) -> Finding:
    # The rest of this command works without the extra.
    from lasersell.exits.rpc import RpcLink  # noqa: PLC0415

    name = "RPC" if target.label == "rpc" else target.label
    started = SYSTEM_CLOCK.monotonic()
    link = RpcLink(target, connect_timeout=timeout)
    try:
        if target.takes_rpc:
            told = str(link.call("getHealth", [], stage="look", timeout=timeout))
        else:
            told = "ok" if link.warm(timeout) else "no answer"
    except TxError as error:
        return _with_advice(
            name, error, FAILED, "check LASERSELL_RPC_URL or [[targets]]"
        )
    finally:
        link.close()
    took_ms = (SYSTEM_CLOCK.monotonic() - started) * 1000
    if told != "ok":
        return Finding(name, "failure", told, "check [[targets]]")
    return Finding(name, "ok", f"the node is well ({took_ms:.0f} ms)")


def _with_advice(check: str, error: Exception, code: int, advice: str) -> Finding:
    found = failure_of(check, error, code)
    told = [found.advice] if found.advice is not None else []
    return attrs.evolve(found, advice=" ".join([*told, advice]))
