"""What commands on a table of scores share: the options that name its columns, and the file of numbers they leave."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from plw.commands.output_file import output_file
from plw.errors import UserError


class Engine(StrEnum):
    """Fitting engine: our own in Python, or R, which ours is held against."""

    python = "python"
    r = "r"


File = Annotated[Path, typer.Argument(metavar="FILE.csv", help="Table with a header, one row a score.")]
ScoreColumn = Annotated[str, typer.Option(help="Column of the scores, 0 to 1.")]
PlwColumn = Annotated[str, typer.Option(help="Column of the prompt weight, 0 to 1, untransformed.")]
BenchmarkColumn = Annotated[str, typer.Option(help="Column that names the benchmark.")]
Out = Annotated[
    Path | None,
    typer.Option("--json", metavar="OUT", help="Write the numbers to this file.", callback=output_file),
]


def write_numbers(out: Path, numbers: dict[str, Any]) -> None:
    """Write ``--json OUT``.

    Raises:
        UserError: it cannot be written.
    """
    from plw.files.writing import write_json_atomic

    try:
        write_json_atomic(out, numbers)
    except OSError as error:
        raise UserError(f"--json {out} cannot be written: {error.strerror}") from None
