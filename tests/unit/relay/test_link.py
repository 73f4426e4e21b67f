from __future__ import annotations

import subprocess
import sys

import pytest

from lasersell.errors import ConfigurationError
from lasersell.relay.keys import Keys
from lasersell.relay.link import RedisClock


def test_the_clock_of_redis_is_that_of_the_quickest_answer() -> None:
    """An answer that took long says little about when it was given."""
    clock = RedisClock()
    clock.learn(1_000_000.0, 10.0, 12.0)
    clock.learn(1_004_000.0, 15.0, 15.002)
    assert clock.to_redis(15.001) == pytest.approx(1_004_000.0)
    clock.learn(9_999_999.0, 20.0, 23.0)
    assert clock.to_redis(15.001) == pytest.approx(1_004_000.0)
    assert clock.to_local(clock.to_redis(42.0)) == pytest.approx(42.0)


def test_the_clock_of_redis_is_learnt_anew_in_the_end() -> None:
    """Clocks drift: a quick answer of long ago does not count for ever."""
    clock = RedisClock()
    clock.learn(0.0, 0.0, 0.001)
    for second in range(1, 40):
        clock.learn(1000.0 * second + 500.0, second, second + 0.01)
    assert clock.to_redis(50.0) == pytest.approx(50_500.0, abs=10.0)


def test_the_keys_of_a_relay_are_in_one_slot() -> None:
    """A cluster runs our scripts only then; two relays share nothing."""
    one, two = Keys("one"), Keys("two")
    names = [one.lease, one.meta, one.high, one.low, one.positions, one.latest]
    names += [one.intent, one.commands, one.answer("x"), one.workers("g")]
    assert len(set(names)) == len(names)
    assert all("{one}" in name for name in names)
    assert two.high not in names


@pytest.mark.parametrize("name", ["", "a b", "{a}", "a" * 101, 7, None])
def test_a_name_that_is_no_part_of_a_key_is_refused(name: object) -> None:
    """Such as one that would put the keys into another slot."""
    with pytest.raises(ConfigurationError, match="name must be"):
        Keys(name)  # type: ignore[arg-type]


def test_without_redis_the_package_imports_and_says_what_is_missing() -> None:
    """A bare install learns the command that installs the extra."""
    code = (
        "import sys; sys.modules['redis'] = None\n"
        "from lasersell.relay import RelaySession\n"
        "try:\n"
        "    RelaySession.connect('redis://localhost')\n"
        "except Exception as error:\n"
        "    print(type(error).__name__, error)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.startswith("MissingExtraError")
    assert "pip install 'lasersell[relay]'" in result.stdout
