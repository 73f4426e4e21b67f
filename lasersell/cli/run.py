"""``lasersell run``: sell each position that an exit signal names, until it is stopped."""

from __future__ import annotations

import contextlib
import logging
import sys
from pathlib import Path

import attrs
import click

from lasersell.cli.attach import SnapshotServer, socket_path
from lasersell.cli.codes import (
    EXIT_CODES,
    FAILED,
    IN_USE,
    LEFT_UNDER_WAY,
    STOPPED,
    code_of,
    code_table,
)
from lasersell.cli.common import Common, command, force_option, pass_common
from lasersell.cli.monitor import EventLog, Monitor
from lasersell.cli.notify import notify
from lasersell.cli.signals import Signals
from lasersell.errors import (
    ConfigurationError,
    LaserSellError,
    MissingExtraError,
    SessionInUseError,
)
from lasersell.exits.accounts import AccountReader
from lasersell.exits.auto_events import AutoExitEvent
from lasersell.exits.auto_exit import AutoExit
from lasersell.exits.config import RunConfig, load_config
from lasersell.exits.connect import connect_with_wallets
from lasersell.exits.guard.source import AccountSource
from lasersell.exits.journal_report import JournalReader
from lasersell.exits.submit import Submitter
from lasersell.exits.targets import SendTarget
from lasersell.session.exclusive import KeyHold, hold
from lasersell.session.session import StreamSession

__all__ = ["run"]

log = logging.getLogger(__name__)


class _Busy(Exception):
    """Another process does what we want to do."""


class _Stopped(Exception):
    """A signal came before there was anything to finish."""


@command(epilog=code_table(*EXIT_CODES), log_level="info")
@click.option(
    "-c",
    "--config",
    "path",
    type=click.Path(path_type=Path),
    required=True,
    envvar="LASERSELL_CONFIG",
    help="The TOML file; also LASERSELL_CONFIG.",
)
@click.option("--check", is_flag=True, help="Check the configuration, and end.")
@click.option("--dry-run", is_flag=True, help="Do everything but submit.")
@click.option(
    "--stand-by/--no-stand-by",
    default=True,
    show_default=True,
    help="Wait while another process does the same, and take over when it ends.",
)
@force_option
@pass_common
def run(
    common: Common, path: Path, check: bool, dry_run: bool, stand_by: bool, force: bool
) -> None:
    """
    Sell each position that an exit signal names, exactly once, until stopped.

    SIGTERM and Ctrl-C finish what is under way; a second one does not wait. While it
    runs, `lasersell watch` shows what it does. With --json its log is JSON.

    --force does not let two sell for one wallet.
    """
    config = load_config(path, endpoint=common.endpoint, api_key=common.api_key)
    if dry_run:
        settings = attrs.evolve(config.settings, dry_run=True)
        config = attrs.evolve(config, settings=settings)
    if check:
        _check(config, common)
        return
    sys.exit(_run(config, stand_by=stand_by, force=force))


def _check(config: RunConfig, common: Common) -> None:
    under_way = 0
    if config.journal.exists():
        with JournalReader(config.journal) as reader:
            under_way = sum(sale.outcome is None for sale in reader.sales())
    facts = {
        "journal": str(config.journal),
        "exits under way": under_way,
        "stream": config.client.options.endpoint,
        "wallets": list(config.wallets),
        "targets": [target.label for target in config.targets],
        "mirror buys": config.mirror_buys is not None,
        "dry run": config.settings.dry_run,
    }
    told = [f"{name}: {_told(value)}" for name, value in facts.items()]
    text = "\n".join([*told, "the configuration is good"])
    common.announce(text, **{name.replace(" ", "_"): v for name, v in facts.items()})


