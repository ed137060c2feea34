"""The file with a server's tokens: the only module that reads or writes it.

The file has mode 0600 and contains digests, never secrets. A change replaces it as a whole, under a
lock, so that concurrent commands lose nothing and a reader sees the old content or the new.
"""

import os
import stat
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from filelock import FileLock
from pydantic import ValidationError

from registry.errors import UnreadablePathError, UnsafePathError
from registry.folder.atomic_io import read_file, write_file
from serve_app.access.roles import Role
from serve_app.access.tokens import Token, TokenTable, digest_of, new_secret
from serve_app.errors import TokenExistsError, TokenFileError, UnknownTokenError

MODE = 0o600
LOCK_TIMEOUT_S = 10.0

Stamp = tuple[int, int, int] | None
"""Identifies a version of a file; None if there is no file."""


def utc_now() -> datetime:
    """Return the current time in UTC, in whole seconds."""
    return datetime.now(UTC).replace(microsecond=0)


def stamp_of(path: Path) -> Stamp:
    """Return the stamp of a file's present version, at the cost of one `stat`; None if it has none.

    Every change replaces the file, so that its inode changes even within the clock's resolution.
    """
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


class TokenFile:
    """Reads and changes the tokens of one server.

    Every method raises TokenFileError if the file cannot be read or written.

    Args:
        path: the file; it is created with the first token.
        now: the clock.
    """

    def __init__(self, path: Path, now: Callable[[], datetime] = utc_now) -> None:
        self.path = path
        self._now = now

    def tokens(self) -> Sequence[Token]:
        """Return every token, the oldest first; empty if there is no file."""
        try:
            content = read_file(self.path)
            status = self.path.stat()
        except FileNotFoundError:
            return ()
        except (OSError, UnreadablePathError, UnsafePathError) as error:
            raise TokenFileError(str(self.path), str(error)) from error
        if status.st_uid not in {0, os.getuid()}:
            problem = f"expected a file of this user or root, received one of user {status.st_uid}"
            raise TokenFileError(str(self.path), f"{problem}; run chown on it")
        mode = stat.S_IMODE(status.st_mode)
        if mode & 0o077:
            problem = f"expected mode 0600, received {mode:04o}; run chmod 600 on it"
            raise TokenFileError(str(self.path), problem)
        try:
            return TokenTable.model_validate_json(content).tokens
        except ValidationError as error:
            problem = f"{error.error_count()} invalid entries; restore it from a backup"
            # Not the cause: its message would repeat the content.
            raise TokenFileError(str(self.path), problem) from None

    def create(
        self, name: str, roles: Collection[Role], lifetime: timedelta | None = None
    ) -> tuple[Token, str]:
        """Add a token; return it and its secret, which is not stored.

        Raises:
            TokenExistsError: a usable token has this name.
            ValueError: the name is not valid, or there is no role.
        """
        secret = new_secret()
        now = self._now()
        token = Token(
            name=name,
            roles=frozenset(roles),
            digest=digest_of(secret.encode()),
            created_at=now,
            expires_at=None if lifetime is None else now + lifetime,
        )
        with self._lock():
            tokens = self.tokens()
            if any(other.name == name for other in tokens if other.rejection(now) is None):
                raise TokenExistsError(name)
            self._write([*tokens, token])
        return token, secret

    def revoke(self, name: str) -> Token:
        """Reject a token from now on; it stays in the list. Return it.

        Raises:
            UnknownTokenError: no usable token has this name.
        """
        with self._lock():
            tokens, now = self.tokens(), self._now()
            usable = [token for token in tokens if token.rejection(now) is None]
            found = next((token for token in usable if token.name == name), None)
            if found is None:
                raise UnknownTokenError(name, sorted(token.name for token in usable))
            revoked = found.model_copy(update={"revoked_at": now})
            self._write([revoked if token is found else token for token in tokens])
        return revoked

    def _lock(self) -> AbstractContextManager[object]:
        if not self.path.parent.is_dir():  # the lock would create it
            problem = "its folder does not exist; pass the folder of the registry that is served"
            raise TokenFileError(str(self.path), problem)
        try:
            return FileLock(f"{self.path}.lock", timeout=LOCK_TIMEOUT_S, mode=MODE).acquire()
        except OSError as error:  # includes filelock.Timeout
            raise TokenFileError(str(self.path), f"cannot be locked: {error}") from error

    def _write(self, tokens: Sequence[Token]) -> None:
        table = TokenTable(tokens=tuple(tokens))
        content = table.model_dump_json(indent=1, exclude={"local"}, exclude_none=True)
        try:
            write_file(self.path, content.encode() + b"\n", MODE)
        except OSError as error:
            raise TokenFileError(str(self.path), f"cannot be written: {error}") from error
