"""Commands about keys: they write the coordinator's directory of keys, which it reads again by itself."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from zq.cli.arguments import Json, parse_seconds
from zq.cli.output import echo, exit_codes, print_json, print_rows

if TYPE_CHECKING:
    from zq.keys.directory import KeyDirectory
    from zq.keys.entry import KeyEntry

COLUMNS = ["name", "role", "state", "queues", "namespaces", "expires", "fault"]

Name = Annotated[str, typer.Argument(help="Name of the key: letters, digits, dots, - and _.")]
Keys = Annotated[
    Path | None,
    typer.Option("--keys", envvar="ZQ_KEYS", help="Directory of the coordinator's keys.", show_default=False),
]
RoleOption = Annotated[
    Literal["client", "worker", "admin"] | None,
    typer.Option(help="What the key is for: to submit and ask, to work, or all of it.", show_default=False),
]
Patterns = Annotated[
    list[str] | None,
    typer.Option("--queue", "-q", help="Pattern of its queues, such as orders.*; may be repeated. [default: all]"),
]
Submit = Annotated[list[str] | None, typer.Option(help="Of queues that it may submit to, if not to all of its own.")]
Work = Annotated[list[str] | None, typer.Option(help="Of queues whose tasks it may take, if not of all of its own.")]
Look = Annotated[list[str] | None, typer.Option(help="Of queues that it may look at beside those.")]
Namespaces = Annotated[
    list[str] | None,
    typer.Option("--namespace", help="Namespace that it is bound to; may be repeated. [default: none]"),
]
Limits = Annotated[
    str | None, typer.Option(help="Limits of its own, such as 'waits=100 pulls=10'.", show_default=False)
]
Expires = Annotated[
    str | None,
    typer.Option(
        help="When it ends: in 90d or 12h, or at 2027-01-31T12:00; never takes it back.", show_default="never"
    ),
]
Out = Annotated[
    Path | None, typer.Option("--out", "-o", help="File for the secret key.", show_default="NAME.key in this directory")
]


def new(
    name: Name,
    role: RoleOption = None,
    queue: Patterns = None,
    submit: Submit = None,
    work: Work = None,
    look: Look = None,
    namespace: Namespaces = None,
    limits: Limits = None,
    expires: Expires = None,
    out: Out = None,
    keys: Keys = None,
    as_json: Json = False,
) -> None:
    """Make a key and let it in: the secret goes to a file for its owner, the public one to the coordinator's keys.

    Examples:
        zq keys new shop-1 --role worker --keys ./keys --queue 'orders.*'
        zq keys new web --role client --keys ./keys --expires 90d
    """
    with exit_codes():
        from zq.keys.entry import KeyEntry
        from zq.keys.key import Key

        if role is None:
            raise ValueError("expected --role client, worker or admin")
        directory = _directory(keys, is_made=True)
        now = time.time()
        key = Key.new(name, role, directory.server_publics(now))
        said = _said(
            queue=queue, submit=submit, work=work, look=look, namespace=namespace, limits=limits, expires=expires
        )
        entry = KeyEntry(name, key.public, role, **said)
        directory.write(entry)  # first: it fails when there is one of the name
        path = out or Path(f"{name}.key")
        try:
            key.write(path)
        except BaseException:
            directory.path_of(name).unlink()
            raise
        _tell(entry, f"is let in by {directory.path}; its owner alone may have {path}")
        _print(entry, path, as_json=as_json)


def allow(
    name: Name,
    public: Annotated[
        str | None, typer.Option(help="A public key that was made elsewhere.", show_default="the one that it has")
    ] = None,
    role: RoleOption = None,
    queue: Patterns = None,
    submit: Submit = None,
    work: Work = None,
    look: Look = None,
    namespace: Namespaces = None,
    limits: Limits = None,
    expires: Expires = None,
    keys: Keys = None,
    as_json: Json = False,
) -> None:
    """Let a public key in that was made elsewhere, or change what a key may do; also one that was revoked.

    Examples:
        zq keys allow shop-1 --keys ./keys --expires never
    """
    with exit_codes():
        from zq.keys.entry import GOOD, KeyEntry

        directory = _directory(keys, is_made=public is not None)
        said = _said(
            queue=queue, submit=submit, work=work, look=look, namespace=namespace, limits=limits, expires=expires
        )
        if public is not None:
            if role is None:
                raise ValueError("expected --role client, worker or admin")
            entry = KeyEntry(name, public, role, **said)
            holder = directory.holder_of(public)
            if holder not in (None, name):
                raise ValueError(f"this public key is that of {holder} already, and with two entries it has no rights")
            directory.write(entry)
        else:
            known = directory.entry(name)
            entry = replace(known, role=role or known.role, state=GOOD, **said)
            directory.write(entry, is_replacing=True)
        _tell(entry, "is let in within a second")
        _print(entry, None, as_json=as_json)


def revoke(name: Name, keys: Keys = None, as_json: Json = False) -> None:
    """Take all rights from a key, within a second, also on connections that are there; its entry stays.

    Examples:
        zq keys revoke shop-1 --keys ./keys
    """
    with exit_codes():
        directory = _directory(keys)
        entry = directory.entry(name).revoked()
        directory.write(entry, is_replacing=True)
        echo(f"key {name} is revoked", err=True)
        _print(entry, None, as_json=as_json)


def rotate(
    name: Annotated[str | None, typer.Argument(help="Name of the key.", show_default=False)] = None,
    server: Annotated[bool, typer.Option("--server", help="The coordinator's own key.")] = False,
    overlap: Annotated[str, typer.Option(help="How long the present key is good, such as 12h or 7d.")] = "7d",
    force: Annotated[
        bool, typer.Option("--force", help="Also when the pair before the present one is good yet: it ends at once.")
    ] = False,
    out: Out = None,
    keys: Keys = None,
    as_json: Json = False,
) -> None:
    """Make a new pair for a key, or for the coordinator; the present one is good for a while yet.

    Examples:
        zq keys rotate shop-1 --keys ./keys --overlap 7d
        zq keys rotate --server --keys ./keys
    """
    with exit_codes():
        if server == (name is not None):
            raise ValueError("expected the name of a key, or --server")
        directory = _directory(keys)
        seconds = parse_seconds(overlap)
        if name is None:
            _rotate_server(directory, seconds, as_json=as_json)
        else:
            entry = directory.entry(name)
            if not force:
                _check_rotated(entry)
            _rotate(directory, entry, seconds, out or Path(f"{name}.key"), as_json=as_json)


def _check_rotated(entry: KeyEntry) -> None:
    """Raises ValueError when the pair before the present one is good yet: peers may have no other."""
    from zq.keys.entry import time_text

    if len(entry.publics_at(time.time())) > 1 and entry.previous_until is not None:
        raise ValueError(
            f"the key {entry.name} is being rotated already: the pair before is good until "
            f"{time_text(entry.previous_until)}; with --force it ends at once, and who has it only is out"
        )


def _check_place(path: Path, name: str) -> None:
    """Raises ValueError when a key would take the place of anything but a key of its name."""
    from zq.errors import KeyFileError
    from zq.keys.key import Key

    if not os.path.lexists(path):
        return
    try:
        known = Key.read(path)
    except KeyFileError as error:
        raise ValueError(f"expected the key {name} at {path}, which is replaced, or nothing: {error}") from error
    if known.name != name or known.role == "coordinator":
        raise ValueError(
            f"expected the key {name} at {path}, which is replaced, or nothing, got the {known.role} key {known.name}"
        )


def _rotate(directory: KeyDirectory, entry: KeyEntry, seconds: float, path: Path, *, as_json: bool) -> None:
    from zq.keys.entry import time_text
    from zq.keys.key import Key, drafted

    _check_place(path, entry.name)
    name, now = entry.name, time.time()
    key = Key.new(name, entry.role, directory.server_publics(now))  # type: ignore[arg-type]
    rotated = entry.rotated(key.public, now + seconds)
    with drafted(path, key.text()) as draft:
        directory.write(rotated, is_replacing=True)  # before the name: whatever happens, the file has a good key
        try:
            draft.replace(path)
        except BaseException:
            directory.write(entry, is_replacing=True)
            raise
    echo(f"the new key {name} is in {path}; the one before is good until {time_text(now + seconds)}", err=True)
    _print(rotated, path, as_json=as_json)


def _rotate_server(directory: KeyDirectory, seconds: float, *, as_json: bool) -> None:
    from zq.keys.entry import time_text

    now = time.time()
    directory.rotate_server(now, seconds)
    publics = directory.server_publics(now)
    text = ", ".join(f'"{public}"' for public in publics)
    echo(
        f"the coordinator has its next key from {time_text(now + seconds)} on; until then every peer needs in its "
        f"key's file: servers = [{text}]",
        err=True,
    )
    if as_json:
        print_json({"servers": publics, "from": time_text(now + seconds)})
    else:
        echo("\n".join(publics))


def list_keys(keys: Keys = None, as_json: Json = False) -> None:
    """List the keys that are let in, those that were, and entries that cannot be read.

    Examples:
        zq keys ls --keys ./keys
    """
    with exit_codes():
        from zq.errors import KeyFileError
        from zq.keys.entry import time_text

        directory = _directory(keys)
        now = time.time()
        rows: list[dict[str, Any]] = []
        for name in directory.names():
            try:
                row = directory.entry(name).as_map(now)
            except KeyFileError as error:
                row = {"name": name, "state": "broken", "fault": str(error)}
            for field in ("expires", "previous_until"):
                if row.get(field) is not None:
                    row[field] = time_text(row[field])
            rows.append(row if as_json else {one: _cell(row.get(one)) for one in COLUMNS})
        print_rows(rows, COLUMNS, as_json=as_json, drops=["fault", "expires", "namespaces", "queues"])


def _cell(value: Any) -> Any:
    return " ".join(value) if isinstance(value, tuple) else value


def _directory(keys: Path | None, *, is_made: bool = False) -> KeyDirectory:
    from zq.keys.directory import KeyDirectory

    if keys is None:
        raise ValueError("expected --keys DIR, or ZQ_KEYS: the directory of the coordinator's keys")
    directory = KeyDirectory(keys)
    if is_made:
        if directory.make():
            echo(f"{keys} was made, for a new coordinator, with a key of its own in it", err=True)
    else:
        directory.check()
    return directory


def _tell(entry: KeyEntry, text: str) -> None:
    """Says that a key is let in, if it is."""
    from zq.keys.entry import GOOD, time_text

    if entry.expires is not None and entry.state_at(time.time()) != GOOD:
        text = f"is not let in: it has ended at {time_text(entry.expires)}; `zq keys allow {entry.name} --expires 90d`"
    echo(f"key {entry.name} ({entry.role}) {text}", err=True)


def _said(*, expires: str | None, limits: str | None, **lists: list[str] | None) -> dict[str, Any]:
    """Returns the fields of an entry that were given."""
    names = {"queue": "queues", "namespace": "namespaces"}
    said: dict[str, Any] = {names.get(name, name): tuple(one) for name, one in lists.items() if one is not None}
    if limits is not None:
        said["limits"] = limits
    if expires is not None:
        said["expires"] = None if expires == "never" else _end(expires)
    return said


def _end(text: str) -> float:
    from zq.keys.entry import read_time

    try:
        return time.time() + parse_seconds(text)
    except ValueError:
        return read_time("--expires", text)


def _print(entry: KeyEntry, path: Path | None, *, as_json: bool) -> None:
    if as_json:
        print_json({**entry.as_map(time.time()), **({} if path is None else {"path": str(path)})})
    else:
        echo(entry.public if path is None else str(path))
