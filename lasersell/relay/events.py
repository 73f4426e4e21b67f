"""
What a subscriber's ``recv()`` returns and its callbacks get.
"""

from __future__ import annotations

from lasersell.session.events import StreamEvent

__all__ = ["RelayEvent"]


class RelayEvent(StreamEvent, eq=False, gc=False):
    """
    A :class:`~lasersell.session.events.StreamEvent` that came over a relay.

    ``arrival`` is when it came to the publisher, so that the age of a signal counts from
    there.
    """

    id: str = ""
    """
    What tells an event of the high lane from every other; the same if it comes again.

    Empty for low events, and for those that were born here.
    """
    deliveries: int = 1
    """How often a group has handed it to a worker, this time included."""
    entry: bytes = b""
    """Its entry in Redis, of a signal that a group handed to this worker."""
