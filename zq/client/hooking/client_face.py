"""What both clients are made with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Self

from zq.client.calls import Calls, D, Face
from zq.client.driving import Connection
from zq.handling.hooks import Hooks, everywhere
from zq.keys.own import KeySource
from zq.sockets.caller_link import start_link
from zq.wire.limits import PAYLOAD_BYTES_MAX


class ClientFace(Face[D]):
    """A client; what its faces share. Arguments as of `zq.Client`."""

    def __init__(
        self,
        address: str | None = None,
        *,
        timeout: float = 30.0,
        name: str | None = None,
        payload_bytes_max: int = PAYLOAD_BYTES_MAX,
        namespace: str | None = None,
        key: KeySource | None = None,
        middleware: Sequence[Hooks] | None = None,
    ) -> None:
        found = tuple(everywhere if middleware is None else middleware)
        calls = _maker_of_calls(found)(
            address,
            timeout=timeout,
            name=name,
            payload_bytes_max=payload_bytes_max,
            namespace=namespace,
            key=key,
            make_link=self._make_link,
        )
        super().__init__(calls, self._make_driver(calls))

    @classmethod
    def over(cls, calls: Calls, run: D) -> Self:
        """Makes a client of calls that are there already, and of what carries them out: its double in memory, say."""
        client = cls.__new__(cls)
        Face.__init__(client, calls, run)
        return client

    @property
    def address(self) -> str:
        """Where it connects to."""
        return self._calls.link.address

    @staticmethod
    def _make_link(*arguments: Any) -> Connection:
        """Makes what carries its calls; arguments as of `zq.sockets.link.Link`."""
        return start_link(*arguments)

    def _make_driver(self, calls: Calls) -> D:
        raise NotImplementedError


def _maker_of_calls(middleware: tuple[Hooks, ...]) -> Callable[..., Calls]:
    """Returns what makes the calls of a client, those with hooks only where there are some."""
    if not middleware:
        return Calls
    from zq.client.hooking.hooked_calls import HookedCalls

    return partial(HookedCalls, middleware)
