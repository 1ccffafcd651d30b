"""Tracing everywhere in a process, as the tools of OpenTelemetry switch it on."""

from __future__ import annotations

from typing import Any

from zq.handling.hooks import everywhere
from zq.telemetry.tracing import Tracing


class ZqInstrumentor:
    """Gives all clients that are made, and all workers that are started, from then on in this process a `Tracing`.

    `opentelemetry-instrument` finds it by the entry point `zq`. Do not give an app a `Tracing` of its own as well.
    """

    _tracing: Tracing | None = None  # of the process

    def instrument(self, *, is_parent: bool = False, **options: Any) -> None:
        """Switches it on; the second time nothing happens.

        Args:
            is_parent: as of `Tracing`.
            options: `tracer_provider` and `meter_provider`, as of `Tracing`; others are for other instrumentors.
        """
        if ZqInstrumentor._tracing is None:
            providers = {name: options.get(name) for name in ("tracer_provider", "meter_provider")}
            ZqInstrumentor._tracing = Tracing(is_parent=is_parent, **providers)
            everywhere.append(ZqInstrumentor._tracing)

    def uninstrument(self, **options: Any) -> None:  # noqa: ARG002 - as instrumentors are called
        """Switches it off, for clients and workers that come later."""
        if ZqInstrumentor._tracing is not None:
            everywhere.remove(ZqInstrumentor._tracing)
            ZqInstrumentor._tracing = None
