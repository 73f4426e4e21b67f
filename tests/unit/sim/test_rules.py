"""
The rules, against formulas written a second time, on random price paths.

The formulas are those of section 7 of the protocol facts, in fractions. They see
only what a client sees: entry and size of ``position_opened``, balances, and profits.
Half of the paths walk at random, half in tenths of a percent, where they meet the
boundaries of the rules; on half of each the sales land, on half they never do.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import attrs
import pytest

from lasersell.protocol.server import (
    BalanceUpdate,
    ExitSignalWithTx,
    LiquiditySnapshot,
    PnlUpdate,
    PositionOpened,
    ServerMessage,
)
from lasersell.protocol.strategy import StrategyConfig, TakeProfitLevel
from lasersell.sim.readings import Readings
from tests.unit.sim.seeds import on_seeds
from tests.unit.sim.world import WALLET, World

_TICKS = 60

Fired = tuple[int, str, int | None, int | None]
"""Tick, reason, level, tokens of a partial exit."""


@attrs.define
class Path:
    """
    What a client saw of one position.

    Attributes:
        tokens: Its size when it was opened.
        held: What is left of it.
        entry: What that cost.
        ticks: Its profit in percent, and its size, on each tick.
        fired: Its exits.
    """

    tokens: int
    held: int
    entry: int
    ticks: list[tuple[Fraction, int]] = attrs.field(factory=list)
    fired: list[Fired] = attrs.field(factory=list)

    def see(self, message: ServerMessage) -> None:
        """Take note of a message."""
        if isinstance(message, BalanceUpdate) and message.tokens > 0:
            self.entry = max(1, self.entry * message.tokens // self.held)
            self.held = message.tokens
        elif isinstance(message, PnlUpdate):
            assert message.profit_units == message.proceeds_units - self.entry
            percent = Fraction(100 * message.profit_units, self.entry)
            self.ticks.append((percent, self.held))
        elif isinstance(message, ExitSignalWithTx):
            self.fired.append(_fired(len(self.ticks), message))


def _play(seed: int, readings: Readings, strategy: StrategyConfig) -> Path:
    """Let one position live on a random path."""
    world = World(
        seed=seed,
        volatility_pct=2.5,
        readings=readings,
        auto_sell_after_ms=0 if seed % 4 < 2 else None,
    )
    world.configure(**attrs.asdict(strategy, recurse=False))
    grid = None if seed % 2 else list(_on_a_grid(random.Random(f"grid:{seed}")))
    bought = world.buy(WALLET, profits_pct=grid)
    (opened,) = (m for m in bought if isinstance(m, PositionOpened))
    path = Path(opened.tokens, opened.tokens, opened.entry_quote_units)
    for _ in range(_TICKS):
        for message in world.tick():
            path.see(message)
    return path


def _on_a_grid(rng: random.Random) -> Iterator[float]:
    tenths = 0
    for _ in range(_TICKS):
        tenths += rng.randint(-30, 30)
        yield tenths / 10


def _fired(tick: int, message: ServerMessage) -> Fired:
    assert isinstance(message, ExitSignalWithTx)
    assert message.reason is not None
    return tick, message.reason, message.level_index, message.sell_tokens


def _percent(value: float) -> Fraction:
    return Fraction(str(value))


def _share(tokens: int, percent: float) -> int:
    return int(tokens * _percent(percent) / 100)


@attrs.define
class _Slice:
    level: int
    tokens: int
    trail: Fraction
    peak: Fraction


@attrs.define
class Formula:
    """The rules of one position, written a second time."""

    strategy: StrategyConfig
    readings: Readings
    whole: int
    free: int
    peak: Fraction = Fraction(0)
    was_even: bool = False
    level: int = 0
    trail: Fraction | None = None
    slices: list[_Slice] = attrs.field(factory=list)

    def ask(self, tick: int, percent: Fraction) -> Iterator[Fired]:
        """Yield what fires on a tick; a full exit, without tokens, is the last ever."""
        self.peak = max(self.peak, percent)
        self.was_even = self.was_even or percent >= 0
        for part in self.slices:
            part.peak = max(part.peak, percent)
        protective = self._protective(percent)
        if protective is not None:
            yield tick, protective, None, None
            return
        yield from self._levels(tick, percent)
        yield from self._slices(tick, percent)
        if self._has_fallen_back(percent):
            yield tick, "trailing_stop", None, None

    def _protective(self, percent: Fraction) -> str | None:
        stop = _percent(self.strategy.stop_loss_pct)
        target = _percent(self.strategy.target_profit_pct)
        breakeven = _percent(self.strategy.breakeven_trail_pct)
        if stop and percent <= -stop:
            return "stop_loss"
        if breakeven and self.readings.breakeven == "stop_at_entry":
            if self.peak >= breakeven and percent <= 0:
                return "breakeven"
        elif breakeven and self.was_even and percent <= -breakeven:
            return "breakeven"
        has_target = not (
            self.strategy.take_profit_levels and self.readings.ladder == "sell"
        )
        return "target_profit" if has_target and target and percent >= target else None

    def _levels(self, tick: int, percent: Fraction) -> Iterator[Fired]:
        levels = self.strategy.take_profit_levels
        while self.level < len(levels) and percent >= _percent(
            levels[self.level].profit_pct
        ):
            index, level = self.level, levels[self.level]
            self.level += 1
            left = self.free - sum(part.tokens for part in self.slices)
            tokens = _share(left, level.sell_pct)
            if self.readings.sell_pct == "position":
                tokens = min(left, _share(self.whole, level.sell_pct))
            trail = _percent(level.trailing_stop_pct)
            if trail and self.readings.ladder == "sell":
                self.trail = trail
            if trail and tokens and self.readings.ladder == "arm":
                self.slices.append(_Slice(index, tokens, trail, percent))
            elif tokens:
                self.free -= tokens
                yield tick, "target_profit", index, tokens

    def _slices(self, tick: int, percent: Fraction) -> Iterator[Fired]:
        for part in list(self.slices):
            if self._is_beyond(part.peak - percent, part.trail):
                self.slices.remove(part)
                self.free -= part.tokens
                yield tick, "trailing_stop", part.level, part.tokens

    def _has_fallen_back(self, percent: Fraction) -> bool:
        trail = self.trail or _percent(self.strategy.trailing_stop_pct)
        if self.readings.trailing == "peak_reaches_trail":
            is_active = self.peak >= trail
        else:
            is_active = self.peak > 0
        return bool(trail) and is_active and self._is_beyond(self.peak - percent, trail)

    def _is_beyond(self, fall: Fraction, trail: Fraction) -> bool:
        if self.readings.trailing_boundary == "below":
            return fall > trail
        return fall >= trail


def _expected(path: Path, strategy: StrategyConfig, readings: Readings) -> list[Fired]:
    formula = Formula(strategy, readings, path.tokens, path.tokens)
    fired: list[Fired] = []
    for tick, (percent, held) in enumerate(path.ticks):
        for one in formula.ask(tick, percent):
            is_all = one[3] is None or one[3] == held
            fired.append(one if not is_all else (*one[:3], None))
            if is_all:
                return fired
    return fired


def _tenths(rng: random.Random, low: int, high: int) -> float:
    return rng.randint(low, high) / 10


def _ladder(rng: random.Random) -> tuple[TakeProfitLevel, ...]:
    profits = sorted(rng.sample(range(1, 120), rng.randint(1, 4)))
    return tuple(
        TakeProfitLevel(
            profit_pct=profit / 10,
            sell_pct=_tenths(rng, 10, 1000),
            trailing_stop_pct=rng.choice([0.0, _tenths(rng, 1, 50)]),
        )
        for profit in profits
    )


_RULES: dict[str, Any] = {
    "stop_loss": lambda rng: {"stop_loss_pct": _tenths(rng, 1, 150)},
    "target_profit": lambda rng: {"target_profit_pct": _tenths(rng, 1, 150)},
    "trailing_stop": lambda rng: {"trailing_stop_pct": _tenths(rng, 1, 100)},
    "breakeven": lambda rng: {"breakeven_trail_pct": _tenths(rng, 1, 80)},
    "ladder": lambda rng: {"take_profit_levels": _ladder(rng)},
}


def _readings(rng: random.Random) -> Readings:
    return Readings(
        trailing=rng.choice(["peak_reaches_trail", "peak_above_zero"]),
        trailing_boundary=rng.choice(["at", "below"]),
        sell_pct=rng.choice(["remaining", "position"]),
        ladder=rng.choice(["sell", "arm"]),
        breakeven=rng.choice(["stop_at_entry", "stop_below_entry"]),
    )


@on_seeds(60)
@pytest.mark.parametrize("rule", _RULES)
def test_each_rule_fires_at_exactly_the_tick_of_its_formula(
    rule: str, seeds: range
) -> None:
    """Alone, each rule fires on the tick of its formula, and only then, on every path."""
    seen = 0
    for seed in seeds:
        rng = random.Random(f"{rule}:{seed}")
        strategy, readings = StrategyConfig(**_RULES[rule](rng)), _readings(rng)
        path = _play(seed, readings, strategy)
        assert path.fired == _expected(path, strategy, readings), f"path {seed}"
        seen += bool(path.fired)
    # A path on which nothing fires proves little.
    assert seen > len(seeds) / 5


@on_seeds(60)
def test_together_they_fire_in_the_order_that_is_written_down(seeds: range) -> None:
    """Any mixture of rules gives the exits of the formulas, in their order."""
    for seed in seeds:
        rng = random.Random(f"all:{seed}")
        fields: dict[str, Any] = {}
        for make in rng.sample(list(_RULES.values()), rng.randint(2, 5)):
            fields |= make(rng)
        strategy, readings = StrategyConfig(**fields), _readings(rng)
        path = _play(seed, readings, strategy)
        assert path.fired == _expected(path, strategy, readings), f"path {seed}"


# --- rules that need more than profits ----------------------------------------


@attrs.frozen
class Depth:
    """What a client saw of a position whose pool changes: profit, depth, exits."""

    tokens: int
    percents: list[Fraction]
    sellable: list[int]
    drained: list[bool]
    graduated: list[bool]
    fired: list[Fired]


def _play_shallow(seed: int, readings: Readings, strategy: StrategyConfig) -> Depth:
    """Let a large position live in a pool that gets thin and thick again."""
    rng = random.Random(f"pool:{seed}")
    world = World(
        seed=seed,
        volatility_pct=2.0,
        readings=readings,
        guard_timeout_ms=1000,
        liquidity_snapshots=True,
    )
    world.configure(**attrs.asdict(strategy, recurse=False))
    market = world.chain.markets.add(market_type="pump_fun")
    (opened,) = (
        message
        for message in world.buy(WALLET, mint=market.mint, quote_units=5 * 10**9)
        if isinstance(message, PositionOpened)
    )
    first, graduates_at = market.pool.quote_reserve, rng.randrange(_TICKS)
    seen = Depth(opened.tokens, [], [], [], [], [])
    for tick in range(_TICKS):
        if tick == graduates_at:
            market.graduate()
        seen.graduated.append(tick == graduates_at)
        if rng.random() < 0.3:
            market.set_liquidity(int(first * rng.uniform(0.3, 1.2)))
        for message in world.tick():
            if isinstance(message, PnlUpdate):
                profit, entry = message.profit_units, opened.entry_quote_units
                seen.percents.append(Fraction(100 * profit, entry))
            elif isinstance(message, LiquiditySnapshot):
                seen.sellable.append(message.bands[-1].max_tokens)
            else:
                seen.fired.append(_fired(tick, message))
        seen.drained.append(2 * market.pool.quote_reserve <= first)
    return seen


def _first(conditions: list[bool], since: int = 0) -> int | None:
    return next((t for t in range(since, _TICKS) if conditions[t]), None)


@on_seeds(60)
def test_a_guard_that_defers_waits_for_depth_or_its_timeout(seeds: range) -> None:
    """A stop decided in a thin pool is sent when the pool takes it, or after 1 s."""
    readings = Readings(liquidity_guard="defer")
    for seed in seeds:
        stop = random.Random(f"stop:{seed}").randint(1, 300) / 10
        strategy = StrategyConfig(stop_loss_pct=stop, liquidity_guard=True)
        seen = _play_shallow(seed, readings, strategy)
        decided = _first([percent <= -_percent(stop) for percent in seen.percents])
        expected = None
        if decided is not None:
            may_go = [
                seen.sellable[tick] >= seen.tokens or tick - decided >= 10
                for tick in range(_TICKS)
            ]
            expected = _first(may_go, decided)
        assert seen.fired == (
            [] if expected is None else [(expected, "stop_loss", None, None)]
        ), f"path {seed}"


@on_seeds(60)
def test_a_guard_that_shrinks_never_sells_more_than_the_pool_takes(
    seeds: range,
) -> None:
    """Each level sells its share and what was carried, or what the pool takes of it."""
    for seed in seeds:
        levels = _ladder(random.Random(f"levels:{seed}"))
        levels = tuple(attrs.evolve(level, trailing_stop_pct=0.0) for level in levels)
        strategy = StrategyConfig(take_profit_levels=levels, liquidity_guard=True)
        seen = _play_shallow(seed, Readings(), strategy)
        expected: list[Fired] = []
        free, carried, index = seen.tokens, 0, 0
        for tick, percent in enumerate(seen.percents):
            while index < len(levels) and percent >= _percent(levels[index].profit_pct):
                wanted = carried + _share(free - carried, levels[index].sell_pct)
                sold = min(wanted, seen.sellable[tick])
                carried, free = wanted - sold, free - sold
                if sold:
                    part = None if sold == seen.tokens else sold
                    expected.append((tick, "target_profit", index, part))
                index += 1
        assert seen.fired == expected, f"path {seed}"


@on_seeds(60)
@pytest.mark.parametrize("rule", ["liquidity_guard", "graduation"])
def test_events_of_the_pool_sell_on_the_tick_that_sees_them(
    rule: str, seeds: range
) -> None:
    """A drained pool, where it is an exit, and a graduation sell at once."""
    readings = Readings(liquidity_guard="exit")
    strategy = StrategyConfig(
        liquidity_guard=rule == "liquidity_guard",
        sell_on_graduation=rule == "graduation",
    )
    for seed in seeds:
        seen = _play_shallow(seed, readings, strategy)
        tick = _first(seen.drained if rule == "liquidity_guard" else seen.graduated)
        assert seen.fired == ([] if tick is None else [(tick, rule, None, None)])
