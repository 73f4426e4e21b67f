from __future__ import annotations

import inspect
import re
from pathlib import Path

import attrs

from lasersell.relay import RelayPolicy, RelaySession

_GUIDE = (Path(__file__).parents[3] / "docs" / "relay.md").read_text(encoding="utf-8")


def test_the_programs_in_the_guide_compile() -> None:
    """Each Python block is Python."""
    blocks = re.findall(r"```python\n(.*?)```", _GUIDE, re.DOTALL)
    assert len(blocks) == 4
    for block in blocks:
        compile(block, "relay.md", "exec")


def test_the_settings_in_the_guide_exist() -> None:
    """The names and numbers that the guide gives are those of the code."""
    policy = RelayPolicy()
    for field in attrs.fields(RelayPolicy):
        assert field.name in ("poll", "backlog_directory") or field.name in _GUIDE
    assert f"the lease ({policy.lease:g} s by default)" in _GUIDE
    assert f"`keep` ({policy.keep:g} s)" in _GUIDE
    assert f"`max_age` ({policy.max_age / 3600:g} h)" in _GUIDE
    assert f"`max_high` ({policy.max_high:,} entries)" in _GUIDE
    assert f"`max_low` ({policy.max_low})" in _GUIDE
    arguments = inspect.signature(RelaySession.connect).parameters
    for name in ("handler_timeout", "retry_after", "max_deliveries", "command_timeout"):
        assert name in arguments
        assert f"`{name}`" in _GUIDE