def _told(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(value) if isinstance(value, list) else str(value)


def _run(config: RunConfig, *, stand_by: bool, force: bool) -> int:
    with Signals() as signals:
        try:
            code = _Daemon(config, signals, stand_by=stand_by, force=force).run()
        except (ConfigurationError, MissingExtraError):
            raise
        except LaserSellError as error:
            log.error("%s", error)
            return code_of(error)
        except _Busy as error:
            log.error("%s", error)
            return IN_USE
        except _Stopped:
            code = STOPPED
        except Exception:
            log.exception("a mistake of ours; please report it")
            return FAILED
    log.info("%s", EXIT_CODES[code])
    return code


class _Daemon:
    """
    One run: hold what must be ours alone, connect, sell, finish.

    Args:
        config: What to do.
        signals: Who asks us to end.
        stand_by: Whether to wait while another process does it.
        force: Whether to open a stream even if another process holds that of the key.
    """

    def __init__(
        self, config: RunConfig, signals: Signals, *, stand_by: bool, force: bool
    ) -> None:
        self._config = config
        self._signals = signals
        self._stand_by = stand_by
        self._force = force
        self._events = EventLog()
        self._stack = contextlib.ExitStack()

    def run(self) -> int:
        """Run until a signal or the end of the stream; return the exit code."""
        with self._stack:
            return self._run()

    def _run(self) -> int:
        config = self._config
        for wallet in sorted(config.wallets):
            # Two that sell for one wallet would each sell what the other has under way,
            # also where the service allows both of them a stream.
            self._hold(f"wallet {wallet}", f"the wallet {wallet}", slots=1)
        key = config.client.options.api_key.reveal()
        key_hold = None
        if not self._force:
            key_hold = self._hold(key, "the stream of this API key")
        if config.api is not None:
            self._stack.enter_context(config.api)
        submitter = self._stack.enter_context(
            Submitter(config.targets, confirm_with=config.confirm_with)
        )
        accounts = self._stack.enter_context(AccountReader(_rpc_of(config)))
        session = self._stack.enter_context(self._connect())
        if key_hold is not None:
            self._let_watch(session, key, key_hold)
        auto = _auto_exit(config, session, submitter, accounts, self._events)
        submitter.keep_warm()
        return self._serve(session, auto)

    def _let_watch(self, session: StreamSession, key: str, key_hold: KeyHold) -> None:
        """Tell other processes what we hold, and show those of this user what we do."""
        if session.limits is not None:
            key_hold.allow(session.limits.max_sessions_per_api_key)
        config = self._config
        monitor = Monitor(
            session, config.client.options.endpoint, config.wallets, self._events
        )
        path = socket_path(key, key_hold.slot)
        self._stack.enter_context(SnapshotServer(path, monitor.snapshot))

    def _hold(self, key: str, what: str, slots: int | None = None) -> KeyHold:
        try:
            key_hold = hold(
                key,
                slots=slots,
                wait=self._stand_by,
                stop=self._signals.stop,
                what=what,
            )
        except SessionInUseError as error:
            if self._signals.stop.is_set():
                raise _Stopped from error
            holder = "another process" if error.pid is None else f"process {error.pid}"
            raise _Busy(f"{holder} holds {what}") from error
        return self._stack.enter_context(key_hold)

    def _connect(self) -> StreamSession:
        config = self._config
        if not config.run.register_wallets:
            session = StreamSession.connect(config.client, config.configure)
        else:
            assert config.api is not None, "checked with the configuration"
            session = connect_with_wallets(
                config.api, config.client, config.configure, config.keys
            )
        return session

    def _serve(self, session: StreamSession, auto: AutoExit) -> int:
        signals = self._signals
        signals.then(session.close)
        wallets = self._config.wallets
        notify(READY="1", STATUS=f"selling for {len(wallets)} wallets")
        log.info("selling for %s", ", ".join(wallets))
        try:
            auto.run()
        finally:
            timeout = self._config.run.stop_timeout
            notify(STOPPING="1")
            why = signals.name or "the stream has ended"
            log.info("%s: finishing what is under way, %g s at most", why, timeout)
            # Who asks again does not want to wait.
            signals.then(lambda: auto.close(timeout=0))
            is_done = auto.close(timeout=timeout)
        return STOPPED if is_done else LEFT_UNDER_WAY


def _rpc_of(config: RunConfig) -> SendTarget | None:
    """Return the node that the guard asks; None is the one of the environment."""
    tellers = [target for target in config.targets if target.takes_rpc]
    return config.confirm_with or next(iter(tellers), None)


def _auto_exit(
    config: RunConfig,
    session: StreamSession,
    submitter: Submitter,
    accounts: AccountSource,
    events: EventLog,
) -> AutoExit:
    kill_file = config.run.kill_file
    return AutoExit(
        session,
        config.keys,
        submitter,
        settings=config.settings,
        journal=config.journal,
        policy=config.policy,
        accounts=accounts,
        api=config.api,
        mirror_buys=config.mirror_buys,
        loss_cap=config.loss_cap,
        kill_file=None if kill_file is None else Path(kill_file).expanduser(),
        on_event=lambda event: _say(event, events),
    )


def _say(event: AutoExitEvent, events: EventLog) -> None:
    # That a signal came, the session has told already.
    if event.type != "signal":
        events.say(str(event), "warning" if event.is_warning else "plain")
