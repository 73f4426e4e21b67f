"""A span for each exit, from its trigger to its arrival; needs opentelemetry-sdk."""

from __future__ import annotations

import os

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

from lasersell import StreamClient, StreamConfigure, StreamEvent, StreamSession
from lasersell.protocol import StrategyConfig

provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter()))
wallet, strategy = os.environ["LASERSELL_WALLET"], StrategyConfig(target_profit_pct=5)
with StreamSession.connect(StreamClient(), StreamConfigure([wallet], strategy)) as s:

    @s.observe
    def trace(event: StreamEvent) -> None:
        if event.age_ms is not None and event.type == "exit_signal_with_tx":
            began = event.to_dict()["message"]["triggered_at_ms"] * 1_000_000
            span = provider.get_tracer("my bot").start_span("exit", start_time=began)
            span.end(began + int(event.age_ms * 1_000_000))

    s.wait_for("exit_signal_with_tx")
