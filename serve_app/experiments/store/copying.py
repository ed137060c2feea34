"""Copies a whole store to another database, also of the other kind, while the server uses it."""

from sqlalchemy import Connection, insert, select

from serve_app.experiments.store.database import open_database
from serve_app.experiments.store.migration import migrate
from serve_app.experiments.store.schema import CANARY, METADATA
from serve_app.experiments.store_errors import UsedStoreError

_ROWS_AT_ONCE = 1000


def copy_store(source: str, target: str) -> None:
    """Copy every row to an empty database, in one transaction on either side.

    The copy holds what was committed when it began; writers of the source do not wait.

    Args:
        source: the URL of the store; see `ExperimentStore`.
        target: the URL of the database to fill, whose tables are created.

    Raises:
        UsedStoreError: the target holds rows already.
        StoreError: a database cannot be opened, read or written.
    """
    read = open_database(source, prepare=migrate)
    try:
        written = open_database(target, prepare=migrate)
        try:
            with read.snapshot() as rows, written.writing() as copy:
                _copy(rows, copy, written.url)
        finally:
            written.close()
    finally:
        read.close()


def _copy(source: Connection, target: Connection, url: str) -> None:
    tables = [table for table in METADATA.sorted_tables if table is not CANARY]
    for table in tables:
        if target.execute(select(table).limit(1)).first() is not None:
            raise UsedStoreError(url, table.name)
    for table in tables:
        found = source.execution_options(yield_per=_ROWS_AT_ONCE).execute(select(table))
        for rows in found.mappings().partitions():
            target.execute(insert(table), [dict(row) for row in rows])
