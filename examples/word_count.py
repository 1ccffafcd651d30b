"""Counts the words of all text files of a folder: each file is cut into parts, the parts are counted in parallel, and
put together again.

python examples/word_count.py FOLDER [--top 10]
"""

import argparse
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from patterns import gather, scatter, stage

PART_CHARACTERS = 64 << 10


def read_parts(path: str) -> Iterator[str]:
    """Yields a file in parts that end with a line."""
    with Path(path).open(encoding="utf-8", errors="replace") as file:
        while lines := file.readlines(PART_CHARACTERS):
            yield "".join(lines)


@stage(workers=2)
def count_words(text: str) -> dict[str, int]:
    return dict(Counter(re.findall(r"\w+", text.lower())))


def add_counts(parts: list[dict[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for part in parts:
        total.update(part)
    return dict(total)


pipeline = scatter(read_parts) | count_words | gather(add_counts)


def main() -> None:
    parser = argparse.ArgumentParser(description="Counts words.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--top", type=int, default=10)
    arguments = parser.parse_args()

    files = sorted(map(str, arguments.folder.rglob("*.txt")))
    total: Counter[str] = Counter()
    for counts in pipeline.run(files):
        total.update(counts)

    print(f"{len(files)} files, {sum(total.values())} words, {len(total)} different ones")
    for word, count in sorted(total.items(), key=lambda one: (-one[1], one[0]))[: arguments.top]:
        print(f"{count:8} {word}")


if __name__ == "__main__":
    main()
