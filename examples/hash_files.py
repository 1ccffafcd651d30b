"""Hashes all files of a folder, small ones many at a time, and names those that are alike.

python examples/hash_files.py FOLDER
"""

import hashlib
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from patterns import batch, route, stage

SMALL_BYTES = 64 << 10


@stage(flat=True)
def find_files(folder: str) -> Iterator[list[str | int]]:
    for path in sorted(Path(folder).rglob("*")):
        if path.is_file():
            yield [str(path), path.stat().st_size]


def size(file: list[str | int]) -> str:
    return "small" if int(file[1]) <= SMALL_BYTES else "large"


def digest(path: str) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@stage(workers=2, retries=1)
def hash_file(file: list[str | int]) -> list[list[str]]:
    return [[str(file[0]), digest(str(file[0]))]]


@stage
def hash_many(files: list[list[str | int]]) -> list[list[str]]:
    return [[str(path), digest(str(path))] for path, _ in files]


pipeline = find_files | route(size, {"small": batch(32, within=0.5) | hash_many, "large": hash_file})


def main() -> None:
    paths: dict[str, list[str]] = defaultdict(list)
    for hashed in pipeline.run(sys.argv[1:2] or ["."]):
        for path, found in hashed:
            paths[found].append(path)

    for path, found in sorted((path, found) for found, alike in paths.items() for path in alike):
        print(f"{found[:16]}  {path}")
    for alike in sorted(sorted(alike) for alike in paths.values() if len(alike) > 1):
        print("alike:", *alike)


if __name__ == "__main__":
    main()
