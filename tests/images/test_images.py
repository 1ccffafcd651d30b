"""What a power cut could leave of a real coordinator's directory opens, and has all that was acknowledged.
`python -m tests.images --images 2000` rebuilds more than the suite does.
"""

import re
from pathlib import Path

import pytest

from tests.images.building import check_images, show_mistake
from tests.images.disk import CARELESS
from tests.images.mistakes import SHORT
from tests.images.recording import missing, record

IMAGES = 50

pytestmark = pytest.mark.skipif(missing() is not None, reason=missing() or "")


def test_every_image_keeps_what_was_acknowledged(tmp_path: Path) -> None:
    recording = record(tmp_path, seed=1)
    *_, (disk, account) = recording.play()

    found = check_images(tmp_path, IMAGES, seed=1)

    assert found.images == IMAGES
    assert len(account.accepted) > 50, "hardly anything was acknowledged"
    assert len(account.ended) > 20
    assert {draw.partition(":")[0] for draw in found.kinds} >= {"data.mdb", "journal", "journal.new"}
    for name in disk.names.keys() - CARELESS:  # all that was written was seen
        assert disk.names[name].content() == (recording.directory / name).read_bytes()


@pytest.mark.parametrize("mistake", SHORT)
def test_mistake_is_seen_in_an_image(mistake: str, tmp_path: Path) -> None:
    assert re.match(r"image at place \d+|an image ended the process", show_mistake(tmp_path, mistake, seed=1))
