"""A coordinator inside of a program that does what programs do: closes and reopens it, forks, is killed, loses
folders.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import zq
from tests.patterns.raw_peers import needs_ipv6
from tests.process.kitchen import wait_until
from zq.store.hold import DirectoryHold

# Opened and closed.


def test_a_coordinator_that_is_opened_again_serves_what_it_had(tmp_path: Path) -> None:
    coordinator = zq.Coordinator(tmp_path / "s.zq")
    ids = []
    for _ in range(10):
        with coordinator, zq.Client(coordinator.address, timeout=10.0) as client:
            ids.append(client.submit("q", 1).id)
            assert [client.status(id).state for id in ids] == ["waiting"] * len(ids)


def test_a_coordinator_is_opened_once_at_a_time(tmp_path: Path) -> None:
    with zq.Coordinator(tmp_path / "s.zq") as coordinator:
        with pytest.raises(RuntimeError, match=f"is open already, at {coordinator.address}; close it first"):
            coordinator.open()
        with zq.Client(coordinator.address, timeout=10.0) as client:
            assert client.ping() is not None


def test_of_two_threads_that_open_a_coordinator_one_does(tmp_path: Path) -> None:
    coordinator = zq.Coordinator(tmp_path / "s.zq")
    together = threading.Barrier(2)
    ends: list[object] = []

    def open_it() -> None:
        together.wait()
        try:
            ends.append(coordinator.open())
        except RuntimeError as error:
            ends.append(str(error))

    threads = [threading.Thread(target=open_it) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(isinstance(end, str) for end in ends) == [False, True]
    with zq.Client(coordinator.address, timeout=10.0) as client:
        assert client.submit("q", 1).id
    coordinator.close()
    coordinator.close()


def test_a_coordinator_that_could_not_open_can_be_opened_when_it_can(tmp_path: Path) -> None:
    second = zq.Coordinator(tmp_path / "s.zq")
    with zq.Coordinator(tmp_path / "s.zq"), pytest.raises(zq.StoreError, match="is in use by this very process"):
        second.open()

    with second, zq.Client(second.address, timeout=10.0) as client:
        assert client.submit("q", 1).id


def test_a_worker_runs_again_after_it_was_stopped(tmp_path: Path) -> None:
    with zq.Coordinator(tmp_path / "s.zq") as coordinator, zq.Client(coordinator.address) as client:
        worker = zq.Worker(coordinator.address)
        worker.task("q")(lambda task: task.payload)
        for number in range(3):
            receipt = client.submit("q", number)
            worker.run(burst=True)
            assert receipt.result(timeout=30.0) == number


# Forked from.


def _fork_sleeper() -> int:
    pid = os.fork()
    if pid == 0:
        signal.pause()
        os._exit(0)
    return pid


def test_close_frees_directory_and_address_though_a_forked_child_lives(tmp_path: Path) -> None:
    bind = "tcp://127.0.0.1:*"
    with zq.Coordinator(tmp_path / "s.zq", bind=bind) as first, zq.Client(first.address) as client:
        assert client.ping() is not None  # so that there is a connection that the child inherits, too
        child = _fork_sleeper()
    try:
        with zq.Coordinator(tmp_path / "s.zq", bind=first.address) as second, zq.Client(second.address) as client:
            assert client.submit("q", 1).id
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


LATE_CHILD = """
import os, signal, sys, time
os.register_at_fork(after_in_child=lambda: time.sleep(0.3))  # before what zq has registered
import zq
with zq.Coordinator(sys.argv[1], bind=sys.argv[2]) as first:
    child = os.fork()
    if child == 0:
        signal.pause()
try:
    with zq.Coordinator(sys.argv[1], bind=first.address) as second:
        print(second.address == first.address)
finally:
    os.kill(child, signal.SIGKILL)
"""


@pytest.mark.parametrize("bind", ["tcp://127.0.0.1:*", "tcp://*:*", "ipc://{}/socket"])
def test_an_address_that_was_left_is_waited_for_while_a_forked_child_has_not_run_yet(bind: str, tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", LATE_CHILD, str(tmp_path / "s.zq"), bind.format(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (ran.stdout, ran.stderr) == ("True\n", "")


PROGRAM = """
import os, signal, sys, zq
coordinator = zq.Coordinator(sys.argv[1], bind=sys.argv[2]).open()
client = zq.Client(coordinator.address)
client.submit("q", 1, id="first")
reader, writer = os.pipe()
if os.fork() == 0:
    os.write(writer, b"up")
    signal.pause()
