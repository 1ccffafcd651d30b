"""Contexts: coordinators by name, each with an address, a key and a namespace, in `zq.toml`.

This is the one place that says which address, key and namespace a command has. What it finds goes into the environment
of this process, where every option, every client and every child process looks. In this order:

1. the options --address, --key and --namespace
2. the context that --context names
3. ZQ_ADDRESS, ZQ_KEY and ZQ_NAMESPACE in the environment
4. the context that ZQ_CONTEXT names

No context is taken that nobody named: a file that happens to lie in a folder must not say where commands go.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from zq.cli.line.nearest import did_you_mean

FILE = "zq.toml"

VARIABLES = {"address": "ZQ_ADDRESS", "key": "ZQ_KEY", "namespace": "ZQ_NAMESPACE"}
"""What a context may have, and the variable that says the same."""


class Context(NamedTuple):
    """One of the contexts in a file."""

    name: str
    file: Path
    values: dict[str, str]

    def row(self) -> dict[str, Any]:
        return {"name": self.name, **dict.fromkeys(VARIABLES), **self.values, "file": str(self.file)}


def files_of_contexts() -> list[Path]:
    """Returns where contexts may be: the file in ZQ_CONFIG alone, if there is one; else zq.toml in the working
    directory, and then the user's own.
    """
    named = os.environ.get("ZQ_CONFIG")
    if named:
        return [Path(named).expanduser()]
    home = Path(os.environ.get("XDG_CONFIG_HOME") or Path("~/.config").expanduser())
    try:
        here = [Path.cwd() / FILE]
    except OSError:  # it was removed
        here = []
    return [*here, home / "zq" / FILE]


def read_contexts() -> dict[str, Context]:
    """Returns all contexts by name; of two with the same name that of the first file.

    Raises:
        ValueError: a file cannot be read, or has something in it that is no context.
    """
    found: dict[str, Context] = {}
    for file in files_of_contexts():
        for name, values in _read_file(file).items():
            found.setdefault(name, Context(name, file, values))
    return found


def find_context(name: str) -> Context:
    """Returns a context by its name; raises ValueError, with the names that there are."""
    contexts = read_contexts()
    if name not in contexts:
        files = " or ".join(map(str, files_of_contexts()))
        raise ValueError(
            f"expected a context in {files}, got {name!r}; there is {', '.join(contexts) or 'none'}"
            f"{did_you_mean(name, contexts)}"
        )
    return contexts[name]


def _read_file(file: Path) -> dict[str, dict[str, str]]:
    import tomllib

    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        if os.environ.get("ZQ_CONFIG"):
            raise ValueError(f"expected contexts in {file}, which ZQ_CONFIG names, and there is no such file") from None
        return {}
    except OSError as error:
        raise ValueError(f"cannot read {file}: {error.strerror}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"expected TOML in {file}: {error}") from None
    _refuse_unknown(content, ["contexts"], str(file))
    contexts = content.get("contexts", {})
    if not isinstance(contexts, dict):
        raise ValueError(f"expected tables [contexts.NAME] in {file}, got contexts = {contexts!r}")
    return {name: _check(values, f"[contexts.{name}] of {file}", file.parent) for name, values in contexts.items()}


def _check(values: Any, where: str, folder: Path) -> dict[str, str]:
    """Returns what a context has; the path of a key is that beside the file."""
    from zq.wire.address import check_address
    from zq.wire.namespaces import check_namespace

    if not isinstance(values, dict):
        raise ValueError(f"expected a table at {where}, got {values!r}")
    _refuse_unknown(values, list(VARIABLES), where)
    try:
        for name, value in values.items():
            if not isinstance(value, str):
                raise ValueError(f"expected {name} as text, got {value!r}")
        if "address" in values:
            check_address(values["address"])
        if values.get("namespace"):
            check_namespace(values["namespace"])
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    if values.get("key"):
        values["key"] = str((folder / Path(values["key"]).expanduser()).absolute())
    return values


def _refuse_unknown(values: dict[str, Any], known: list[str], where: str) -> None:
    unknown = [name for name in values if name not in known]
    if unknown:
        raise ValueError(f"expected {', '.join(known)} in {where}, got the unknown {unknown[0]!r}")


@contextmanager
def environment(values: Mapping[str, str | None]) -> Iterator[None]:
    """Sets variables of the environment for a command, its child processes included."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update({name: value or "" for name, value in values.items()})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def settings_of(name: str, *, is_explicit: bool) -> dict[str, str]:
    """Returns the variables that a context sets; raises as `find_context`.

    Args:
        is_explicit: whether it was named by an option, so that it goes before what is in the environment.
    """
    values = find_context(name).values
    return {VARIABLES[one]: value for one, value in values.items() if is_explicit or VARIABLES[one] not in os.environ}
