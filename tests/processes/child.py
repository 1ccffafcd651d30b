"""A child that says what it was given, and then echoes; or, as a program, one that starts it and dies."""

from __future__ import annotations

import os
import signal
import sys
import time

from zq.processes.birth import become_child, open_pipes, read_frames
from zq.processes.children import start_child
from zq.processes.frames import read_frame, write_frame


def main() -> None:
    prints, *arguments = become_child()
    source, target = open_pipes(prints)
    print("printed")
    write_frame(target, repr([os.getpid(), sys.stdin.read(), arguments]).encode())
    if arguments == ["hang"]:
        signal.pause()
    while arguments == ["talk"]:
        write_frame(target, b"still here")
    for frame in read_frames(source):
        write_frame(target, frame)


if __name__ == "__main__":
    process = start_child("tests.processes.child", *sys.argv[1:])
    assert process.stdout is not None
    read_frame(process.stdout)
    print(process.pid, flush=True)
    process.stdout.close()  # as the system does before it is seen that a process has died
    time.sleep(0.3)
    os._exit(0)
