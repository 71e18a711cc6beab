"""How a process of ours ends: a user's mistake in one line, a fault of ours with its traceback, never a key."""

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from plw.errors import CellsLeftError, StageError, UserError, line_of_error
from plw.files.storage import storage_error
from plw.redact import redact
from plw.runtime.interrupt import READER_GONE, Interrupted
from plw.runtime.streams import complete_streams

CELLS_LEFT = 75
"""Exit code of a command that left cells for later, as asked: EX_TEMPFAIL of sysexits.h."""


def _check_working_folder() -> None:
    """Raises UserError where the folder that the process was started in has been removed: no path leads from there."""
    try:
        Path.cwd()
    except FileNotFoundError:
        raise UserError("the working folder has been removed; change to one that is there (cd)") from None


@contextmanager
def told_in_a_line() -> Iterator[None]:
    """What ends the block ends the process: a user's mistake with 2, a failed stage with 1, cells left for
    later with 75, a signal with 128 and its number, as a shell has it: SIGINT 130, SIGTERM 143. Where nobody reads
    standard output any more it ends with 141, without a word, as other commands do by SIGPIPE.
    """
    complete_streams()
    try:
        _check_working_folder()
        try:
            yield
        except SystemExit:
            # What stands in the buffer may find that nobody reads it.
            sys.stdout.flush()
            raise
        sys.stdout.flush()
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
        if signal.number != READER_GONE:
            print(signal.line, file=sys.stderr)  # noqa: T201
        sys.exit(signal.exit_code)
    finally:
        # Else the interpreter's last flush would find it, and say so.
        with suppress(Interrupted):
            sys.stdout.flush()
