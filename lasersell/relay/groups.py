"""
The groups of a relay's high stream.
"""

from __future__ import annotations

from typing import Literal

from lasersell.errors import RelayConnectError
from lasersell.relay.keys import Keys
from lasersell.relay.link import RedisLink

__all__ = ["make_group"]


def make_group(
    link: RedisLink, keys: Keys, group: str, start: Literal["0", "$"]
) -> None:
    """
    Make a group, if there is none.

    Args:
        link: The way to Redis.
        keys: Of the relay.
        group: Its name.
        start: ``$``: it gets what comes from now on; ``0``: what is there already too.

    Raises:
        RelayConnectError: Redis is away.
    """
    try:
        link.execute("XGROUP", "CREATE", keys.high, group, start, "MKSTREAM")
    except RelayConnectError as error:
        if "BUSYGROUP" not in str(error):
            raise
