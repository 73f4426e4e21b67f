"""A real kernel, spoken to as a notebook does."""

from __future__ import annotations

import contextlib
import queue
from collections.abc import Iterator
from typing import Any

import attrs
import zmq
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

from lasersell._clock import Deadline

__all__ = ["Kernel", "Ran", "started_kernel"]

PATIENCE = 30.0
"""Seconds that only a failing test waits."""


@attrs.define
class Ran:
    """What a cell did."""

    status: str = "running"
    text: str = ""
    """What it printed, its results as text, and its traceback."""
    html: list[str] = attrs.field(factory=list)
    """The HTML of its outputs."""
    updates: list[str] = attrs.field(factory=list)
    """The HTML that outputs were replaced with, since the cell began."""


class Kernel:
    """Runs cells, one at a time."""

    def __init__(self, manager: KernelManager, client: BlockingKernelClient) -> None:
        self._manager = manager
        self._client = client

    def run(self, code: str, *, cell_id: str | None = None) -> Ran:
        """Run a cell to its end."""
        return self.finish(self.begin(code, cell_id=cell_id))

    def begin(self, code: str, *, cell_id: str | None = None) -> str:
        """Start a cell and return the id of its request."""
        client = self._client
        content = {"code": code, "silent": False, "store_history": True}
        message = client.session.msg(
            "execute_request", content, metadata={"cellId": cell_id} if cell_id else {}
        )
        client.shell_channel.send(message)
        return str(message["header"]["msg_id"])

    def finish(self, request: str) -> Ran:
        """Wait for the end of a cell."""
        ran = Ran()
        for message in self._messages(request):
            if _is_idle(message):
                break
            _take(ran, message)
        reply = self._client.get_shell_msg(timeout=PATIENCE)
        while reply["parent_header"].get("msg_id") != request:
            reply = self._client.get_shell_msg(timeout=PATIENCE)
        ran.status = reply["content"]["status"]
        return ran

    def until_printed(self, request: str, text: str) -> None:
        """Wait until a cell has printed something."""
        ran = Ran()
        for message in self._messages(request):
            _take(ran, message)
            if text in ran.text:
                return
            assert not _is_idle(message), ran.text

    def until_updated(self, request: str) -> str:
        """Wait until a cell's output was replaced, and return with what."""
        ran = Ran()
        for message in self._messages(request):
            _take(ran, message)
            if ran.updates:
                return ran.updates[-1]
            assert not _is_idle(message), ran.text
        raise AssertionError("unreachable")

    def interrupt(self) -> None:
        """Interrupt what runs, as the stop button does."""
        self._manager.interrupt_kernel()

    def shut_down(self) -> None:
        """Ask the kernel to end, as closing a notebook does, and wait until it has."""
        # They would connect again and again, and open descriptors for it.
        self._client.stop_channels()
        # After this it is killed.
        self._manager.shutdown_wait_time = PATIENCE
        self._manager.shutdown_kernel(now=False)

    def _messages(self, request: str) -> Iterator[dict[str, Any]]:
        deadline = Deadline(PATIENCE)
        while True:
            try:
                message = self._client.get_iopub_msg(timeout=deadline.remaining())
            except queue.Empty:
                raise AssertionError("the kernel says nothing more") from None
            if message["parent_header"].get("msg_id") == request:
                yield message


def _is_idle(message: dict[str, Any]) -> bool:
    state = message["content"].get("execution_state")
    return message["msg_type"] == "status" and bool(state == "idle")


def _take(ran: Ran, message: dict[str, Any]) -> None:
    content = message["content"]
    data = content.get("data", {})
    if message["msg_type"] == "update_display_data":
        ran.updates.append(data["text/html"])
        return
    ran.text += content.get("text", "") + data.get("text/plain", "")
    ran.text += "\n".join(content.get("traceback", ()))
    if "text/html" in data:
        ran.html.append(data["text/html"])


@contextlib.contextmanager
def started_kernel() -> Iterator[Kernel]:
    """Start a kernel of this Python, and shut it down."""
    context = zmq.Context()
    manager = KernelManager(kernel_name="python3", context=context)
    manager.start_kernel()
    try:
        client = manager.client()
        client.start_channels()
        try:
            client.wait_for_ready(timeout=PATIENCE)
            yield Kernel(manager, client)
        finally:
            client.stop_channels()
    finally:
        manager.shutdown_kernel(now=True)
        manager.cleanup_resources()
        context.destroy(linger=0)
