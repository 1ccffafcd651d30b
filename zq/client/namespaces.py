"""What programs may say about namespaces."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

from zq.wire.namespaces import check_namespace


class NamespaceLimits(TypedDict, total=False):
    """What `Client.set_namespace` may set; None takes a limit away.

    Keys:
        max_tasks: unfinished tasks in all queues of the namespace, above which submits are refused as busy.
        max_bytes: of the payloads of these tasks.
    """

    max_tasks: int | None
    max_bytes: int | None


def namespace_arguments(name: str, limits: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the arguments of the command `set-namespace`.

    Raises:
        ValueError: the name or a limit cannot be.
    """
    for limit, value in limits.items():
        if limit not in ("max_tasks", "max_bytes"):
            raise ValueError(f"expected limits max_tasks and max_bytes, got {limit}")
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
            raise ValueError(f"expected {limit} as a number from 0, or None, got {value!r}")
    return {"name": check_namespace(name), **limits}
