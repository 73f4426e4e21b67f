from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from solders.keypair import Keypair

from lasersell.errors import ConfigurationError, MissingExtraError
from lasersell.exits.config import RunConfig, default_journal, load_config
from lasersell.protocol.mirror import AutoBuy
from lasersell.sim.solana import made_up_key

EXAMPLE = Path(__file__).parents[3] / "examples" / "daemon" / "config.toml"
API_KEY = "sk-made-up-for-tests-7f3a"
KEYPAIR = Keypair()


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the secrets, and nothing else."""
    for name in ("LASERSELL_JOURNAL", "LASERSELL_DRY_RUN", "LASERSELL_API_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LASERSELL_API_KEY", API_KEY)
    monkeypatch.setenv("LASERSELL_PRIVATE_KEY", str(KEYPAIR))
    monkeypatch.setenv("LASERSELL_RPC_URL", "https://rpc.example/secret")


def load(tmp_path: Path, text: str) -> RunConfig:
    """Load a configuration that has a strategy."""
    path = tmp_path / "config.toml"
    path.write_text(f"[strategy]\ntarget_profit_pct = 5\n{text}")
    return load_config(path)


def test_the_example_is_good() -> None:
    """The example in the repository is accepted as it stands, and means what it says."""
    config = load_config(EXAMPLE)
    levels = config.configure.strategy.take_profit_levels
    assert [level.sell_pct for level in levels] == [25, 50, 100]
    assert config.configure.deadline_timeout_sec == 3600
    assert config.settings.dry_run
    assert config.policy.max_tip_lamports == 5_000_000
    assert config.loss_cap.lamports == 10**9
    assert config.targets[0].url.reveal() == "https://rpc.example/secret"
    assert config.run.register_wallets
    assert config.api is not None


def test_little_is_needed(tmp_path: Path) -> None:
    """A strategy and the secrets are enough; the rest has defaults."""
    config = load(tmp_path, "")
    assert config.wallets == (str(KEYPAIR.pubkey()),)
    assert config.configure.wallet_pubkeys == config.wallets
    assert [target.label for target in config.targets] == ["rpc"]
    assert config.api is None
    assert config.mirror_buys is None
    assert config.journal == default_journal()


def test_no_secret_is_shown(tmp_path: Path) -> None:
    """Neither the keys nor a URL that may hold one is in the repr."""
    shown = repr(load(tmp_path, "[api]"))
    for secret in (API_KEY, str(KEYPAIR), "rpc.example"):
        assert secret not in shown


def test_keys_come_from_files(tmp_path: Path) -> None:
    """Several wallets, each from the file that solana-keygen writes."""
    keypairs = [Keypair(), Keypair()]
    for number, keypair in enumerate(keypairs):
        file = tmp_path / f"{number}.json"
        file.write_text(json.dumps(list(bytes(keypair))))
        file.chmod(0o600)
    files = [f"{tmp_path}/0.json", f"{tmp_path}/1.json"]
    config = load(tmp_path, f"[keys]\nfiles = {files}")
    assert config.wallets == tuple(str(keypair.pubkey()) for keypair in keypairs)


def test_targets_of_each_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several at once, with keys that come from the environment."""
    monkeypatch.setenv("ASTRALANE_KEY", "a-key")
    config = load(
        tmp_path,
        """
        [[targets]]
        kind = "helius_sender"
        [[targets]]
        kind = "astralane"
        api_key_env = "ASTRALANE_KEY"
        region = "ams"
        [[targets]]
        kind = "custom"
        url = "https://else.example"
        label = "mine"
        [confirm_with]
        url = "https://node.example"
        """,
    )
    labels = [target.label for target in config.targets]
    assert labels == ["helius_sender", "astralane", "mine"]
    assert config.targets[1].headers["api-key"].reveal() == "a-key"
    assert config.confirm_with is not None
    assert config.confirm_with.url.reveal() == "https://node.example"


def test_mirror_buys(tmp_path: Path) -> None:
    """What may be spent is told to the server and to the guard alike."""
    leader, payer = made_up_key("leader"), made_up_key("payer")
    config = load(
        tmp_path,
        f"""
        [[mirror.watch_wallets]]
        pubkey = "{leader}"
        auto_buy = {{ wallet_pubkey = "{payer}", amount_quote_units = 7 }}
        [[mirror.watch_wallets]]
        pubkey = "{payer}"
        [mirror.config]
        cooldown_sec = 5
        """,
    )
    auto_buy = AutoBuy(wallet_pubkey=payer, amount_quote_units=7)
    assert config.mirror_buys == {leader: auto_buy}
    assert [w.auto_buy for w in config.configure.watch_wallets] == [auto_buy, None]
    assert config.configure.mirror_config is not None
    assert config.configure.mirror_config.cooldown_sec == 5


@pytest.mark.parametrize(
    ("guard", "looks_inside"),
    [('policy = "default"', True), ('policy = "signer_only"', False), ("", True)],
)
def test_policies(tmp_path: Path, guard: str, looks_inside: bool) -> None:
    """The default looks inside; less must be said."""
    assert load(tmp_path, f"[guard]\n{guard}").policy.looks_inside is looks_inside


def test_programs_can_be_trusted(tmp_path: Path) -> None:
    """A program that one vouches for is added to the policy."""
    program = made_up_key("program")
    config = load(tmp_path, f'[guard]\ntrusted_programs = ["{program}"]')
    assert program in config.policy.trusted_programs


