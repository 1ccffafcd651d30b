"""How a process ended, in words for people."""

import signal

UNABLE = 70
"""Exit code of a child that has said why it cannot work."""


def describe_exit(code: int) -> str:
    """Returns how a process ended.

    Args:
        code: its exit code, or minus the number of the signal that killed it, as `subprocess` has it.
    """
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"died of signal {-code} ({signal.Signals(-code).name})"
    except ValueError:  # most real-time signals have no name
        return f"died of signal {-code}"
