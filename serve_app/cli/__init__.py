"""`modelctl`: serves a configuration, asks the server, keeps the registry.

Exit codes: 0 done, 1 refused, failed, or something found by `verify`, 2 wrong usage or
configuration.
"""

import typer

from serve_app.cli import asking, changing, experimenting, reading, serving

app = typer.Typer(
    help="Serve trading models and keep their registry.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

app.command()(serving.serve)
app.command()(serving.env)
app.command()(asking.served)
app.command()(asking.reload)
app.add_typer(experimenting.app, name="experiment")

registry_command = app.command(rich_help_panel="Registry")
app.command(name="list", rich_help_panel="Registry")(reading.list_models)
registry_command(reading.show)
registry_command(reading.compare)
registry_command(reading.history)
registry_command(changing.register)
registry_command(changing.promote)
registry_command(changing.stage)
registry_command(changing.rollback)
registry_command(changing.retire)
registry_command(changing.delete)
registry_command(reading.verify)
registry_command(changing.repair)
