"""A key: a name, a role, a pair of CURVE keys, and the public keys of the coordinators that it trusts; and its file.

The file is TOML that people can read. Whoever can read it *is* its name, so it is written for its owner alone, and one
that others can read is not taken. What a key may do is not in it: that is the coordinator's to say.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self, get_args

import zmq

from zq.errors import KeyFileError

Role = Literal["client", "worker", "admin", "coordinator"]
"""What a key is for; what each may do is said in the coordinator's directory of keys."""

ROLES: tuple[Role, ...] = get_args(Role)

SERVERS_MAX = 16
"""Public keys of coordinators in one key: one, two while it is rotated, and room for several coordinators."""

KEY_FILE_BYTES_MAX = 65_536
"""Far above every key's file: whatever is larger is something else, and is not read into memory."""

ZAP_DOMAIN = "zq"
"""The domain of a coordinator's sockets. An authenticator must name it: libzmq asks nobody about a socket without."""

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")
_Z85_KEY = re.compile(r"[0-9A-Za-z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}")
_FIELDS = ("name", "role", "public", "secret", "servers")
_HEAD = """\
# A key of zq. Whoever can read this file can act as "{name}": keep it for its owner alone (mode 0600), and give to
# nobody more of it than the line `public`.
"""


def check_key_name(name: Any) -> str:
    """Returns the name of a key, if it is one: it is a file's name, too, and stands in logs.

    Raises:
        ValueError: it cannot be one.
    """
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        raise ValueError(f"expected a key's name of 1 to 64 letters, digits, dots, - and _, got {name!r}")
    return name


def check_public_key(public: Any) -> str:
    """Returns a public key as text, if it is one; raises ValueError when it is not.

    The text of the error does not repeat it: it might be a secret in the wrong place.
    """
    text = public.decode("ascii", "replace") if isinstance(public, bytes) else public
    if not isinstance(text, str) or _Z85_KEY.fullmatch(text) is None:
        came = f"{len(text)} characters" if isinstance(text, str) else type(text).__name__
        raise ValueError(f"expected a CURVE key as 40 characters of Z85, got {came}")
    return text


@dataclass(frozen=True, slots=True)
class Key:
    """A peer's own key, secret included; immutable, any thread may use it.

    Args:
        name: 1 to 64 letters, digits, dots, `-` and `_`.
        role: "client", "worker", "admin" or "coordinator".
        public: 40 characters of Z85, as text or bytes.
        secret: the same; never shown.
        servers: public keys of the coordinators that it trusts. While a coordinator's key is rotated both are good, and
            the first is tried first.

    Raises:
        ValueError: one of them cannot be, or public and secret do not belong together.
    """

    name: str
    role: Role
    public: str
    secret: str = field(repr=False)
    servers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_key_name(self.name)
        if self.role not in ROLES:
            raise ValueError(f"expected a role of {', '.join(ROLES)}, got {self.role!r}")
        if isinstance(self.servers, str | bytes):
            raise ValueError("expected `servers` as several public keys, got a single text")
        servers = tuple(check_public_key(server) for server in self.servers)
        if len(servers) > SERVERS_MAX:
            raise ValueError(f"expected at most {SERVERS_MAX} keys of coordinators, got {len(servers)}")
        secret = check_public_key(self.secret)
        public = check_public_key(self.public)
        if zmq.curve_public(secret.encode()).decode() != public:
            raise ValueError(f"expected the public key that belongs to the secret one of {self.name}, got another")
        for name, value in (("public", public), ("secret", secret), ("servers", servers)):
            object.__setattr__(self, name, value)

    @classmethod
    def new(cls, name: str, role: Role, servers: Iterable[str | bytes] = ()) -> Self:
        """Returns a new key with a pair that nobody else has; raises ValueError as the constructor."""
        public, secret = zmq.curve_keypair()
        return cls(name, role, public.decode(), secret.decode(), tuple(servers))  # type: ignore[arg-type]

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Self:
        """Returns the key in a file.

        Raises:
            KeyFileError: it is not there, others than its owner can read it, or it is no key; the text says what to do.
        """
        return cls.parse(_read_private(Path(path)), str(path))

    @classmethod
    def parse(cls, content: bytes | str, where: str = "a text") -> Self:
        """Returns the key that a file's content, or a `text`, is.

        Args:
            content: as `text` returns it.
            where: it was found, for the error.

        Raises:
            KeyFileError: it is no key.
        """
        fields = _parse(content.encode() if isinstance(content, str) else content, where)
        try:
            return cls(**{**fields, "servers": tuple(fields["servers"])})
        except (ValueError, TypeError) as error:
            raise KeyFileError(f"{where}: {error}") from None

    def write(self, path: str | os.PathLike[str], *, is_replacing: bool = False) -> None:
        """Writes the key to a file, whole or not at all, with mode 0600; folders that are missing are made with 0700.

        Args:
            is_replacing: whether a file that is there already is replaced; else that is an error, and it stays.

        Raises:
            KeyFileError: it cannot be written there.
        """
        write_private(path, self.text(), is_replacing=is_replacing)

    def secure(self, socket: zmq.Socket[Any], server: str | None = None) -> None:
        """Makes a socket that will connect speak CURVE, and prove that it is this key; call it before `connect`.

        Args:
            server: public key of the one that must answer; None: the first of `servers`.

        Raises:
            ValueError: this key knows no server.
        """
        if server is None and not self.servers:
            raise ValueError(self.why_useless())
        socket.curve_secretkey = self.secret.encode()
        socket.curve_publickey = self.public.encode()
        socket.curve_serverkey = (server or self.servers[0]).encode()

    def why_useless(self) -> str:
        """Returns what is wrong with a key that knows no coordinator's key, so that it could not tell whom it talks
        to.
        """
        return (
            f"expected the public key of a coordinator in the key {self.name}, got none: make it with `zq keys new` "
            "beside the coordinator's keys, or add the line servers = [...]"
        )

    def guard(self, socket: zmq.Socket[Any], domain: str = ZAP_DOMAIN) -> None:
        """Makes a socket that will bind speak CURVE as this key; call it before `bind`, and with an authenticator that
        runs already. Without one nobody gets in: the domain is both named and enforced.
        """
        socket.curve_server = 1
        socket.curve_secretkey = self.secret.encode()
        socket.curve_publickey = self.public.encode()
        socket.zap_domain = domain.encode()
        socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)

    def text(self) -> str:
        """Returns the whole key, its secret included, as a file has it."""
        servers = ", ".join(f'"{server}"' for server in self.servers)  # Z85 has no quotes and no backslashes
        lines = [f'{name} = "{getattr(self, name)}"' for name in _FIELDS[:-1]]
        return _HEAD.format(name=self.name) + "\n".join([*lines, f"servers = [{servers}]", ""])


