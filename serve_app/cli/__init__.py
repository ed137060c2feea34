"""`modelctl`: serves a configuration, operates a running server, manages the registry.

Exit codes: 0 success; 1 the command failed or was rejected, or `verify` or `repair` leaves
findings; 2 wrong usage or configuration.
"""

import typer

from serve_app.cli import (
    backup,
    bars,
    convert,
    datasets,
    experiments,
    feature_sets,
    launch,
    optimization,
    registry_changes,
    registry_queries,
    server,
    signing,
    tokens,
)

app = typer.Typer(
    help="Serve trading models and manage their registry.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

app.command()(launch.serve)
app.command()(launch.env)
app.command()(backup.backup)
app.command()(backup.restore)
app.command()(server.served)
app.command()(server.reload)
app.add_typer(experiments.app, name="experiment")
app.add_typer(feature_sets.app, name="features")
app.add_typer(datasets.app, name="dataset")
app.add_typer(bars.app, name="bars")
app.add_typer(tokens.app, name="token")
app.add_typer(signing.key, name="key", rich_help_panel="Registry")

registry_command = app.command(rich_help_panel="Registry")
app.command(name="list", rich_help_panel="Registry")(registry_queries.list_models)
registry_command(registry_queries.show)
registry_command(registry_queries.compare)
registry_command(registry_queries.history)
registry_command(convert.convert)
registry_command(registry_changes.register)
registry_command(registry_changes.promote)
registry_command(registry_changes.stage)
registry_command(registry_changes.rollback)
registry_command(registry_changes.retire)
registry_command(registry_changes.delete)
registry_command(optimization.optimize)
registry_command(optimization.pin)
registry_command(signing.sign)
registry_command(registry_queries.verify)
registry_command(registry_changes.repair)
