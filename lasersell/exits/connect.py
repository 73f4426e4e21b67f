"""
Register our wallets, then connect.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from lasersell.errors import ApiError, ConfigurationError
from lasersell.exits.api import ExitApiClient
from lasersell.exits.keys import WalletKey
from lasersell.exits.ownership import prove_ownership
from lasersell.session.session import StreamSession
from lasersell.stream.client import StreamClient
from lasersell.stream.options import StreamConfigure

__all__ = ["connect_with_wallets"]


def connect_with_wallets(
    api: ExitApiClient,
    client: StreamClient,
    configure: StreamConfigure,
    keys: Iterable[WalletKey],
    *,
    labels: Mapping[str, str] | None = None,
    **session_options: Any,
) -> StreamSession:
    """
    Register wallets with the service, connect, and return the session.

    Registering again is safe, so this may run at each start. Blocks for one call of the
    API per wallet, and then as ``StreamSession.connect`` does.

    Args:
        api: The REST API, with the key of the same account.
        client: Where the stream is.
        configure: What to watch and when to exit.
        keys: The keys of wallets in ``configure``; those without a key must have been
            registered before.
        labels: Names for the wallets, by public key.
        session_options: The other arguments of ``StreamSession.connect``.

    Raises:
        ConfigurationError: A key is of a wallet that ``configure`` does not watch, or an
            argument is wrong.
        ApiError: The service did not register a wallet.
        StreamError: The connection failed; see ``StreamSession.connect``.
    """
    keys = list(keys)
    for key in keys:
        if key.pubkey not in configure.wallet_pubkeys:
            raise ConfigurationError(
                f"the wallet {key.pubkey} is not in configure.wallet_pubkeys, so the "
                "stream would not watch it"
            )
    for key in keys:
        _register(api, key, (labels or {}).get(key.pubkey))
    return StreamSession.connect(client, configure, **session_options)


def _register(api: ExitApiClient, key: WalletKey, label: str | None) -> None:
    if not api.register_wallet(prove_ownership(key), label):
        raise ApiError(f"the service did not register the wallet {key.pubkey}")
