"""
A worker of a group as a process of its own: an auto-exit that writes down what it handled.

Its arguments: Redis, the node, the journal, and the file it appends to.
"""

from __future__ import annotations

import json
import logging
import os
import sys

from solders.keypair import Keypair

from lasersell._clock import SYSTEM_CLOCK
from lasersell.exits.auto_exit import AutoExit
from lasersell.exits.auto_plan import AutoExitSettings
from lasersell.exits.keys import WalletKey
from lasersell.exits.submit import Submitter
from lasersell.exits.targets import SendTarget
from lasersell.relay import RelayEvent, RelaySession

KEY = Keypair.from_seed(bytes([1]) * 32)
_SETTINGS = AutoExitSettings(
    # As much patience as a run needs in which everything dies all the time.
    max_signal_age=600.0,
    max_attempts=100,
    max_asks=100,
    ask_timeout=2.0,
    resend_interval=0.5,
    look_interval=0.2,
    blockhash_lifetime=60.0,
)


def main(url: str, rpc: str, journal: str, handled: str) -> None:
    """Handle signals until killed."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s")
    file = os.open(handled, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    with (
        RelaySession.connect(url, group="sellers", command_timeout=2.0) as session,
        Submitter([SendTarget.rpc(rpc)], timeout=5.0) as submitter,
        AutoExit(
            session, WalletKey(KEY), submitter, settings=_SETTINGS, journal=journal
        ) as auto,
    ):
        for event in session:
            auto.handle(event)
            if isinstance(event, RelayEvent) and event.type == "exit_signal_with_tx":
                os.write(file, _line_of(event))


def _line_of(event: RelayEvent) -> bytes:
    handle = event.handle
    assert handle is not None, "an exit signal has one"
    facts = {
        "id": event.id,
        "account": handle.token_account,
        "at": SYSTEM_CLOCK.monotonic(),
        "published_at": event.arrival.at,
        "deliveries": event.deliveries,
        "pid": os.getpid(),
    }
    return json.dumps(facts).encode() + b"\n"


if __name__ == "__main__":
    main(*sys.argv[1:])
