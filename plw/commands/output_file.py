"""A file that a command leaves at its end, looked at before the work begins."""

import os
import tempfile
from pathlib import Path

import typer

from plw.errors import UserError


def output_file(parameter: typer.CallbackParam, value: Path | None) -> Path | None:
    """The value of an option that names such a file; folders above it that are not there will be made.

    Raises:
        UserError: it is a folder, or nothing can be written where it is to be.
    """
    if value is None:
        return None
    option = parameter.opts[0]
    if value.is_dir():
        raise UserError(f"{option} {value} is a folder; give the name of a file in it")
    if value.exists() and not os.access(value, os.W_OK):
        raise UserError(f"{option} {value} cannot be written: no right to change it")
    if not value.exists() or value.is_file():
        # A file is replaced by a new one that is written beside it; a device or a pipe is written to.
        above = next(folder for folder in value.resolve().parents if folder.exists())
        if not above.is_dir():
            raise UserError(f"{option} {value} cannot be written: {above} is no folder")
        try:
            # Tried and not asked for: the superuser has every right, and some folders (/proc) take no file of anyone's.
            tempfile.TemporaryFile(dir=above, prefix=".writable.").close()
        except OSError as error:
            raise UserError(
                f"{option} {value} cannot be written: no file can be made in {above} ({error.strerror})"
            ) from None
    return value
