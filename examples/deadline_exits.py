"""Sell whatever was held for two seconds; ends after the first exit signal."""

from __future__ import annotations

import os

from lasersell import StrategyConfig, StreamClient, StreamConfigure, StreamSession

configure = StreamConfigure(
    wallet_pubkeys=[os.environ["LASERSELL_WALLET"]],
    strategy=StrategyConfig(),  # nothing but the deadline
    deadline_timeout_sec=2.0,
)
with StreamSession.connect(StreamClient(), configure) as session:
    opened = session.wait_for("position_opened", timeout=600)
    print(f"opened: {opened.handle}")
    # The deadline asks for the exit by itself, also while nobody calls recv().
    signal = session.wait_for("exit_signal_with_tx", opened.handle, timeout=600)
    print(f"exit: {signal.handle}")
