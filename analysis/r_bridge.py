"""R beside Python: whether it is there with the packages of a script of ``analysis/R``, and the script's call."""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from plw.errors import UserError

R_SCRIPTS = Path(__file__).parent / "R"
R_TIMEOUT_S = 600


@cache
def r_has(package: str) -> bool:
    """Whether Rscript is installed and has a package, and jsonlite, which every script writes its answer with."""
    if shutil.which("Rscript") is None:
        return False
    code = f'quit(status = !all(c("{package}", "jsonlite") %in% rownames(installed.packages())))'
    return subprocess.run(["Rscript", "-e", code], capture_output=True, check=False).returncode == 0


def require_r(package: str) -> None:
    """Refuse to go on without R and a package.

    Raises:
        UserError: R or the package is not installed.
    """
    if not r_has(package):
        raise UserError(f"engine r needs Rscript with the packages {package} and jsonlite; engine python needs neither")


def run_r(script: Path, tables: Sequence[pd.DataFrame], *words: str) -> dict[str, Any]:
    """Call a script as ``Rscript SCRIPT TABLE.csv... ANSWER.json WORD...`` and read its answer.

    Args:
        script: one of ``analysis/R``.
        tables: written with all digits; names in them are best passed as numbers, which no name can break.
        words: arguments after the files.

    Raises:
        UserError: R failed, took longer than ``R_TIMEOUT_S`` or left no answer; the line has R's last words.
    """
    with tempfile.TemporaryDirectory(prefix="plw-r-") as folder:
        files = [Path(folder) / f"{number}.csv" for number in range(len(tables))]
        answer = Path(folder) / "answer.json"
        for table, file in zip(tables, files, strict=True):
            table.to_csv(file, index=False, float_format="%.17g")
        command = ["Rscript", "--vanilla", *map(str, [script, *files, answer]), *words]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=R_TIMEOUT_S)
            found: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
        except subprocess.TimeoutExpired:
            raise UserError(f"R gave no answer within {R_TIMEOUT_S:g} s; fewer rows take less") from None
        except (subprocess.SubprocessError, OSError, ValueError) as error:
            said = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
            raise UserError(f"R failed: {said[-1] if said else type(error).__name__}") from None
    return found
