from __future__ import annotations

from pathlib import Path

import attrs
import pytest

from lasersell.errors import ConfigurationError
from lasersell.sim.faults import Faults
from lasersell.sim.readings import Readings


def test_a_reading_that_does_not_exist_is_refused_by_name() -> None:
    """A misspelt reading names its field and what there is to choose from."""
    with pytest.raises(
        ConfigurationError, match=r"ladder is 'sel'; choose .* sell, arm"
    ):
        Readings(ladder="sel")  # type: ignore[arg-type]


def test_every_reading_explains_both_of_its_choices() -> None:
    """The documentation names each field, and each value it may have."""
    text = Readings.__doc__ or ""
    for field in attrs.fields(Readings):
        assert f"{field.name}:" in text
        assert f"``{field.default}``" in text


def test_no_document_is_left_out_by_default() -> None:
    """The defaults are those of the wire types or, where they are mute, of who says most."""
    assert Readings() == Readings(
        trailing="peak_reaches_trail",
        trailing_boundary="at",
        ladder="sell",
        sell_pct="remaining",
        breakeven="stop_at_entry",
        liquidity_guard="shrink",
        graduation="every_platform",
        mirror_sell="exit",
        mirror_losses="losing_trades",
        removed_wallets="closed",
        position_strategy="kept",
    )


def test_the_guide_names_every_reading_and_every_fault() -> None:
    """The page about the simulator has each reading, its choices, and each fault."""
    page = Path(__file__).parents[3] / "docs" / "simulator.md"
    text = page.read_text(encoding="utf-8")
    for field in attrs.fields(Readings):
        assert f"`{field.name}`" in text
        assert f"`{field.default}`" in text
    for name in vars(Faults):
        assert name.startswith("_") or f"{name}(" in text
