from __future__ import annotations

import pytest

from lasersell.errors import ApiError, ConfigurationError
from lasersell.exits.api import ExitApiClient
from lasersell.exits.connect import connect_with_wallets
from lasersell.protocol.strategy import StrategyConfig
from lasersell.sim import SimServer
from lasersell.stream.client import StreamClient
from lasersell.stream.options import StreamConfigure
from tests.integration.exits.server import Answer, Request, running
from tests.unit.exits.trades import OWN, WALLET, seed_key

CONFIGURE = StreamConfigure(
    [WALLET], StrategyConfig(target_profit_pct=5, stop_loss_pct=2)
)


def registered(request: Request) -> Answer:
    """Answer a registration as the service does."""
    wallet = request.json["wallet_pubkey"]
    return Answer({"wallet_pubkey": wallet, "registered": True})


def test_wallets_are_registered_before_the_stream_is_connected(sim: SimServer) -> None:
    """The stream takes a wallet that was registered a moment before, with its options."""
    with running(script=registered) as server:
        client = StreamClient("key", endpoint=sim.url)
        with (
            ExitApiClient("key", base_url=server.url) as api,
            connect_with_wallets(
                api, client, CONFIGURE, [OWN], labels={WALLET: "main"}, timeout=5
            ) as session,
        ):
            assert session.state == "live"
        body = server.requests[0].json
        assert (body["wallet_pubkey"], body["label"]) == (WALLET, "main")
        assert body["message"].startswith(f"lasersell-register:{WALLET}:")


def test_a_wallet_that_is_not_watched_is_refused(sim: SimServer) -> None:
    """A key whose wallet the stream would not watch is a mistake, told before all else."""
    with (
        running(script=registered) as server,
        ExitApiClient("key", base_url=server.url) as api,
    ):
        client = StreamClient("key", endpoint=sim.url)
        with pytest.raises(ConfigurationError, match=seed_key(2).pubkey):
            connect_with_wallets(api, client, CONFIGURE, [OWN, seed_key(2)])
        assert server.requests == []


@pytest.mark.parametrize(
    "answer",
    [
        Answer({"wallet_pubkey": WALLET, "registered": False}),
        Answer({"error": "signature check failed"}, 403),
    ],
)
def test_a_registration_that_failed_is_told(sim: SimServer, answer: Answer) -> None:
    """The answer of the service is not ignored, and no stream is connected."""
    with running(answer) as server, ExitApiClient("key", base_url=server.url) as api:
        client = StreamClient("key", endpoint=sim.url)
        with pytest.raises(ApiError):
            connect_with_wallets(api, client, CONFIGURE, [OWN])
