"""`plw fit`: the paper's statistical models, for any table of scores."""

import typer

fit_app = typer.Typer(help="Fit the paper's models to a CSV table of scores.", no_args_is_help=True)
