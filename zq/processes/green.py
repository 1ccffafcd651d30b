"""Green threads: gevent and eventlet put themselves in the place of threads, and zq says that it does not work there.

A thread of zq waits in ZeroMQ's own poller, which lets no green thread run: where threads are green ones, the whole
program would stand still with it, for as long as nothing comes. What they put in the place of sockets, of `select` and
of `time.sleep` does no harm.
"""

from __future__ import annotations

import sys


class GreenThreadsError(RuntimeError):
    """Threads are green ones in this process."""


def refuse_green_threads() -> None:
    """Does nothing, unless the threads of this process are green ones; imports neither library.

    Raises:
        GreenThreadsError: gevent or eventlet has put itself in their place.
    """
    library = _patched_by()
    if library is not None:
        call = "gevent.monkey.patch_all(thread=False)" if library == "gevent" else "eventlet.monkey_patch(thread=False)"
        raise GreenThreadsError(
            f"zq does not work where {library} has put green threads in the place of threads: the program would stand "
            f"still while zq waits for messages. Use {call}, with which all works but child processes, or a process that is not patched"
        )


def _patched_by() -> str | None:
    monkey = sys.modules.get("gevent.monkey")
    if monkey is not None and any(map(monkey.is_module_patched, ("threading", "_thread"))):
        return "gevent"
    patcher = sys.modules.get("eventlet.patcher")
    return "eventlet" if patcher is not None and patcher.is_monkey_patched("thread") else None
