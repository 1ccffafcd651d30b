"""Networks of a run, which are in nobody's way: of the machine's own nothing is changed, not even for a moment, because
browsers give up what they do when they see that.

A network has no name. It is there as long as a process is in it; its first one ends with the run, whatever ends that.
"""

from __future__ import annotations

import ctypes
import functools
import os
import shutil
import socket
import subprocess
import sys
from typing import Final

NEAR, FAR = "zq-near", "zq-far"
"""Ends of the cable."""

PORT: Final = 7700

NEAR_HOST, FAR_HOST = "10.213.0.1", "10.213.0.2"

_NEW_NETWORK = 0x40000000  # CLONE_NEWNET


class Network:
    """A network without links; `inside` is what stands in front of a command that is to run in it."""

    def __init__(self) -> None:
        # It ends with the other end of its input.
        self._first = subprocess.Popen(
            ["unshare", "--net", "sh", "-c", "echo; exec cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._first.stdout is not None
        assert self._first.stdout.readline(), "there is no network"
        self.pid = self._first.pid
        self.inside = ("nsenter", f"--net=/proc/{self.pid}/ns/net")

    def enter(self) -> None:
        """Moves the calling thread there, and what it makes from now on."""
        number = os.open(f"/proc/{self.pid}/ns/net", os.O_RDONLY)
        try:
            if ctypes.CDLL(None, use_errno=True).setns(number, _NEW_NETWORK):
                raise OSError(ctypes.get_errno(), "the network cannot be entered")
        finally:
            os.close(number)

    def ip(self, *command: str) -> None:
        """Changes it with the command ip."""
        subprocess.run([*self.inside, "ip", *command], check=True, capture_output=True)

    def close(self) -> None:
        """Takes it away, when nobody else is in it."""
        self._first.communicate()


@functools.cache
def no_networks() -> str | None:
    """Says why there are no networks of a run's own, if there are none."""
    if sys.platform != "linux" or not all(map(shutil.which, ("ip", "unshare", "nsenter"))):
        return "networks of a run's own need Linux and the commands ip, unshare and nsenter"
    if os.geteuid():
        return "networks of a run's own need root"
    link = ("ip", "link", "add", NEAR, "type", "veth", "peer", "name", FAR)
    tried = subprocess.run(["unshare", "--net", *link], capture_output=True, text=True, check=False)
    return f"networks of a run's own are not allowed here: {tried.stderr.strip()}" if tried.returncode else None


def links() -> set[str]:
    """Returns the links of the machine's own network."""
    return {name for _, name in socket.if_nameindex()}
