"""What a program tells tools that watch it: spans and metrics of OpenTelemetry.

May import: app, handling, task, wire. It stands on the hooks of apps, workers and clients, and on the api of
OpenTelemetry alone; nothing imports it that was not asked to.
"""

from zq.telemetry.instrumentor import ZqInstrumentor
from zq.telemetry.tracing import Tracing

__all__ = ["Tracing", "ZqInstrumentor"]
