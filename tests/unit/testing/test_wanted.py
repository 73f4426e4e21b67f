from __future__ import annotations

import pytest

from lasersell.errors import ConfigurationError
from lasersell.protocol.client import Ping
from lasersell.testing.wanted import Wanted


def test_a_type_of_the_wire_stands_for_its_class() -> None:
    """A message may be named as the wire names it; another name is a mistake."""
    assert Wanted.of("ping", {}) == Wanted.of(Ping, {})
    with pytest.raises(ConfigurationError, match=r"type 'pign'; there are .*ping"):
        Wanted.of("pign", {})


def test_only_the_fields_that_are_named_matter() -> None:
    """A message meets it where all of them are equal, and there are no others."""
    ping = Ping(client_time_ms=7)
    assert Wanted.of("ping", {}).is_met_by(ping)
    assert Wanted.of("ping", {"client_time_ms": 7}).is_met_by(ping)
    assert not Wanted.of("ping", {"client_time_ms": 8}).is_met_by(ping)
    assert not Wanted.of("ping", {"nonsense": 7}).is_met_by(ping)


def test_it_is_shown_as_it_was_written() -> None:
    """The words of a failed step name type and fields."""
    assert str(Wanted.of(Ping, {"client_time_ms": 7})) == "ping client_time_ms=7"
    assert str(Wanted.of(dict, {})) == "dict"