def write_private(path: str | os.PathLike[str], text: str, *, is_replacing: bool = False) -> None:
    """Writes a file that its owner alone can read, whole or not at all, also when the power goes; as `Key.write`.

    Raises:
        KeyFileError: there is one already and it is not to be replaced, or it cannot be written.
    """
    place = Path(path)
    with drafted(place, text) as draft:
        if is_replacing:
            draft.replace(place)
        else:
            _name_unless_taken(draft, place)


@contextmanager
def drafted(place: Path, text: str) -> Iterator[Path]:
    """Writes a private file beside a place, for the block to rename it; what it has not renamed is removed.

    Raises:
        KeyFileError: it cannot be written, or the block raises OSError.
    """
    draft = place.with_name(f".{place.name}.{os.urandom(8).hex()}")
    try:
        _make_private_folder(place.parent)
        try:
            _write_new(draft, text.encode())
            yield draft
        finally:
            draft.unlink(missing_ok=True)
        _sync_folder(place.parent)
    except OSError as error:
        raise KeyFileError(f"cannot write {place}: {error.strerror or error}") from error


def _name_unless_taken(draft: Path, place: Path) -> None:
    try:
        place.hardlink_to(draft)  # unlike a rename, it does not replace what has the name already
    except FileExistsError:
        raise KeyFileError(f"{place} is there already: remove it, or choose another name") from None


def _make_private_folder(folder: Path) -> None:
    if not folder.is_dir():
        _make_private_folder(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)


def _write_new(path: Path, content: bytes) -> None:
    number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(number, "wb") as file:
        os.fchmod(number, 0o600)  # also when the umask takes a right from the owner
        file.write(content)
        file.flush()
        os.fsync(number)


def _sync_folder(folder: Path) -> None:
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _read_private(path: Path) -> bytes:
    """Returns what is in a file of which others than its owner can read nothing; what is looked at is what is read."""
    try:
        number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe would wait for a writer
        with os.fdopen(number, "rb") as file:
            found = os.fstat(number)
            if not stat.S_ISREG(found.st_mode):
                raise KeyFileError(f"expected a key's file at {path}, got something that is no file")
            if found.st_mode & 0o077:
                mode = stat.S_IMODE(found.st_mode)
                raise KeyFileError(
                    f"expected a file that its owner alone can read (mode 0600), got {path} with {mode:04o}: run "
                    f"`chmod 600 {path}`, and make a new key if others may have read it"
                )
            content = file.read(KEY_FILE_BYTES_MAX + 1)
    except FileNotFoundError:
        raise KeyFileError(f"expected a key's file at {path}, got none: `zq keys new` makes one") from None
    except OSError as error:
        raise KeyFileError(f"cannot read the key in {path}: {error.strerror or error}") from error
    except UnicodeEncodeError:
        raise KeyFileError(f"expected a key's file, got a path that no file can have: {str(path)!a}") from None
    if len(content) > KEY_FILE_BYTES_MAX:
        raise KeyFileError(f"expected a key's file of at most {KEY_FILE_BYTES_MAX} bytes, got more in {path}")
    return content


def _parse(content: bytes, where: str) -> dict[str, Any]:
    import tomllib  # most clients have no key

    expected = f"expected a key as `zq keys new` writes it in {where}"
    try:
        fields = tomllib.loads(content.decode())
    except UnicodeDecodeError:
        raise KeyFileError(f"{expected}, got what is no text") from None
    except tomllib.TOMLDecodeError as error:  # its text has a place and no content
        raise KeyFileError(f"{expected}, got what is no TOML: {error}") from None
    missing = [name for name in _FIELDS if name not in fields]
    unknown = [name for name in fields if name not in _FIELDS]
    if missing or unknown:
        wrong = f"no {', '.join(missing)}" if missing else f"the unknown {', '.join(map(repr, unknown))}"
        raise KeyFileError(f"{expected}, got {wrong}")
    if not isinstance(fields["servers"], list):
        raise KeyFileError(f"{expected}, got `servers` that is no list")
    return fields
