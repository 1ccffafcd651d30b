"""What the model of a disk says that a power cut may leave."""

import random
from pathlib import Path

import pytest

from tests.images.disk import SECTOR, Disk, Write
from tests.images.trace import Call, Mark, Player, read_calls


def disk_with(name: str, durable: bytes, *writes: Write) -> Disk:
    disk = Disk()
    disk.make()
    disk.flush_parent()
    inode = disk.create(name)
    disk.flush_names()
    inode.pending.append(Write(0, durable))
    inode.flush()
    inode.pending += writes
    return disk


def drawn(disk: Disk, name: str) -> set[bytes | None]:
    images = [disk.draw(random.Random(seed)) for seed in range(400)]
    return {None if image.files is None else image.files.get(name) for image in images}


def test_what_was_flushed_is_there() -> None:
    disk = disk_with("data.mdb", b"a" * SECTOR)

    assert disk.is_safe
    assert drawn(disk, "data.mdb") == {b"a" * SECTOR}


def test_sectors_of_one_write_are_lost_by_themselves() -> None:
    disk = disk_with("data.mdb", b"a" * SECTOR * 2, Write(0, b"b" * SECTOR * 2))

    assert drawn(disk, "data.mdb") == {
        first * SECTOR + second * SECTOR for first in (b"a", b"b") for second in (b"a", b"b")
    }


def test_sector_that_was_written_twice_is_as_it_was_at_some_moment() -> None:
    disk = disk_with("data.mdb", b"aaaa", Write(0, b"b"), Write(1, b"c"))

    assert drawn(disk, "data.mdb") == {b"aaaa", b"baaa", b"bcaa"}


def test_write_may_be_cut_at_any_byte_where_nothing_counts_on_sectors() -> None:
    disk = disk_with("journal", b"aaa", Write(0, b"bbb"))

    assert drawn(disk, "journal") == {b"aaa", b"baa", b"bba", b"bbb"}


def test_file_that_grew_may_have_its_length_without_what_was_written() -> None:
    disk = disk_with("data.mdb", b"a", Write(1, b"b"))

    assert drawn(disk, "data.mdb") == {b"a", b"a\0", b"ab"}


def test_names_that_were_not_flushed_come_and_go() -> None:
    disk = disk_with("old", b"a")
    disk.create("new")
    disk.rename("new", "old")

    assert drawn(disk, "new") == {b"", None}
    assert drawn(disk, "old") == {b"a", b""}
    assert drawn(disk, "old") | drawn(disk, "new") == {b"a", b"", None}


def test_image_that_has_lost_nothing_says_so() -> None:
    disk = disk_with("journal", b"aaa", Write(0, b"bbb"))

    for seed in range(50):
        image = disk.draw(random.Random(seed))
        assert image.files is not None
        assert image.is_whole == (image.files["journal"] == b"bbb")


def test_calls_of_many_threads_are_read_in_their_order() -> None:
    lines = [
        '1 pwrite64(5</d/a>, "\\x61", 1, 0 <unfinished ...>',
        '2 write(6</m>, "\\x62", 1) = 1',
        "1 <... pwrite64 resumed>) = 1",
        "1 fdatasync(5</d/a> <unfinished ...>",
        '2 write(6</m>, "\\x63", 1) = 1',
        "1 <... fdatasync resumed>) = 0",
        "1 +++ exited with 0 +++",
    ]

    found = list(read_calls(lines))

    assert [call.name for call in found] == ["pwrite64", "write", "write", "fdatasync"]
    assert found[0] == Call("pwrite64", '5</d/a>, "\\x61", 1, 0', "1")


def test_marks_and_writes_are_played_in_turn(tmp_path_factory: pytest.TempPathFactory) -> None:
    place = tmp_path_factory.mktemp("played")
    player = Player(place / "d", place / "marks")
    lines = [
        f'1 mkdir("{_escaped(place / "d")}", 0700) = 0',
        f'1 openat(AT_FDCWD<{_escaped(place)}>, "{_escaped(place / "d" / "a")}", O_RDWR|O_CREAT, 0600) = 5<{_escaped(place / "d" / "a")}>',
        f"1 lseek(5<{_escaped(place / 'd' / 'a')}>, 2, SEEK_SET) = 2",
        f'1 writev(5<{_escaped(place / "d" / "a")}>, [{{iov_base="\\x61", iov_len=1}}, {{iov_base="\\x62", iov_len=1}}], 2) = 2',
        f'1 write(6<{_escaped(place / "marks")}>, "\\x6d", 1) = 1',
        f"1 fdatasync(5<{_escaped(place / 'd' / 'a')}>) = 0",
    ]

    found = list(player.play(read_calls(lines)))

    assert found == [None, None, None, None, Mark(b"m"), None]
    assert player.disk.names["a"].durable == b"\0\0ab"


def test_name_beside_the_directory_is_none_of_its_names(tmp_path: Path) -> None:
    player = Player(tmp_path / "d", tmp_path / "marks")
    path = tmp_path / "d" / "a"
    lines = [
        f'1 mkdir("{_escaped(tmp_path / "d")}", 0700) = 0',
        f'1 openat(AT_FDCWD<{_escaped(tmp_path)}>, "{_escaped(path)}", O_RDWR|O_CREAT, 0600) = 5<{_escaped(path)}>',
        f"1 fsync(6<{_escaped(tmp_path / 'd')}>) = 0",
        f'1 unlinkat(7<{_escaped(tmp_path)}>, "{_escaped("a")}", 0) = 0',
    ]

    list(player.play(read_calls(lines)))

    assert "a" in player.disk.names
    assert player.disk.is_made
    assert player.disk.unsafe == ("",)  # its parent was not flushed

    list(player.play(read_calls([f'1 unlinkat(6<{_escaped(tmp_path / "d")}>, "{_escaped("a")}", 0) = 0'])))

    assert "a" not in player.disk.names


def _escaped(path: object) -> str:
    return "".join(f"\\x{byte:02x}" for byte in str(path).encode())
