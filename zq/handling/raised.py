"""What was raised, in words: the one place that makes text of an exception, which may be anybody's code.

Whatever runs handlers, functions of stages or calls of an executor asks here what to say of an exception. Nothing here
raises, whatever the exception is and does: its attributes may be properties that raise, its `__str__` may exit, return
a subclass of `str` that lies, or many megabytes; its causes may be a circle, or thousands. So what must be known of an
exception is read from the slots of the built-in classes, which no subclass can hide, every call of its own code is
guarded, and what comes out is a plain `str`, which UTF-8 can hold, of a size that the caller says.

The traceback is that of the `traceback` module, as long as it can be left to that: for what is larger than anybody
reads, or makes it fail, there is a plainer one of our own. What is done is bounded by what the exception is already:
nothing is walked that has no end, and no text is copied more than a few times.
"""

from __future__ import annotations

import stat
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

LINKS_MAX = 50
"""Exceptions in one traceback: causes, contexts and members of groups. The newest are kept."""

FRAMES_MAX = 100
"""Calls that are shown of one exception, the innermost; more are a recursion."""

FRAMES_SEEN_MAX = 10_000
"""Calls under which the `traceback` module is quick; it looks at each, also at those that it does not show."""

TEXT_SIZE_MAX = 1 << 20
"""Characters or bytes of an exception's argument that the `traceback` module may copy as often as it likes."""

LOGGED_BYTES_MAX = 1 << 16
"""Of a traceback that is written to a log or a terminal."""

SOURCE_BYTES_MAX = 16 << 20
"""Of a file from which it may read a line: it reads all of it."""

FORMATTING_TRIES = 3
"""Python 3.11 counts the depth of syntax trees for all threads together: two that make tracebacks at once may get a
SystemError in the place of one, and the next try is as good as any.
"""

UNNAMED = "an exception without a name"

_name_of = type.__dict__["__name__"].__get__
_traceback_of = BaseException.__dict__["__traceback__"].__get__
_cause_of = BaseException.__dict__["__cause__"].__get__
_context_of = BaseException.__dict__["__context__"].__get__
_is_suppressed = BaseException.__dict__["__suppress_context__"].__get__
_args_of = BaseException.__dict__["args"].__get__
_members_of = BaseExceptionGroup.__dict__["exceptions"].__get__


def cut(text: str, bytes_max: int, *, keep_end: bool = False) -> str:
    """Returns a text as a plain `str` that UTF-8 can hold (surrogates are escaped), cut to so many bytes, above 0."""
    part = slice(-bytes_max, None) if keep_end else slice(0, bytes_max)
    data = str.encode(str.__getitem__(text, part), errors="backslashreplace")  # a subclass may have its own
    return (data[-bytes_max:] if keep_end else data[:bytes_max]).decode(errors="ignore")


def text_of(value: object, bytes_max: int, by: Callable[[object], str] = str) -> str:
    """Returns what something says of itself (`by` str or repr), cut to so many bytes; a sentence when it cannot."""
    try:
        return cut(by(value), bytes_max)
    except BaseException:  # its __str__ is anybody's code, and sys.exit in it ends nothing
        return cut(f"{kind_of(value)}, whose text cannot be made", bytes_max)


def kind_of(value: object) -> str:
    """Returns the name of the class of something, whatever that says it is."""
    try:
        return cut(_name_of(type(value)), 1000)
    except BaseException:
        return UNNAMED


def summary_of(error: BaseException, bytes_max: int) -> str:
    """Returns type and text of an exception, as `ValueError: no such pizza`, cut to so many bytes."""
    kind = kind_of(error)
    try:
        text = cut(str(error), bytes_max)
    except BaseException:  # as in `text_of`
        return cut(f"{kind}, whose text cannot be made", bytes_max)
    return cut(f"{kind}: {text}", bytes_max)


def trace_of(error: BaseException, bytes_max: int, entries_max: int | None = None) -> str:
    """Returns the traceback of an exception, cut to so many bytes: the end, where the cause stands.

    Args:
        entries_max: last entries (calls with their source, and headings) that are kept; None: all.
    """
    skipped = slice(None if entries_max is None else -entries_max, None)
    for entries_of in (_usual_entries, partial(_plain_entries, text_bytes_max=max(bytes_max // 2, 1))):
        try:
            entries = entries_of(error)
            if entries:
                return cut("".join(entries[skipped]), bytes_max, keep_end=True)
        except BaseException:  # something of it is anybody's code; the next way asks for less
            pass
    return cut(f"{kind_of(error)}\n", bytes_max)


def _usual_entries(error: BaseException) -> list[str]:
    """Returns what Python says; nothing when that could take for ever."""
    if not _is_usual(error):
        return []
    for _ in range(FORMATTING_TRIES - 1):
        try:
            return traceback.format_exception(type(error), error, _traceback_of(error), limit=-FRAMES_MAX)
        except SystemError:
            pass
    return traceback.format_exception(type(error), error, _traceback_of(error), limit=-FRAMES_MAX)


def _is_usual(error: BaseException) -> bool:
    """Returns whether the `traceback` module will be done with it soon."""
    waiting: list[BaseException] = [error]
    seen: set[int] = set()
    calls: list[str] = []
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        waiting += [other for other in (_cause_of(one), _context_of(one)) if other is not None]
        if issubclass(type(one), BaseExceptionGroup):
            waiting += _members_of(one)[:LINKS_MAX]
        if len(seen) > LINKS_MAX or any(map(_is_huge, _args_of(one))):
            return False
        here: TracebackType | None = _traceback_of(one)
        while here is not None:
            if len(calls) >= FRAMES_SEEN_MAX:
                return False
            calls.append(here.tb_frame.f_code.co_filename)
            here = here.tb_next
    return all(map(_is_readable, set(calls)))


def _is_huge(argument: Any) -> bool:
    """Whether an argument of an exception is text or bytes of a size that nobody reads."""
    return type(argument) in (str, bytes, bytearray) and len(argument) > TEXT_SIZE_MAX


def _is_readable(path: str) -> bool:
    """Whether looking for a line in a file comes to an end; where there is no file, it does."""
    try:
        found = Path(path).stat()
    except (OSError, ValueError):
        return True
    return stat.S_ISREG(found.st_mode) and found.st_size <= SOURCE_BYTES_MAX


def _plain_entries(error: BaseException, text_bytes_max: int) -> list[str]:
    """Returns calls without their source, and the newest causes alone."""
    chain: list[BaseException] = []
    one: BaseException | None = error
    while one is not None and len(chain) < LINKS_MAX:
        chain.append(one)
        cause = _cause_of(one)
        one = cause if cause is not None or _is_suppressed(one) else _context_of(one)
    entries: list[str] = []
    for link in reversed(chain):
        if entries:
            entries.append("\nAfter this exception came another one:\n\n")
        entries += _plain_calls(link)
        entries.append(f"{summary_of(link, text_bytes_max)}\n")
    return entries


def _plain_calls(error: BaseException) -> list[str]:
    found: list[str] = []
    here: TracebackType | None = _traceback_of(error)
    while here is not None:
        code = here.tb_frame.f_code
        found.append(f'  File "{code.co_filename}", line {here.tb_lineno}, in {code.co_name}\n')
        if len(found) > 2 * FRAMES_MAX:
            del found[:FRAMES_MAX]
        here = here.tb_next
    return ["Traceback (most recent call last):\n", *found[-FRAMES_MAX:]] if found else []
