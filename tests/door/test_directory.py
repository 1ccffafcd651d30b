"""The directory of keys: entries as text, who may have written them, and what broken ones do."""

from __future__ import annotations

import errno
import math
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from zq.errors import KeyFileError
from zq.keys.directory import TROUBLE_SECONDS, KeyDirectory
from zq.keys.entry import KeyEntry, read_entry
from zq.keys.key import Key

NOW = 1_800_000_000.0

PUBLIC = Key.new("any", "client").public
OTHER = Key.new("any", "client").public
THIRD = Key.new("any", "client").public


@pytest.fixture
def directory(tmp_path: Path) -> KeyDirectory:
    made = KeyDirectory(tmp_path / "keys")
    made.make()
    return made


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"queues": ("orders*", "a.b")},
        {"submit": (), "work": ("x",), "look": ("*",)},
        {"namespaces": ("team-a", "b/c"), "limits": "waits=100 pulls=10"},
        {"expires": NOW + 0.0, "state": "revoked"},
        {"previous": OTHER, "previous_until": NOW},
    ],
    ids=lambda fields: " ".join(fields) or "plain",
)
def test_an_entry_is_read_as_it_was_written(directory: KeyDirectory, fields: dict[str, Any]) -> None:
    entry = KeyEntry("till", PUBLIC, "client", **fields)

    directory.write(entry)

    assert directory.entry("till") == entry
    assert read_entry(entry.text().encode(), "till") == entry


def test_files_are_private_and_the_folder_too(directory: KeyDirectory) -> None:
    directory.write(KeyEntry("till", PUBLIC, "client"))

    assert mode_of(directory.path) == 0o700
    assert {mode_of(path) for path in directory.path.iterdir()} == {0o600}
    assert {path.name for path in directory.path.iterdir()} == {"server.key", "till.pub"}


def test_an_entry_is_not_replaced_by_chance(directory: KeyDirectory) -> None:
    directory.write(KeyEntry("till", PUBLIC, "client"))

    with pytest.raises(KeyFileError, match="is there already"):
        directory.write(KeyEntry("till", OTHER, "admin"))
    assert directory.entry("till").role == "client"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "expected name, public, role of the key, got none"),
        ("name = ", "Invalid value"),
        ('name = "oven"\n{rest}', "expected the name of the file, till, got 'oven'"),
        ('{all}\nroles = "x"', "got 'roles'"),
        ('{all}\nqueues = "orders"', "expected queues as a list of texts, got 'orders'"),
        ("{all}\nqueues = [1]", "expected queues as a list of texts"),
        ("{all}\nlimits = 3", "expected limits as text, got 3"),
        ('{all}\nlimits = "waits=-1"', "expected limits like waits=100 pulls=10, got 'waits=-1'"),
        ('{all}\nlimits = "waits=1 waits=2"', "got 'waits=2'"),
        ('{all}\nexpires = "soon"', "expected expires as a time like"),
        ("{all}\nexpires = 3", "expected expires as a time like"),
        ('{all}\nstate = "god"', "expected state as good or revoked, got 'god'"),
        ('{all}\nnamespaces = ["a/"]', "expected a namespace like"),
        ('name = "till"\npublic = "short"\nrole = "client"', "expected a CURVE key as 40 characters of Z85, got 5"),
        ('name = "till"\npublic = "{public}"\nrole = "king"', "expected a role of client, worker, admin, got 'king'"),
    ],
)
def test_what_is_no_entry_says_why(directory: KeyDirectory, text: str, complaint: str) -> None:
    rest = f'public = "{PUBLIC}"\nrole = "client"'
    text = text.replace("{all}", f'name = "till"\n{rest}').replace("{rest}", rest).replace("{public}", PUBLIC)
    path = directory.path_of("till")
    path.write_text(text)
    path.chmod(0o600)

    with pytest.raises(KeyFileError, match=r"till\.pub: ") as raised:
        directory.entry("till")
    assert complaint in str(raised.value)


