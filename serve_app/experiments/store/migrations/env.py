"""What Alembic runs: the migrations, in the transaction that migrate() has begun."""

from alembic import context

from serve_app.experiments.store.migrate import VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"],
    version_table=VERSION_TABLE,
    # SQLite's tables are created in the transaction too, since it was begun explicitly.
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
