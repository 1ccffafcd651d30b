"""The table of docs/guarantees.md, made from lines that runs have printed: a row for each of the plan, with what the
suite does, what longer runs did, and what came of it. A row without a line says why.

The lines are kept in recorded.jsonl beside this file, each with what the table needs of it.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from tests.chaos.rows import ROWS
from tests.fuzz.test_fuzz import DECODER_FRAMES, SOCKET_FRAMES
from tests.images.test_damaged import IMAGES as DAMAGED_IMAGES
from tests.images.test_images import IMAGES as CUT_IMAGES
from tests.simulation.test_simulation import SEEDS

PAGE: Final = Path(__file__).parents[2] / "docs" / "guarantees.md"
RECORDED: Final = Path(__file__).parent / "recorded.jsonl"

BEGIN, END = "<!-- lines: begin -->\n", "<!-- lines: end -->\n"


class Planned(NamedTuple):
    """A row of the plan: what is done, what must hold, and what the suite does of it, with where that is."""

    what: str
    suite: str


def _chaos(number: str, word: str, more: str = "") -> str:
    count = ROWS[number].usual
    return f"{count} {word}{'' if count == 1 else 's'}{more}: `tests/chaos`"


PLAN: Final = {
    "1": Planned(
        "storms of the core, simulated: crashes, losses, lies, jumping clocks", f"{SEEDS:,} seeds: `tests/simulation`"
    ),
    "2": Planned("the same seed twice, under two hash seeds: the same trace", "some seeds: `tests/simulation`"),
    "3": Planned("faults planted in the core, each of which must be caught", "all: `tests/simulation`"),
    "4": Planned("a crash at every effect of a script, and at pairs of them", "short scripts: `tests/simulation`"),
    "5": Planned(
        "disks as power cuts could leave them, rebuilt from recorded system calls", f"{CUT_IMAGES}: `tests/images`"
    ),
    "5b": Planned(
        "damaged disks: bits, sectors, pages, lengths; what is whole is served, what is not is named",
        f"{DAMAGED_IMAGES}: `tests/images`",
    ),
    "6": Planned("system calls that fail or kill, at the n-th", "`tests/store`, `tests/images`, without a load"),
    "7": Planned("`kill -9` of the coordinator", _chaos("7", "kill")),
    "7b": Planned("`kill -9` of a coordinator behind which 100,000 tasks wait", "not there: it takes its time"),
    "8": Planned("`kill -9` of workers and of their children", _chaos("8", "kill")),
    "9": Planned("workers that stand still until they are gone, and go on", _chaos("9", "zombie")),
    "10": Planned("a coordinator that stands still", _chaos("10", "stop")),
    "11": Planned("lines that are cut, stopped one way, delayed, slow, deaf", _chaos("11", "fault")),
    "11b": Planned("cables that are pulled, between two network namespaces", _chaos("11b", "time")),
    "12": Planned("a disk that others fill", _chaos("12", "time")),
    "12b": Planned("a map that is full", "`tests/store`, `tests/process`, without a load"),
    "13": Planned("a wall clock that jumps by days", _chaos("13", "jump")),
    "14": Planned("1,000 connections at 256 descriptors", _chaos("14", "burst")),
    "15": Planned("frames that are nearly valid, for the decoders", f"{DECODER_FRAMES:,} frames: `tests/fuzz`"),
    "16": Planned("two hundred bad peers beside an honest one", f"{SOCKET_FRAMES:,} frames, tcp and ipc: `tests/fuzz`"),
    "17": Planned("eleven attacks on four faces, over tcp and ipc", "all 88: `tests/door`"),
    "18": Planned("ten times as much as the workers can do", "its bounds: `tests/process`, `tests/server`"),
    "19": Planned("a crowd of workers, and restarts", f"200 workers, {_chaos('19', 'restart')}"),
    "20": Planned("tasks that end their process: exit, SIGSEGV, SIGKILL, endless", _chaos("20", "task")),
    "21": Planned(
        "first in, first out, for ever, 0.1 to 64 KiB: the file does not grow", "some thousands: `tests/plan`"
    ),
    "22": Planned("two coordinators on one directory", "at each kill of row 7; `tests/store`"),
    "23": Planned("direct pipelines of which a stage is killed", "20 runs: `tests/patterns`"),
    "24": Planned("the store in memory against LMDB and the journal", "some sequences: `tests/store`"),
    "25": Planned("data directories and byte streams of former versions", "all: `tests/store`, `tests/wire`"),
    "26": Planned("a long life at half a load with all slow injuries", "not there: it takes its time"),
    "27": Planned("true power cuts, of a machine or by a lying block device", "not there: see below the table"),
    "28": Planned("backups of what is in use, and restores", f"{_chaos('28', 'time', ', one killed')}; `tests/care`"),
}
"""The rows, in their order."""

NOT_RUN: Final = {
    "3": "the suite plants all of them in each run",
    "27": "no machine to cut the power of, no LazyFS, and no dm-flakey here; row 5 stands in for it",
}
"""Rows that have no run of their own, with the reason."""

NO_LINE: Final = "no line of it yet"

REFUSED: Final = "second_coordinators_refused"
"""What lines of row 7 say of row 22, which is tried at each of its kills."""

BAD: Final = (
    "lost", "twice", "stale_accepted", "unexpected", "forwards", "order", "unique", "groups", "trees", "publications",
    "cancels", "dead_letters", "pulls", "schedules", "pipelines", "left", "clients", "false_deaths",
    "granted_twice_in_an_epoch", "neighbours", "unaccounted", "violations",
)  # fmt: skip
"""Counts that must be 0."""

SUMS: Final = {
    "seeds": "seeds", "events": "events", "scripts": "scripts", "points": "points", "pairs": "pairs", "images": "images", "plants": "plants",
    "frames": "frames", "pieces": "pieces sent", "attacks": "attacks", "checks": "checks", "runs": "runs",
    "games": "sequences", "steps": "steps", "tasks": "tasks", "rounds": "rounds",
    "injuries": "injuries", "refused": "refused", "acknowledged": "acknowledged", "executions": "executions",
    "again": "executed again", "stale_refused": "stale refused", REFUSED: "second ones refused",
    "bitten": "noticed", "lost_and_named": "damaged rows named", "turned_away": "turned away",
    "executions_cut": "executions cut short", "looked_at": "tasks looked for in a copy",
}  # fmt: skip
"""Counts that are added up over the runs, and how the table calls them."""

MOST: Final = {
    "first_receipt_p99": "s to the first receipt (p99)", "first_receipt_max": "s to the first receipt at most",
    "first_start_max": "s to the first start at most", "accepted_after_max": "s until accepted again at most",
    "back_after": "s until served as before", "all_back_max": "s until all are back", "workers": "workers",
    "waiting": "tasks waiting",
    "growth": "times the file", "memory_mib_per_hour": "MiB an hour more", "ms_a_kib": "ms a KiB at most",
    "most_mb": "MB a frame at most",
}  # fmt: skip
"""Figures of which the largest of the runs is shown."""

STEADY_MINUTES_MIN: Final = 5.0
"""Of a long life, below which it says nothing of how memory grows."""

KEPT: Final = ("row", "name", "seed", "journal", "seconds", "ok", "skipped", *BAD, *SUMS, *MOST)
"""Of a line, what is recorded."""


def renew(files: Iterable[Path]) -> None:
    """Adds the lines of files to those that are recorded, and writes the table into the page."""
    kept = {_mark(line): line for line in read(RECORDED)} if RECORDED.exists() else {}
    for file in files:
        kept |= {_mark(line): line for line in map(_shorten, read(file)) if row_of(line) in PLAN}
    order = list(PLAN)
    lines = sorted(kept.values(), key=lambda line: (order.index(row_of(line)), line.get("seed", 0)))
    RECORDED.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}{table_of(lines)}{END}{after}", encoding="utf-8")


def read(file: Path) -> list[dict[str, Any]]:
    """Returns the lines of a file that are runs; what else was printed is passed over."""
    found = []
    for text in file.read_text(encoding="utf-8").splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if isinstance(line, dict) and "row" in line and "plant" not in line:
            found.append(line)
    return found


def row_of(line: Mapping[str, Any]) -> str:
    return "5b" if "damage" in str(line.get("name")) else str(line["row"])


def _mark(line: Mapping[str, Any]) -> tuple[Any, ...]:
    return row_of(line), line.get("name"), line.get("seed"), line.get("journal"), line.get("seconds")


def _shorten(line: Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(line.get("violations"), list):
        line = {**line, "violations": None}  # texts of what the counts say
    if line.get("steady_minutes", STEADY_MINUTES_MIN) < STEADY_MINUTES_MIN:
        line = {**line, "memory_mib_per_hour": None}
    return {name: line[name] for name in KEPT if line.get(name) not in (None, 0, 0.0) or name in ("ok", "seed")}


def table_of(lines: Iterable[Mapping[str, Any]]) -> str:
    """Returns the table, in Markdown."""
    by_row: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for line in lines:
        by_row[row_of(line)].append(line)
        if REFUSED in line:
            by_row["22"].append({name: line[name] for name in ("journal", "seconds", REFUSED, "ok") if name in line})
    rows = [
        f"| {number} | {planned.what} | {planned.suite} | {_longer(number, by_row[number])} | {_result(by_row[number])} |"
        for number, planned in PLAN.items()
    ]
    heading = [
        "",
        "| row | what | in the suite | in longer runs | broken promises |",
        "| --- | --- | --- | --- | --- |",
    ]
    return "\n".join([*heading, *rows, "", ""])


def _longer(number: str, lines: list[Mapping[str, Any]]) -> str:
    ran = [line for line in lines if "skipped" not in line]
    if not ran:
        reasons = {reason for line in lines for reason in _listed(line["skipped"])}
        return f"not run: {'; '.join(sorted(reasons)) or NOT_RUN.get(number, NO_LINE)}"
    sums = Counter[str]()
    for line in ran:
        sums.update({name: line[name] for name in SUMS if isinstance(line.get(name), int)})
    most = {name: max(line.get(name, 0.0) for line in ran) for name in MOST}
    figures = [f"{sums[name]:,} {words}" for name, words in SUMS.items() if sums[name]]
    figures += [f"{most[name]:,g} {words}" for name, words in MOST.items() if most[name] > 0]
    journals = sorted({line["journal"] for line in ran if "journal" in line}, reverse=True)
    how = f", journal {' and '.join(journals)}" if journals else ""
    minutes = sum(line.get("seconds", 0.0) for line in ran) / 60.0
    runs = "1 run" if len(ran) == 1 else f"{len(ran)} runs"
    return f"{runs}, {max(1, round(minutes))} min{how}: {', '.join(figures)}"


def _listed(reasons: str | list[str]) -> list[str]:
    return [reasons] if isinstance(reasons, str) else reasons


def _result(lines: list[Mapping[str, Any]]) -> str:
    ran = [line for line in lines if "skipped" not in line]
    if not ran:
        return "-"
    bad = Counter[str]()
    for line in ran:
        bad.update({name: line[name] for name in BAD if isinstance(line.get(name), int)})
    found = [f"{count} {name.replace('_', ' ')}" for name, count in bad.items() if count]
    if failed := sum(not line["ok"] for line in ran):
        found.append(f"{failed} of {len(ran)} runs not as they must be")
    return ", ".join(found) or "0"
