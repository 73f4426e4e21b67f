from __future__ import annotations

from lasersell.sim.orders import Orders, PendingBuy, PendingExit


def test_exits_of_an_account_are_told_apart_by_level() -> None:
    """Partial exits wait beside each other; the last signal is the last."""
    orders = Orders()
    first = PendingExit("target_profit", None, 0, 250)
    second = PendingExit("target_profit", None, 1, 375)
    orders.expect_exit("account", first)
    orders.expect_exit("account", second)
    assert orders.last_exit("account") == second
    orders.forget_exit("account", 1)
    assert orders.last_exit("account") == first
    orders.forget_exits("account")
    assert orders.last_exit("account") is None


def test_a_refreshed_signal_is_the_last_one_again() -> None:
    """A signal sent again replaces itself, and is newer than all others."""
    orders = Orders()
    for level in (0, 1):
        orders.expect_exit("account", PendingExit("target_profit", None, level, 1))
    fresh = PendingExit("target_profit", None, 0, 2)
    orders.expect_exit("account", fresh)
    assert orders.last_exit("account") == fresh


def test_a_sale_that_has_its_time_keeps_it() -> None:
    """A second signal does not put a sale off; one without a time is replaced."""
    orders = Orders()
    orders.expect_exit("account", PendingExit("stop_loss", None))
    orders.expect_exit("account", PendingExit("stop_loss", 5))
    orders.expect_exit("account", PendingExit("sell_now", 9))
    assert orders.due_exits(4) == []
    assert orders.due_exits(5) == [("account", PendingExit("stop_loss", 5))]


def test_a_buy_is_one_of_a_wallet_and_a_token() -> None:
    """Buys are found by wallet and by time, and forgotten one by one."""
    orders = Orders()
    mine = PendingBuy("mine", "mint", 100, "watched", due_ms=7)
    other = PendingBuy("other", "mint", 100, "watched")
    orders.expect_buy(mine)
    orders.expect_buy(other)
    assert orders.buys() == [mine, other]
    assert orders.buys(["other"]) == [other]
    assert (orders.due_buys(6), orders.due_buys(7)) == ([], [mine])
    orders.forget_buy(mine)
    assert orders.buys() == [other]


def test_what_is_not_under_way_can_be_forgotten() -> None:
    """Forgetting twice does no harm."""
    orders = Orders()
    orders.forget_exit("account", None)
    orders.forget_exits("account")
    orders.forget_buy(PendingBuy("wallet", "mint", 1, "watched"))
    assert orders.due_exits(10**15) == []
