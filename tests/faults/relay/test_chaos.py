from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.relay.chaos import Chaos


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_no_signal_is_lost_whatever_dies(tmp_path: Path) -> None:
    """
    Under load, with everything killed at random, each signal written is handled and each
    position that crossed its target is sold, once; no two leaders' writes are mixed.
    """
    report = Chaos(tmp_path, seed=1).run(30.0)
    assert report.problems == [], str(report)
    assert report.sold > 50, str(report)
    assert report.kills["redis"] == 2
    # The promise is 3 s; the machine of the tests may be busy with other things.
    assert all(seconds < 20.0 for seconds in report.take_overs), str(report)
