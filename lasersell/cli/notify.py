"""Tell systemd how we are, where it asked to be told (``Type=notify``)."""

from __future__ import annotations

import logging
import os
import socket

__all__ = ["notify"]

log = logging.getLogger(__name__)

SOCKET_VARIABLE = "NOTIFY_SOCKET"


def notify(**state: str) -> None:
    """
    Send a state such as ``READY="1"``; does nothing where nobody listens.

    The protocol is that of sd_notify(3): one datagram of ``NAME=value`` lines.
    """
    address = os.environ.get(SOCKET_VARIABLE)
    if not address or not hasattr(socket, "AF_UNIX"):
        return
    if address.startswith("@"):
        address = "\0" + address[1:]  # a name of Linux that is in no directory
    text = "\n".join(f"{name}={value}" for name, value in state.items())
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(text.encode(), address)
    except OSError as error:
        log.warning("systemd was not told %s: %s", text, error.strerror)
