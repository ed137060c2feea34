"""The tokens of a server as they change: its token file and its user's local token."""

import logging
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from registry.author import default_author
from serve_app.access.local_token import ensure_local_token, local_token_path
from serve_app.access.roles import EVERY_ROLE
from serve_app.access.token_file import Stamp, TokenFile, stamp_of
from serve_app.access.tokens import Token, TokenTable, digest_of

logger = logging.getLogger(__name__)

Revision = tuple[Stamp, Stamp]
"""Identifies the content of both files."""


def local_caller() -> str:
    """Return the name under which the local token's requests are recorded."""
    return re.sub(r"[^A-Za-z0-9._@-]", "_", default_author()).lstrip("._@-")[:64]


class ReadTokens(NamedTuple):
    """The tokens, and the revision that they were read at."""

    revision: Revision
    table: TokenTable


class TokenSource:
    """Reads the tokens again only if a file has changed, at the cost of two calls of `stat`.

    Args:
        path: the token file.
        local_path: the file of the local token.
    """

    def __init__(self, path: Path, local_path: Path | None = None) -> None:
        self._file = TokenFile(path)
        self._local_path = local_path or local_token_path()
        self._local: tuple[Token, ...] = ()
        self._problem = ""
        self._current: ReadTokens | None = None

    def read(self, known: Revision | None = None) -> ReadTokens | None:
        """Return the tokens, None if their revision is `known`.

        A local token that cannot be stored is left out, with one warning.

        Raises:
            TokenFileError: the token file cannot be read.
        """
        if stamp_of(self._local_path) is None:
            self._local = self._local_tokens()  # creates the file
        # The stamps are taken before the content: a change in between is found by the next read.
        revision = (stamp_of(self._file.path), stamp_of(self._local_path))
        if self._current is None or revision != self._current.revision:
            self._local = self._local_tokens()
            table = TokenTable(tokens=tuple(self._file.tokens()), local=self._local)
            self._current = ReadTokens(revision, table)
        return None if known == revision else self._current

    def _local_tokens(self) -> tuple[Token, ...]:
        try:
            secret = ensure_local_token(self._local_path)
            token = Token(
                name=local_caller(),
                roles=EVERY_ROLE,
                digest=digest_of(secret.encode()),
                created_at=datetime.now(UTC),
            )
        except (OSError, ValueError) as error:
            if str(error) != self._problem:
                self._problem = str(error)
                logger.warning("local operator token unavailable: %s", error)
            return ()
        self._problem = ""
        return (token,)
