"""At the limits of the machine: no descriptor left, no thread left."""

from __future__ import annotations

import contextlib
import itertools
import os
import resource
import threading
from collections.abc import Iterator

import pytest

from lasersell.errors import ConnectError
from lasersell.exits.http import Endpoint, HttpFailure
from lasersell.stream import supervisor
from tests.faults.client import connect, wait_for
from tests.faults.raw_server import Peer, RawServer, live
from tests.patience import PATIENCE


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


@contextlib.contextmanager
def _descriptors_left(number: int) -> Iterator[None]:
    """Let this process open only so many more descriptors."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = (fd for fd in itertools.count() if not _is_open(fd))
    first_too_many = next(itertools.islice(free, number, None))
    resource.setrlimit(resource.RLIMIT_NOFILE, (first_too_many, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("left", [0, 1, 2, 3])
def test_no_descriptor_left_is_a_connect_error(left: int) -> None:
    """Wherever the descriptors run out, connect() says so and leaves none behind."""
    with (
        RawServer(live) as server,
        pytest.raises(ConnectError, match="open files"),
        _descriptors_left(left),
    ):
        connect(server.endpoint)


@pytest.mark.parametrize("left", [0, 1, 2])
def test_no_descriptor_left_is_a_failed_request(left: int) -> None:
    """A request for which no connection could be made was never sent."""
    endpoint = Endpoint("http://127.0.0.1:1", name="the URL", connect_timeout=1.0)
    with (
        pytest.raises(HttpFailure, match="open files") as caught,
        _descriptors_left(left),
    ):
        endpoint.request("GET", timeout=1.0)
    assert not caught.value.was_sent


def _refuse_threads(monkeypatch: pytest.MonkeyPatch, name: str, times: int) -> None:
    start = threading.Thread.start
    left = times

    def start_or_refuse(thread: threading.Thread) -> None:
        nonlocal left
        if left and thread.name.startswith(name):
            left -= 1
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_or_refuse)


@pytest.mark.parametrize("name", ["supervisor", "dns"])
def test_no_thread_left_is_a_connect_error(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever thread cannot be started, the first connect() says so."""
    _refuse_threads(monkeypatch, f"lasersell-{name}", 1)
    with RawServer(live) as server, pytest.raises(ConnectError, match="new thread"):
        connect(server.endpoint)


@pytest.mark.parametrize(
    ("name", "follows"),
    [
        ("dns", "disconnected connected hello_ok gap"),
        ("reader", "disconnected connected hello_ok gap " * 2),
    ],
)
def test_no_thread_for_a_reconnect_is_one_failed_try(
    name: str, follows: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A live stream that finds no thread tries again; what was told is taken back."""
    cut = threading.Event()

    def first(peer: Peer) -> None:
        peer.greet()
        cut.wait(PATIENCE)

    with RawServer(first, live) as server, connect(server.endpoint) as connection:
        _refuse_threads(monkeypatch, f"lasersell-{name}", 1)
        wait_for(connection, "hello_ok")
        cut.set()
        seen = []
        for _ in follows.split():
            message = connection.recv(timeout=PATIENCE)
            assert message is not None
            seen.append(message.type)
        assert seen == follows.split()
        connection.sender.ping()


def test_streams_that_end_while_the_program_exits_do_no_harm() -> None:
    """The exit hook goes over the streams while they leave the list by themselves."""
    over = threading.Event()

    def come_and_go() -> None:
        while not over.is_set():
            connect(server.endpoint).close()

    with RawServer(live) as server:
        thread = threading.Thread(target=come_and_go)
        thread.start()
        for _ in range(20_000):
            list(supervisor._alive)
        over.set()
        thread.join(PATIENCE)
