from __future__ import annotations

import re
from pathlib import Path

import pytest
from solders.keypair import Keypair

import lasersell.exits.submit as submit
from lasersell.exits import (
    AccountReader,
    ExitApiClient,
    Policy,
    SendTarget,
    Signer,
    Submitter,
    WalletKey,
)
from lasersell.sim import SimServer

_GUIDE = (Path(__file__).parents[3] / "docs" / "selling.md").read_text("utf-8")
_BLOCKS = re.findall(r"```python\n(.*?)```", _GUIDE, re.DOTALL)


@pytest.fixture
def keypair(sim: SimServer, monkeypatch: pytest.MonkeyPatch) -> Keypair:
    """Have the environment point to a simulator, and return the key it names."""
    keypair = Keypair()
    for name, value in {
        "LASERSELL_API_KEY": "a-made-up-key",
        "LASERSELL_STREAM_ENDPOINT": sim.url,
        "LASERSELL_API_URL": sim.api_url,
        "LASERSELL_RPC_URL": sim.rpc_url,
        "LASERSELL_PRIVATE_KEY": str(keypair),
    }.items():
        monkeypatch.setenv(name, value)
    return keypair


def test_the_guide_sells(
    sim: SimServer, keypair: Keypair, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its first program, as it stands, sells on the simulator and ends."""
    sim.buy(str(keypair.pubkey()), profits_pct=[0, 10])
    exec(_BLOCKS[0], {})
    (sale,) = sim.ledger.sales()
    assert f"{sale.signature} landed in slot {sale.slot}" in capsys.readouterr().out


def test_the_other_blocks_run_too(sim: SimServer, keypair: Keypair) -> None:
    """A policy of one's own, and a sale that was ordered."""
    names = _BLOCKS[0].split("key = ")[0]
    scope: dict[str, object] = {"mint": sim.buy(str(keypair.pubkey())).mint}
    exec(f"{names}\nkey = WalletKey.from_env()\nsigner = Signer([key])", scope)
    exec(_BLOCKS[1], scope)
    reader = scope["reader"]
    assert isinstance(reader, AccountReader)
    reader.close()
    with ExitApiClient() as api:
        exec(_BLOCKS[2], scope | {"api": api})


def test_every_stage_is_in_the_guide() -> None:
    """Those of the submission are the ones that the module lists."""
    told = set(re.findall(r"^\| `(\w+)` \|", _GUIDE, re.MULTILINE))
    listed = set(re.findall(r"^``(\w+)``", submit.__doc__ or "", re.MULTILINE))
    assert told == listed | {"decode", "guard"}


@pytest.mark.parametrize(
    ("owner", "names"),
    [
        (
            ExitApiClient,
            "build_sell_tx build_partial_sell_tx build_buy_tx register_wallet "
            "unregister_wallet account history stats achievements insights health",
        ),
        (Policy, "default signer_only with_limits with_venues with_programs"),
        (SendTarget, "rpc helius_sender astralane custom"),
        (Signer, "sign_exit sign_mirror_buy sign_sell sign_buy"),
        (Submitter, "submit_and_confirm confirm keep_warm"),
        (WalletKey, "from_file from_base58 from_env"),
    ],
)
def test_every_name_of_the_guide_exists(owner: type, names: str) -> None:
    """Methods that are mentioned can be called."""
    for name in names.split():
        assert name in _GUIDE
        assert callable(getattr(owner, name))
