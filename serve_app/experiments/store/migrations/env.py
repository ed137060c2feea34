"""The environment in which Alembic runs the migrations: the transaction of `migrate()`."""

from alembic import context

from serve_app.experiments.store.migration import VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"],
    version_table=VERSION_TABLE,
    # On SQLite too, tables are created in the transaction, since it was begun explicitly.
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
