from __future__ import annotations

from lasersell.sim.blockhashes import LIFETIME_SLOTS, Blockhashes


def test_a_block_hash_is_that_of_its_slot() -> None:
    """The same slot gives the same one, a later slot another, in every run."""
    blockhashes = Blockhashes()
    assert blockhashes.latest(7) == blockhashes.latest(7) == Blockhashes().latest(7)
    assert blockhashes.latest(8) != blockhashes.latest(7)


def test_a_block_hash_is_good_for_about_a_minute() -> None:
    """It is valid from its slot on, for 150 slots; one nobody handed out never is."""
    blockhashes = Blockhashes()
    blockhash = blockhashes.latest(7)
    assert blockhashes.is_valid(blockhash, 7 + LIFETIME_SLOTS)
    assert not blockhashes.is_valid(blockhash, 8 + LIFETIME_SLOTS)
    assert not blockhashes.is_valid(Blockhashes().latest(9), 9)


def test_expired_ones_do_not_come_back() -> None:
    """After the expiry the same slot hands out another one."""
    blockhashes = Blockhashes()
    old = blockhashes.latest(7)
    blockhashes.expire()
    assert not blockhashes.is_valid(old, 7)
    assert blockhashes.latest(7) != old
    assert blockhashes.is_valid(blockhashes.latest(7), 7)