def test_the_environment_names_the_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LASERSELL_JOURNAL comes before the file, and the file before the default."""
    assert load(tmp_path, '[journal]\npath = "/j.db"').journal == Path("/j.db")
    monkeypatch.setenv("LASERSELL_JOURNAL", "/env.db")
    assert load(tmp_path, '[journal]\npath = "/j.db"').journal == Path("/env.db")


def test_the_journal_has_a_place_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Among the state of the user."""
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert default_journal() == Path("/state/lasersell/journal.db")
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", "/home/me")
    assert default_journal() == Path("/home/me/.local/state/lasersell/journal.db")


@pytest.mark.parametrize(("value", "expected"), [("1", True), ("0", False)])
def test_the_environment_decides_on_a_dry_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str, expected: bool
) -> None:
    """LASERSELL_DRY_RUN comes before the file."""
    monkeypatch.setenv("LASERSELL_DRY_RUN", value)
    text = f"[exits]\ndry_run = {str(not expected).lower()}"
    assert load(tmp_path, text).settings.dry_run is expected


_MISTAKES = {
    "[strem]": "there is no table [strem]; did you mean 'stream'?",
    "[stream]\nping_intervall = 5": "[stream] has no 'ping_intervall'; did you mean "
    "'ping_interval'?",
    "[stream]\nping_interval = -5": "[stream] ping_interval must be a number",
    '[stream]\napi_key = "x"': "[stream] must not hold the api_key itself",
    '[stream]\nendpoint_env = "NOT_SET"': "'NOT_SET', which is not set",
    "[stream]\nendpoint_env = 5": "5, which is not set",
    "[stream]\nssl_context = 5": "[stream] has no 'ssl_context'",
    "[configure]\ndeadline_timeout_sec = -1": "[configure]",
    "[exits]\nmax_attempts = 0": "[exits] max_attempts must be a whole number from 1",
    "[exits]\ndry_run = 5": "[exits] dry_run must be True or False",
    "[exits]\nslippage_bps = 4000": "[exits] slippage_bps 4000 is over",
    "[guard]\npolicy = 'none'": "[guard] policy must be",
    "[guard]\npolicy = 'signer_only'\nmax_fee_bps = 5": "[guard] policy must be",
    "[guard]\nmax_fee = 5": "[guard] a Policy has no such limit",
    "[keys]\nfiles = 'x.json'": "[keys] files must be a list",
    "[keys]\nfiles = ['/nowhere/x.json']": "[keys] cannot read the key file",
    "[targets]\nkind = 'rpc'": "write [[targets]]",
    "[[targets]]\nkind = 'jito'": "[targets] kind must be one of rpc, helius_sender",
    "[[targets]]\nkind = 'custom'": "[targets] needs 'url'",
    "[[targets]]\nkind = 'rpc'\nurl = 'http://far.example'": "[targets] the URL of",
    "[confirm_with]\nkind = 'x'": "[confirm_with] kind must be",
    "[mirror]\nwallets = 5": "[mirror] has no 'wallets'; did you mean 'watch_wallets'?",
    "[[mirror.watch_wallets]]\npubkey = 'x'": "[configure] watch_wallets[0].pubkey",
    "[[mirror.watch_wallets]]\npubkey = 'x'\nauto_buy = 5": "auto_buy] must be a table",
    "[loss_cap]\nlamports = 1.5": "[loss_cap] lamports must be a whole number",
    "[run]\nregister_wallets = true": "[run] register_wallets needs a table [api]",
    "[run]\nkill_file = 5": "[run] 'kill_file' must be",
    "[journal]\nfile = 'x'": "[journal] has no 'file'; there are path",
    "[api]\nbase_url = 'ftp://x'": "[api] base_url must be",
}


@pytest.mark.parametrize("text", _MISTAKES)
def test_a_mistake_is_named(tmp_path: Path, text: str) -> None:
    """The error names the file, the table and the key, and says what to do."""
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, text)
    assert _MISTAKES[text] in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / "config.toml"))
    assert API_KEY not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "strategy = 5",
        "[strategy]\ntarget_profit = 5",
        "[strategy]\ntarget_profit_pct = 'x'",
        "[strategy]\ntake_profit_levels = 5",
        "[strategy]\ntake_profit_levels = [{ profit_pct = 5 }]",
    ],
)
def test_a_strategy_is_needed(tmp_path: Path, text: str) -> None:
    """One with nothing set, or with something else, is refused."""
    path = tmp_path / "config.toml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match="strategy"):
        load_config(path)


def test_a_wrong_dry_run_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A word in its variable is not taken for yes or no."""
    monkeypatch.setenv("LASERSELL_DRY_RUN", "yes")
    with pytest.raises(ConfigurationError, match="LASERSELL_DRY_RUN must be 0 or 1"):
        load(tmp_path, "")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """And so is one that is no TOML."""
    with pytest.raises(ConfigurationError, match="cannot read"):
        load_config(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_bytes(b"\xff = 1")
    with pytest.raises(ConfigurationError, match="is not TOML"):
        load_config(tmp_path / "bad.toml")


def test_a_missing_parser_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where Python has none and the extra is not installed, it says what to install."""
    parser = "tomllib" if sys.version_info >= (3, 11) else "tomli"
    modules: Any = sys.modules
    monkeypatch.setitem(modules, parser, None)
    with pytest.raises(MissingExtraError, match=r"lasersell\[cli\]"):
        load(tmp_path, "")
