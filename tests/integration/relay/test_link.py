from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from lasersell.errors import RelayConnectError
from lasersell.relay.link import RedisLink
from lasersell.relay.scripts import RENEW
from tests.integration.relay.redis_server import RedisServer, free_port

pytestmark = pytest.mark.slow


@pytest.fixture
def link(redis_server: RedisServer) -> Iterator[RedisLink]:
    """Return one with a connection of its own."""
    shared = RedisLink(redis_server.url)
    link = shared.dedicated()
    yield link
    link.close()
    shared.close()


@contextlib.contextmanager
def _after_sending(link: RedisLink, do: Any) -> Iterator[None]:
    """Do something in a command of a link when it was sent, and its answer not read."""
    connection = vars(link)["_connection"]
    send = connection.send_packed_command

    def send_and_do(*arguments: Any, **options: Any) -> None:
        send(*arguments, **options)
        do()

    connection.send_packed_command = send_and_do
    try:
        yield
    finally:
        connection.send_packed_command = send


def test_the_answer_to_a_command_that_was_interrupted_is_not_that_of_the_next(
    link: RedisLink,
) -> None:
    """Whoever runs a publisher in the main thread may press Ctrl-C at any place."""

    def interrupt() -> None:
        raise KeyboardInterrupt

    assert link.execute("ECHO", "first") == b"first"
    with _after_sending(link, interrupt), pytest.raises(KeyboardInterrupt):
        link.execute("ECHO", "interrupted")
    assert link.execute("ECHO", "next") == b"next"


def test_a_link_that_is_closed_in_the_middle_of_a_command_says_so(
    link: RedisLink,
) -> None:
    """As the relay's error for a broken connection, and it stays closed."""
    assert link.execute("ECHO", "first") == b"first"
    with (
        _after_sending(link, link.close),
        pytest.raises(RelayConnectError, match="broke: it was closed"),
    ):
        link.execute("ECHO", "second")
    with pytest.raises(RelayConnectError, match="broke: it is closed"):
        link.execute("ECHO", "third")


def test_an_error_that_redis_answers_costs_no_connection(link: RedisLink) -> None:
    """Others know the connection by its id, to have it let go."""
    connection = link.execute("CLIENT", "ID")
    with pytest.raises(RelayConnectError, match="wrong number"):
        link.execute("GET")
    assert link.run(RENEW, ["a lease"], ["of nobody", "1000"]) == 0
    assert link.execute("CLIENT", "ID") == connection


@pytest.mark.parametrize("is_dedicated", [True, False])
def test_a_redis_that_takes_no_writes_any_more_is_looked_for_anew(
    redis_server: RedisServer, is_dedicated: bool
) -> None:
    """It was demoted, and its name may lead to the one that took over by now."""
    shared = RedisLink(redis_server.url)
    link = shared.dedicated() if is_dedicated else shared
    link.execute("SET", "a lease", "ours")
    before = link.execute("CLIENT", "ID")
    with redis_server.client() as client:
        client.replicaof("127.0.0.1", free_port())
        with pytest.raises(RelayConnectError, match="read only replica"):
            link.run(RENEW, ["a lease"], ["ours", "1000"])
        assert link.execute("CLIENT", "ID") != before
        client.replicaof("NO", "ONE")
    assert link.run(RENEW, ["a lease"], ["ours", "1000"]) == 1
    link.close()
    shared.close()
