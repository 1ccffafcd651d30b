"""A key and its file: what it holds, who can read it, and what is said when it is not one."""

from __future__ import annotations

import copy
import os
import stat
from pathlib import Path

import pytest
import zmq

import zq
from zq.keys.key import KEY_FILE_BYTES_MAX, Role

COORDINATOR = zq.Key.new("orders", "coordinator")


def make(name: str = "shop-1", role: Role = "worker") -> zq.Key:
    return zq.Key.new(name, role, [COORDINATOR.public])


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_key_is_read_as_it_was_written(tmp_path: Path) -> None:
    key = make()

    key.write(tmp_path / "shop-1.toml")

    assert zq.Key.read(tmp_path / "shop-1.toml") == key
    assert key.servers == (COORDINATOR.public,)


def test_keys_are_text_whatever_they_were_given_as() -> None:
    public, secret = zmq.curve_keypair()

    key = zq.Key("a", "client", public, secret, (public,))  # type: ignore[arg-type]

    assert (key.public, key.secret, key.servers) == (public.decode(), secret.decode(), (public.decode(),))


def test_secret_is_never_shown() -> None:
    key = make()

    assert key.secret not in repr(key) + str(key) + f"{key}"
    assert key.public in repr(key)
    assert copy.deepcopy(key) == key


def test_file_and_missing_folders_are_their_owners_alone_whatever_the_umask(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "keys" / "shop-1.toml"
    before = os.umask(0)
    try:
        make().write(path)
    finally:
        os.umask(before)

    assert mode_of(path) == 0o600
    assert mode_of(path.parent) == mode_of(path.parent.parent) == 0o700
    assert [one.name for one in path.parent.iterdir()] == ["shop-1.toml"]


def test_a_key_that_is_there_is_replaced_only_when_told(tmp_path: Path) -> None:
    path = tmp_path / "shop-1.toml"
    first, second = make(), make()
    first.write(path)

    with pytest.raises(zq.KeyFileError, match="is there already"):
        second.write(path)
    assert zq.Key.read(path) == first

    second.write(path, is_replacing=True)
    assert zq.Key.read(path) == second
    assert [one.name for one in tmp_path.iterdir()] == ["shop-1.toml"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644, 0o666, 0o610])
def test_a_file_that_others_can_reach_is_not_taken(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "shop-1.toml"
    make().write(path)
    path.chmod(mode)

    with pytest.raises(zq.KeyFileError, match=rf"mode 0600.*with {mode:04o}: run `chmod 600"):
        zq.Key.read(path)


def test_no_file_no_folder_and_no_pipe_is_a_key(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    (tmp_path / "large").write_bytes(b"#" * (KEY_FILE_BYTES_MAX + 1))
    (tmp_path / "large").chmod(0o600)

    with pytest.raises(zq.KeyFileError, match="got none: `zq keys new`"):
        zq.Key.read(tmp_path / "nothing.toml")
    with pytest.raises(zq.KeyFileError, match="Is a directory"):
        zq.Key.read(tmp_path)
    with pytest.raises(zq.KeyFileError, match="no file"):
        zq.Key.read(tmp_path / "pipe")
    with pytest.raises(zq.KeyFileError, match="at most 65536 bytes"):
        zq.Key.read(tmp_path / "large")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("name =", "nam ="), "got no name"),
        (("servers =", 'queue = "orders"\nservers ='), "got the unknown 'queue'"),
        (('name = "shop-1"', 'name = "../shop"'), "expected a key's name"),
        (('role = "worker"', 'role = "root"'), "expected a role of client, worker, admin, coordinator, got 'root'"),
        (('public = "', 'public = "x'), "40 characters of Z85, got 41 characters"),
        (("servers = [", "servers = 5 #"), "`servers` that is no list"),
        (("servers = [", "servers = [5, "), "got int"),
        (("name = ", "name = =", ), "no TOML"),
        (("name = ", "name = \udcff"), "no text"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_a_file_is_said_without_its_secret(
    tmp_path: Path, change: tuple[str, str], expected: str
) -> None:
    path = tmp_path / "shop-1.toml"
    key = make()
    key.write(path)
    path.write_bytes(path.read_text().replace(*change, 1).encode(errors="surrogateescape"))

    with pytest.raises(zq.KeyFileError) as caught:
        zq.Key.read(path)

    assert expected in str(caught.value)
    assert str(path) in str(caught.value)
    assert key.secret not in str(caught.value)


def test_public_and_secret_must_belong_together() -> None:
    one, other = make(), make()

    with pytest.raises(ValueError, match="belongs to the secret one of shop-1"):
        zq.Key("shop-1", "worker", one.public, other.secret)


@pytest.mark.parametrize("name", ["", "-a", "a.", "a/b", "..", "a b", "a\n", "ä", "a" * 65, "\x1b[31m"])
def test_names_are_names_of_files(name: str) -> None:
    with pytest.raises(ValueError, match="expected a key's name"):
        zq.Key.new(name, "client")


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(zq.KeyFileError, match="cannot write"):
        make().write(tmp_path / "file" / "shop-1.toml")


def test_a_key_without_a_server_secures_nothing() -> None:
    alone = zq.Key.new("alone", "client")

    with (
        zmq.Context() as context,
        context.socket(zmq.DEALER) as socket,
        pytest.raises(ValueError, match="key alone, got"),
    ):
        alone.secure(socket)


def test_nobody_gets_in_where_no_authenticator_runs() -> None:
    with zmq.Context() as context, context.socket(zmq.ROUTER) as server, context.socket(zmq.DEALER) as client:
        COORDINATOR.guard(server)
        make().secure(client)
        client.linger = 0
        port = server.bind_to_random_port("tcp://127.0.0.1")
        with client.get_monitor_socket(zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL) as monitor:
            client.connect(f"tcp://127.0.0.1:{port}")
            client.send(b"hello", zmq.NOBLOCK)

            assert monitor.poll(30_000)
            assert not server.poll(0)
            client.disable_monitor()
