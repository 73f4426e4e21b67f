from __future__ import annotations

from itertools import count, pairwise

from lasersell.sim.market import Pool
from lasersell.sim.paths import ProfitPath, RandomWalk, Still, proceeds_at

_POOL = Pool(85_000_000_000, 200_000_000_000_000)


def _walk(seed: str, **options: float) -> list[Pool]:
    path = RandomWalk(seed, **options)
    pools = [_POOL]
    for _ in range(50):
        pools.append(path.move(pools[-1]))
    return pools


def test_the_same_seed_walks_the_same_way() -> None:
    """Two walks of one seed are equal to the unit, those of two seeds are not."""
    assert _walk("7:mint") == _walk("7:mint")
    assert _walk("7:mint") != _walk("8:mint")


def test_a_walk_moves_by_about_its_volatility() -> None:
    """The steps of a walk are of the size asked for."""
    pools = _walk("7:mint", volatility_pct=1.0)
    prices = [pool.quote_reserve / pool.token_reserve for pool in pools]
    steps = [abs(b / a - 1) for a, b in pairwise(prices)]
    assert 0.004 < sum(steps) / len(steps) < 0.016


def test_drift_decides_where_a_walk_without_volatility_goes() -> None:
    """A walk that only drifts rises at every step."""
    pools = _walk("7:mint", volatility_pct=0.0, drift_pct=1.0)
    reserves = [pool.quote_reserve for pool in pools]
    assert reserves == sorted(set(reserves))


def test_still_does_not_move() -> None:
    """A price that stands still stays where it is."""
    assert Still().move(_POOL) == _POOL


def test_a_script_gives_a_position_its_profits_tick_by_tick() -> None:
    """Each tick has the next scripted profit; after the last it stays."""
    path = ProfitPath(10**11, 100_000_000, [0, 5, -1.5])
    pool = _POOL
    proceeds = []
    for _ in range(4):
        pool = path.move(pool)
        proceeds.append(pool.proceeds(10**11))
    assert proceeds == [100_000_000, 105_000_000, 98_500_000, 98_500_000]


def test_a_script_may_be_endless() -> None:
    """A script is read only as far as it is played."""
    path = ProfitPath(10**11, 100_000_000, count())
    path.move(_POOL)
    assert path.move(_POOL).proceeds(10**11) == 101_000_000


def test_nobody_pays_for_taking_tokens() -> None:
    """A loss of more than everything is a loss of everything."""
    assert proceeds_at(1000, -100) == 0
    assert proceeds_at(1000, -250) == 0