os.read(reader, 2)  # the copy has let go of what is not its own
print(coordinator.address, flush=True)
signal.pause()
"""


@pytest.mark.parametrize("bind", ["tcp://127.0.0.1:*", "tcp://*:*", "ipc://{}/socket"])
def test_a_program_that_is_killed_holds_nothing_by_a_child_that_it_forked(tmp_path: Path, bind: str) -> None:
    bind = bind.format(tmp_path)
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "s.zq"), bind],
        stdout=subprocess.PIPE,
        process_group=0,
        text=True,
    )
    assert program.stdout is not None
    address = program.stdout.readline().strip()
    try:
        program.kill()
        program.wait()
        with zq.Coordinator(tmp_path / "s.zq", bind=address) as second, zq.Client(second.address) as client:
            assert client.status("first").state == "waiting"
    finally:
        program.stdout.close()
        os.killpg(program.pid, signal.SIGKILL)  # the child that it forked


def test_a_child_that_leaves_the_block_of_its_parent_closes_nothing(tmp_path: Path) -> None:
    with zq.Coordinator(tmp_path / "s.zq", bind=f"ipc://{tmp_path}/socket") as coordinator:
        pid = os.fork()
        if pid == 0:
            try:
                coordinator.close()
            finally:
                os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        with zq.Client(coordinator.address) as client:
            assert client.submit("q", 1).id


def test_a_process_that_has_ended_is_not_named_as_the_holder(tmp_path: Path) -> None:
    # A fork that Python does not see, by a library in C, inherits the lock and keeps it.
    program = (
        "import ctypes, os, signal, sys, time\n"
        "from zq.store import LmdbStore\n"
        "store = LmdbStore(sys.argv[1], ('left',))\n"
        "if ctypes.CDLL(None).fork() == 0:\n"
        "    time.sleep(600)\n"
        "print('ready', flush=True)\n"
        "os._exit(0)\n"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "s.zq")], stdout=subprocess.PIPE, process_group=0
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"ready\n"
    holder.wait()
    try:
        with pytest.raises(zq.StoreError, match=rf"a process that was forked from process {holder.pid} .* has ended"):
            DirectoryHold(tmp_path / "s.zq")
    finally:
        os.killpg(holder.pid, signal.SIGKILL)
        holder.stdout.close()


# Addresses.


def test_an_ipc_address_that_a_living_coordinator_serves_is_in_use(tmp_path: Path) -> None:
    bind = f"ipc://{tmp_path}/socket"
    with zq.Coordinator(tmp_path / "1.zq", bind=bind) as first:
        with pytest.raises(OSError, match="Address already in use: another program serves there"):
            zq.Coordinator(tmp_path / "2.zq", bind=bind).open()

        with zq.Client(first.address, timeout=10.0) as client:
            assert client.submit("q", 1).id
    assert not (tmp_path / "socket").exists()


def test_the_socket_of_a_coordinator_that_was_killed_is_taken_over(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "socket"))
        dead.listen()

    with zq.Coordinator(tmp_path / "s.zq", bind=f"ipc://{tmp_path}/socket") as one, zq.Client(one.address) as client:
        assert client.submit("q", 1).id


@pytest.mark.parametrize("is_abstract", [False, True])
def test_a_file_that_is_no_socket_is_not_deleted(
    tmp_path: Path, is_abstract: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    name = f"@zq-{os.getpid()}" if is_abstract else "letter"
    (tmp_path / name).write_text("dear")
    whole = name if is_abstract else f"{tmp_path}/letter"

    with pytest.raises(FileExistsError, match=f"cannot bind ipc://{whole}: there is a file {whole}"):
        zq.Coordinator(tmp_path / "s.zq", bind=f"ipc://{name}").open()

    assert (tmp_path / name).read_text() == "dear"


def test_an_abstract_address_is_served_and_in_use(tmp_path: Path) -> None:
    bind = f"ipc://@zq-{os.getpid()}-{tmp_path.name}"
    with zq.Coordinator(tmp_path / "1.zq", bind=bind) as one, zq.Client(one.address, timeout=10.0) as client:
        assert client.submit("q", 1).id
        with pytest.raises(OSError, match="Address already in use"):
            zq.Coordinator(tmp_path / "2.zq", bind=bind).open()


def test_of_many_that_bind_one_address_at_once_one_does(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:  # what all find, and may take
        dead.bind(str(tmp_path / "socket"))
    coordinators = [zq.Coordinator(tmp_path / f"{n}.zq", bind=f"ipc://{tmp_path}/socket") for n in range(6)]
    together = threading.Barrier(len(coordinators))
    opened: list[zq.Coordinator] = []

    def open_it(coordinator: zq.Coordinator) -> None:
        together.wait()
        try:
            opened.append(coordinator.open())
        except OSError as error:
            assert "Address already in use" in str(error)

    threads = [threading.Thread(target=open_it, args=(one,)) for one in coordinators]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(opened) == 1
    with zq.Client(opened[0].address, timeout=10.0) as client:
        assert client.submit("q", 1).id
    opened[0].close()


@needs_ipv6
@pytest.mark.parametrize("bind", ["tcp://[::1]:*", "tcp://[::]:*", "tcp://[::1%lo]:*"])
def test_an_address_of_ipv6_is_served(tmp_path: Path, bind: str) -> None:
    with zq.Coordinator(tmp_path / "s.zq", bind=bind) as coordinator, zq.Client(coordinator.address) as client:
        worker = zq.Worker(coordinator.address)
        worker.task("q")(lambda task: task.payload)
        receipt = client.submit("q", 1)
        worker.run(burst=True)

        assert receipt.result(timeout=30.0) == 1


@pytest.mark.parametrize("bind", ["tcp://localhost:*", "tcp://*:*", "tcp://0.0.0.0:*"])
def test_names_and_wildcards_are_served(tmp_path: Path, bind: str) -> None:
    with zq.Coordinator(tmp_path / "s.zq", bind=bind) as coordinator:
        port = coordinator.address.rpartition(":")[2]
        for address in (coordinator.address, f"tcp://localhost:{port}"):
            with zq.Client(address, timeout=10.0) as client:
                assert client.submit("q", 1).id


def test_an_address_of_another_machine_cannot_be_bound_and_says_so(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="this machine has no such address or interface"):
        zq.Coordinator(tmp_path / "s.zq", bind="tcp://192.0.2.77:*").open()


@pytest.mark.parametrize(
    "bind", ["localhost", "tcp://::1:7700", "tcp://127.0.0.1:70000", "ipc://@", "ipc://" + "é" * 60]
)
def test_what_cannot_be_an_address_is_refused_at_once(tmp_path: Path, bind: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        zq.Coordinator(tmp_path / "s.zq", bind=bind)


@pytest.mark.parametrize("face", [zq.Client, zq.AsyncClient, zq.Worker])
def test_a_path_that_no_socket_can_have_is_refused_at_once(face: Callable[[str], object]) -> None:
    with pytest.raises(ValueError, match=r"expected a path of at most 10[37] bytes for a socket, got 120"):
        face("ipc://" + "é" * 60)


# Its directory.


def _remove(path: Path) -> None:
    shutil.rmtree(path)


def _swap(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.mkdir()


def _remove_the_data(path: Path) -> None:
    (path / "data.mdb").unlink()


def _remove_the_journal(path: Path) -> None:
    (path / "journal").unlink()


def _replace_the_journal(path: Path) -> None:
    shutil.copy(path / "journal", path / "copy")
    (path / "copy").rename(path / "journal")


def _replace(path: Path) -> None:
    shutil.copytree(path, path.with_name("copy"))
    shutil.rmtree(path)
    path.with_name("copy").rename(path)


@pytest.mark.parametrize(
    "lose", [_remove, _swap, _remove_the_data, _replace, _remove_the_journal, _replace_the_journal]
)
def test_no_receipt_is_given_for_what_a_start_would_not_find(
    tmp_path: Path, lose: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    options = zq.CoordinatorOptions(heartbeat_interval=30.0, suspect_after=60.0, gone_after=90.0)
    coordinator = zq.Coordinator("s.zq", options=options).open()
    with zq.Client(coordinator.address, timeout=2.0) as client:
        client.submit("q", 1)
        monkeypatch.chdir("/")  # a program may go where it likes
        client.submit("q", 2)
        lose(tmp_path / "s.zq")
        with pytest.raises(zq.TimedOutError):
            client.submit("q", 3)

    with pytest.raises(zq.StoreError, match=r"It was removed.* while it was in use"):
        coordinator.close()


@pytest.mark.parametrize("journal", [True, False], ids=["journal", "tables"])
def test_a_directory_that_is_moved_while_it_is_served_goes_on(
    tmp_path: Path, journal: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("house").mkdir()
    new, payload = tmp_path / "new" / "t.zq", b"x" * 100_000
    coordinator = zq.Coordinator("house/s.zq", store_options=zq.LmdbOptions(journal=journal))
    with coordinator, zq.Client(coordinator.address, timeout=30.0) as client:
        client.submit("q", payload)
        Path("house/s.zq").rename("house/t.zq")
        client.submit("q", payload)
        Path("house").rename("new")
        monkeypatch.chdir("/")
        for _ in range(40):  # the journal is made anew meanwhile, with more room
            client.submit("q", payload)
        assert client.query("status")["waiting"] == 42

    assert f"{tmp_path}/house/s.zq was moved while it is in use: it is {tmp_path}/house/t.zq now" in caplog.text
    assert f"it is {new} now, and goes on" in caplog.text
    assert sorted(one.name for one in new.iterdir()) == [
        "data.mdb",
        *(["journal"] if journal else []),
        "lock",
        "lock.mdb",
    ]
    with zq.Coordinator(new) as coordinator, zq.Client(coordinator.address) as client:
        assert client.query("status")["waiting"] == 42


def test_program_that_goes_to_another_folder_keeps_its_coordinator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    coordinator = zq.Coordinator("./s.zq", keys="./keys", audit="./audit")
    with coordinator, zq.Client(coordinator.address, timeout=30.0) as client:
        monkeypatch.chdir("/")
        (tmp_path / "keys" / "more.pub").touch()  # which has it read again
        for number in range(200):
            client.submit("q", number)
        wait_until(lambda: client.query("status")["keys"]["broken"] == 1, "a look at the keys")
        assert client.query("status")["waiting"] == 200
    with zq.Coordinator(tmp_path / "s.zq") as coordinator, zq.Client(coordinator.address) as client:
        assert client.query("status")["waiting"] == 200


def test_no_receipt_is_given_for_what_could_not_be_flushed_and_it_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    coordinator = zq.Coordinator(tmp_path / "s.zq").open()
    with zq.Client(coordinator.address, timeout=2.0) as client:
        client.submit("q", 1, id="flushed")
        with monkeypatch.context() as broken:
            broken.setattr(os, "fdatasync" if hasattr(os, "fdatasync") else "fsync", fail)
            with pytest.raises(zq.TimedOutError):
                client.submit("q", 2)

    with pytest.raises(zq.StoreError, match=r"cannot flush .*/journal: Input/output error; whether it is on disk"):
        coordinator.close()
    with zq.Coordinator(tmp_path / "s.zq") as again, zq.Client(again.address) as client:
        assert client.status("flushed").state == "waiting"


def test_an_idle_coordinator_notices_that_its_directory_is_gone(tmp_path: Path) -> None:
    options = zq.CoordinatorOptions(heartbeat_interval=0.1, suspect_after=0.3, gone_after=1.0)
    before = set(threading.enumerate())
    coordinator = zq.Coordinator(tmp_path / "s.zq", options=options).open()
    with zq.Client(coordinator.address, timeout=60.0) as client:
        client.ping()
    shutil.rmtree(tmp_path / "s.zq")

    def is_served() -> bool:
        return any(one.name == "zq-coordinator" for one in set(threading.enumerate()) - before)

    wait_until(lambda: not is_served(), "its end")

    with pytest.raises(zq.StoreError, match="is there no more"):
        coordinator.close()


def test_a_lock_that_was_deleted_lets_nobody_in(tmp_path: Path) -> None:
    with zq.Coordinator(tmp_path / "s.zq"):
        (tmp_path / "s.zq" / "lock").unlink()
        with pytest.raises(zq.StoreError, match="is in use by"):
            zq.Coordinator(tmp_path / "s.zq").open()


def test_a_map_that_has_no_room_in_memory_says_what_to_do(tmp_path: Path) -> None:
    program = (
        "import resource, zq, sys\n"
        "resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))\n"
        "zq.Coordinator(sys.argv[1]).open()"
    )
    result = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "s.zq")], capture_output=True, text=True, check=False
    )

    assert "Cannot allocate memory" in result.stderr
    assert "65536 MiB" in result.stderr
    assert "--map-mib 1024" in result.stderr
