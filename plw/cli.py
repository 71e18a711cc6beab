"""The ``plw`` command: runs and plans studies through Hydra, and reads what they left in the registry."""

import sys
import traceback

import typer

from plw.commands import compare, data, fit_gam, fit_items, recommend, study, tune
from plw.commands.fit import fit_app
from plw.commands.items import items_app
from plw.commands.registry import registry_app
from plw.commands.world import world_app
from plw.errors import StageError, UserError, printable
from plw.interrupt import Interrupted, interruptible
from plw.logs import configure_logging
from plw.redact import redact
from plw.storage import storage_error

app = typer.Typer(
    name="plw",
    help="How much should the prompt count in the loss of instruction fine-tuning? Run the study that answers it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
study.add_to(app)
data.add_to(app)
recommend.add_to(app)
tune.add_to(app)
compare.add_to(app)
fit_gam.add_to(fit_app)
fit_items.add_to(fit_app)
app.add_typer(registry_app, name="registry")
app.add_typer(fit_app, name="fit")
app.add_typer(items_app, name="items")
app.add_typer(world_app, name="world")


def main() -> None:
    """Entry point: a user's mistake is one line and exit code 2, a failed stage 1, SIGINT 130, SIGTERM 143."""
    try:
        configure_logging()
        with interruptible():
            app()
    except UserError as error:
        print(printable(redact(f"plw: {error}")), file=sys.stderr)  # noqa: T201
        sys.exit(2)
    except StageError as error:
        print(printable(redact(f"plw: {error}")), file=sys.stderr)  # noqa: T201
        sys.exit(1)
    except Exception as error:
        full = storage_error(error, str(getattr(error, "filename", None) or "plw"))
        if full is not None:
            print(redact(f"plw: {full}"), file=sys.stderr)  # noqa: T201
            sys.exit(1)
        # A fault of ours keeps its traceback, without the keys that a library's words may hold.
        print(redact(traceback.format_exc()), file=sys.stderr)  # noqa: T201
        sys.exit(1)
    except Interrupted as signal:
        print(signal.line, file=sys.stderr)  # noqa: T201
        sys.exit(signal.exit_code)
