"""A program is forked while the tables' transaction is open, which it nearly always is with a journal."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from zq.store import open_store

PROGRAM = """
import gc, multiprocessing, os, sys, threading
from zq.store import open_store

box, go, done = [], threading.Event(), threading.Event()

def write(key):
    tx = box[0].begin()
    tx.put("left", key, b"v")
    tx.commit()

def serve():
    box.append(open_store(sys.argv[1], ("left", "right")))
    write(b"before")
    done.set()
    go.wait()
    write(b"after")
    box[0].close()

def drop():
    box.clear()
    gc.collect()

thread = threading.Thread(target=serve)
thread.start()
done.wait()
if sys.argv[2] == "multiprocessing":
    child = multiprocessing.get_context("fork").Process(target=drop)
    child.start()
    child.join()
    code = child.exitcode
else:
    pid = os.fork()
    if pid == 0:
        if sys.argv[2] == "drop":
            drop()
        if sys.argv[2] == "close":
            box[0].close()
        sys.exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
go.set()
thread.join()
sys.exit(code)
"""


@pytest.mark.parametrize("way", ["exit", "drop", "close", "multiprocessing"])
def test_a_forked_child_ends_and_its_parent_goes_on_writing(tmp_path: Path, way: str) -> None:
    subprocess.run([sys.executable, "-c", PROGRAM, str(tmp_path / "s.zq"), way], check=True, timeout=60)

    store = open_store(tmp_path / "s.zq", ("left", "right"))
    tx = store.begin()
    assert [key for key, _ in tx.scan("left")] == [b"after", b"before"]
    tx.abort()
    store.close()
