"""One of many workers, on any host; ends after its first exit signal."""

from __future__ import annotations

import os

from lasersell.relay import RelaySession

with RelaySession.connect(
    os.environ["LASERSELL_REDIS_URL"], group="sellers"
) as session:
    for event in session:
        if event.type == "position_opened":
            print(f"opened: {event.handle}")
        elif event.type == "exit_signal_with_tx":
            print(f"exit: {event.handle}, sign and send it here")
            session.recv(timeout=5)  # asking for the next event acknowledges this one
            break
