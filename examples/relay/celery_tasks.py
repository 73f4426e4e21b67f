"""Exit signals as Celery tasks: `python celery_tasks.py` beside `celery -A celery_tasks worker`."""

from __future__ import annotations

import os
from typing import Any

from celery import Celery

from lasersell.relay import RelayEvent, RelaySession

URL = os.environ["LASERSELL_REDIS_URL"]
app = Celery("lasersell", broker=URL)


def sell(event: dict[str, Any]) -> None:
    print(f"sell {event['position']['token_symbol']}: sign and send it here")


task = app.task(name="sell", acks_late=True)(sell)


if __name__ == "__main__":
    with RelaySession.connect(URL, group="celery") as session:
        for event in session:
            # Acknowledged once the broker has it; one that comes again has the same id.
            if isinstance(event, RelayEvent) and event.type == "exit_signal_with_tx":
                task.apply_async([event.to_dict()], task_id=event.id)
