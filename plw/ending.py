"""How a process of ours ends: a user's mistake in one line, a fault of ours with its traceback, never a key."""

import io
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from plw.errors import CellsLeftError, StageError, UserError, line_of_error
from plw.interrupt import Interrupted
from plw.redact import redact
from plw.storage import storage_error

CELLS_LEFT = 75
"""Exit code of a command that left cells for later, as asked: EX_TEMPFAIL of sysexits.h."""


def _complete_streams() -> None:
    """Make standard streams that everything can write to, whatever the process was started with."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:
            # Closed by whoever started us (`2>&-`). Its number has to be taken: the next file that is opened, such as
            # the registry, would get it, and with it what C libraries print.
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)
            os.set_inheritable(number, True)
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115 - for the process
        elif isinstance(stream, io.TextIOWrapper) and mode == "w":
            # A log in another encoding than UTF-8 gets "\u03bb" where it has no letter for it.
            stream.reconfigure(errors="backslashreplace")


def _check_working_folder() -> None:
    """Raises UserError where the folder that the process was started in has been removed: no path leads from there."""
    try:
        Path.cwd()
    except FileNotFoundError:
        raise UserError("the working folder has been removed; change to one that is there (cd)") from None


@contextmanager
def told_in_a_line() -> Iterator[None]:
    """What ends the block ends the process: a user's mistake with 2, a failed stage with 1, cells left for
    later with 75, SIGINT with 130, SIGTERM with 143.
    """
    _complete_streams()
    try:
        _check_working_folder()
        yield
    except UserError as error:
        print(line_of_error(redact(f"plw: {error}")), file=sys.stderr)  # noqa: T201
        sys.exit(2)
    except StageError as error:
        print(line_of_error(redact(f"plw: {error}")), file=sys.stderr)  # noqa: T201
        sys.exit(1)
    except CellsLeftError as error:
        print(line_of_error(redact(f"plw: {error}")), file=sys.stderr)  # noqa: T201
        sys.exit(CELLS_LEFT)
    except Exception as error:
        full = storage_error(error, str(getattr(error, "filename", None) or "what was being written"))
        if full is not None:
            print(redact(f"plw: {full}"), file=sys.stderr)  # noqa: T201
            sys.exit(1)
        # A fault of ours keeps its traceback, without the keys that a library's words may hold.
        print(redact(traceback.format_exc()), file=sys.stderr)  # noqa: T201
        sys.exit(1)
    except Interrupted as signal:
        print(signal.line, file=sys.stderr)  # noqa: T201
        sys.exit(signal.exit_code)