def test_a_broken_entry_takes_its_own_rights_and_no_others(directory: KeyDirectory) -> None:
    directory.write(KeyEntry("till", PUBLIC, "client"))
    directory.write(KeyEntry("oven", OTHER, "worker"))
    assert directory.look(NOW)
    assert set(directory.rights) == {PUBLIC, OTHER}

    directory.path_of("oven").write_text("nonsense")

    assert directory.look(NOW + 1)
    assert set(directory.rights) == {PUBLIC}
    assert set(directory.faults) == {"oven"}


@contextmanager
def without_descriptors() -> Iterator[None]:
    """No file can be opened in this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_without_descriptors_keys_whose_files_are_as_they_were_keep_their_rights(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    passed = [0.0]
    directory = KeyDirectory(tmp_path / "keys", lambda: passed[0])
    directory.make()
    directory.write(KeyEntry("till", PUBLIC, "client"))
    directory.write(KeyEntry("oven", OTHER, "worker", expires=NOW + 100))
    directory.look(NOW)
    with without_descriptors():
        assert not directory.look(NOW + 1)
        passed[0] = 1000.0
        assert not directory.look(NOW + 2)
        assert set(directory.rights) == {PUBLIC, OTHER}
        assert directory.look(NOW + 100)  # time goes on
        assert set(directory.rights) == {PUBLIC}
    assert [one.levelname for one in caplog.records] == ["ERROR"]

    assert not directory.look(NOW + 101)
    assert caplog.records[-1].getMessage().endswith("can be read again")


def test_without_descriptors_a_key_whose_file_changes_has_no_rights_until_it_can_be_read(
    directory: KeyDirectory, tmp_path: Path
) -> None:
    for name, public in (("till", PUBLIC), ("oven", OTHER), ("tray", THIRD)):
        directory.write(KeyEntry(name, public, "client"))
    directory.look(NOW)
    directory.write(KeyEntry("new", PUBLIC, "client"))
    other = directory.path_of("new").rename(tmp_path / "other")
    with without_descriptors():
        other.rename(directory.path_of("till"))
        directory.path_of("oven").unlink()
        assert directory.look(NOW + 1)
        assert set(directory.rights) == {THIRD}
        directory.path.chmod(0o755)
        assert directory.look(NOW + 2)
        assert directory.rights == {}
        directory.path.chmod(0o700)
    other = directory.path_of("till")
    other.write_text(KeyEntry("till", PUBLIC, "client").text())

    assert directory.look(NOW + 3)
    assert set(directory.rights) == {PUBLIC, THIRD}


def test_files_that_cannot_even_be_looked_at_keep_their_rights_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed = [0.0]
    directory = KeyDirectory(tmp_path / "keys", lambda: passed[0])
    directory.make()
    directory.write(KeyEntry("till", PUBLIC, "client"))
    directory.look(NOW)

    def fail(*_: Any, **__: Any) -> Any:
        raise OSError(errno.EIO, "the disk is broken")

    monkeypatch.setattr(Path, "stat", fail)
    monkeypatch.setattr(Path, "lstat", fail)
    for passed[0] in (1.0, TROUBLE_SECONDS):
        assert not directory.look(NOW + 1)
    passed[0] = TROUBLE_SECONDS + 1
    assert directory.look(NOW + 2)
    assert directory.rights == {}
    monkeypatch.undo()
    assert directory.look(NOW + 3)


def test_a_look_at_what_is_as_it_was_changes_nothing(directory: KeyDirectory) -> None:
    directory.write(KeyEntry("till", PUBLIC, "client"))

    assert directory.look(NOW)
    assert not directory.look(NOW + 1)


def test_an_entry_that_is_removed_has_no_rights(directory: KeyDirectory) -> None:
    directory.write(KeyEntry("till", PUBLIC, "client"))
    directory.look(NOW)

    directory.path_of("till").unlink()

    assert directory.look(NOW + 1)
    assert directory.rights == {}
    assert directory.name_of(PUBLIC) == PUBLIC


def test_time_alone_ends_rights(directory: KeyDirectory) -> None:
    directory.write(KeyEntry("till", PUBLIC, "client", expires=NOW + 10, previous=OTHER, previous_until=NOW + 5))
    directory.look(NOW)
    assert set(directory.rights) == {PUBLIC, OTHER}

    assert not directory.look(NOW + 4)
    assert directory.look(NOW + 5)
    assert set(directory.rights) == {PUBLIC}
    assert directory.look(NOW + 10)
    assert directory.rights == {}
    assert directory.name_of(PUBLIC) == "till"


def test_a_public_key_of_two_entries_is_nobodys(directory: KeyDirectory) -> None:
    directory.write(KeyEntry("till", PUBLIC, "client", state="revoked"))
    directory.write(KeyEntry("tilt", PUBLIC, "admin"))
    directory.write(KeyEntry("oven", OTHER, "worker"))

    directory.look(NOW)

    assert set(directory.rights) == {OTHER}


@pytest.mark.parametrize("mode", [0o666, 0o620, 0o602])
def test_an_entry_that_others_can_write_is_not_taken(directory: KeyDirectory, mode: int) -> None:
    directory.write(KeyEntry("till", PUBLIC, "client"))
    directory.path_of("till").chmod(mode)

    directory.look(NOW)

    assert directory.rights == {}
    assert "expected a file that its owner alone can write" in directory.faults["till"]


def test_an_entry_that_is_a_link_is_not_followed(directory: KeyDirectory, tmp_path: Path) -> None:
    (tmp_path / "till.pub").write_text(KeyEntry("till", PUBLIC, "admin").text())
    directory.path_of("till").symlink_to(tmp_path / "till.pub")

    directory.look(NOW)

    assert directory.rights == {}


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o701])
def test_a_directory_that_others_can_use_is_refused_in_words(directory: KeyDirectory, mode: int) -> None:
    directory.write(KeyEntry("till", PUBLIC, "client"))
    directory.look(NOW)
    directory.path.chmod(mode)

    with pytest.raises(KeyFileError, match=rf"mode 0700.*got .*keys with 0{mode:o}: run `chmod 700"):
        directory.check()
    assert directory.look(NOW + 1)
    assert directory.rights == {}
    directory.path.chmod(0o700)
    assert directory.look(NOW + 2)
    assert set(directory.rights) == {PUBLIC}


def test_a_directory_that_is_not_there_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match=r"cannot use the directory of keys .*: No such file"):
        KeyDirectory(tmp_path / "keys").check()
    (tmp_path / "file").touch()
    with pytest.raises(KeyFileError, match="expected a directory of keys"):
        KeyDirectory(tmp_path / "file").check()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_what_belongs_to_another_user_is_refused(directory: KeyDirectory) -> None:
    directory.write(KeyEntry("till", PUBLIC, "client"))
    os.chown(directory.path_of("till"), 12345, -1)

    directory.look(NOW)
    assert "it is of user 12345" in directory.faults["till"]

    os.chown(directory.path, 12345, -1)
    with pytest.raises(KeyFileError, match="it is of user 12345"):
        directory.check()


def test_the_next_key_of_the_coordinator_holds_from_its_time_on(directory: KeyDirectory) -> None:
    present = directory.server_key(NOW).public

    fresh = directory.rotate_server(NOW, 100.0).public

    assert directory.server_publics(NOW + 99) == (present, fresh)
    assert directory.server_publics(NOW + 100) == (fresh,)
    with pytest.raises(KeyFileError, match="is being rotated already"):
        directory.rotate_server(NOW + 99, 1.0)
    last = directory.rotate_server(NOW + 101, 100.0).public
    assert directory.server_publics(NOW + 102) == (fresh, last)
    assert directory.server_publics(NOW + 201) == (last,)
    assert {mode_of(path) for path in directory.path.iterdir()} == {0o600}


def test_nothing_changes_by_time_alone_when_nothing_ends() -> None:
    assert KeyEntry("till", PUBLIC, "client").next_change(NOW) == math.inf


def test_no_entry_may_be_called_as_the_key_of_a_program_that_hosts_its_coordinator(directory: KeyDirectory) -> None:
    entry = KeyEntry("till", PUBLIC, "client")

    with pytest.raises(ValueError, match="embedded"):
        read_entry(entry.text().replace("till", "embedded").encode(), "embedded")
