"""
Help for tests of programs that use the stream, and for running a recorded one again.

The fixtures are a pytest plugin that is found by itself once the extra ``testing`` is
installed; see ``docs/testing.md``.
"""

from __future__ import annotations

from lasersell.testing.fixtures import API_KEY, OTHER_WALLET, PRIVATE_KEY, WALLET
from lasersell.testing.recorder import Recorder
from lasersell.testing.recording import Recording
from lasersell.testing.replay import Replay
from lasersell.testing.script import Script, ScriptError

__all__ = [
    "API_KEY",
    "OTHER_WALLET",
    "PRIVATE_KEY",
    "WALLET",
    "Recorder",
    "Recording",
    "Replay",
    "Script",
    "ScriptError",
]
