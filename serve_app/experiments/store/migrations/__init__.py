"""The migrations of the schema, which `migrate()` runs."""
