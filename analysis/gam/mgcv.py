"""The same ratio model by R's mgcv, where it is installed: what the Python engine is held against."""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.gam.basis import Array
from analysis.gam.fit import check_data, data_words, known_codes
from plw.errors import UserError

SCRIPT = Path(__file__).parents[1] / "R" / "gam.R"
R_TIMEOUT_S = 600
NEEDS = "needs Rscript with the packages mgcv and jsonlite"


@cache
def r_available() -> bool:
    """Whether Rscript is there and has the packages of ``R/gam.R``."""
    if shutil.which("Rscript") is None:
        return False
    code = 'quit(status = !all(c("mgcv", "jsonlite") %in% rownames(installed.packages())))'
    return subprocess.run(["Rscript", "-e", code], capture_output=True, check=False).returncode == 0


def fit_gam_r(
    score_N: Sequence[float] | Array,
    plw_N: Sequence[float] | Array,
    ratio_N: Sequence[float] | Array,
    benchmark_N: Sequence[Any],
    grid: tuple[Sequence[float] | Array, Sequence[float] | Array, Sequence[Any]],
    *,
    method: str = "gcv",
) -> dict[str, Any]:
    """Fit by mgcv and predict at ``grid`` (weights, ratios, benchmarks).

    Returns:
        The keys of ``analysis.gam.fit.as_json``.

    Raises:
        UserError: as ``fit_gam`` and ``GamFit.predict``; R is not there, or it failed.
    """
    if not r_available():
        raise UserError(f"engine r {NEEDS}; engine python needs neither")
    names, codes_N = np.unique([str(label) for label in benchmark_N], return_inverse=True)
    benchmarks = tuple(str(name) for name in names)
    score, plw, ratio = (np.asarray(values, dtype=float) for values in (score_N, plw_N, ratio_N))
    check_data(score, plw, ratio, len(benchmarks))
    # Labels are passed as numbers, so no name of a benchmark can break the table or change its order.
    data = pd.DataFrame({"score": score, "w": plw, "r": ratio, "b": codes_N})
    rows = pd.DataFrame({"w": grid[0], "r": grid[1], "b": known_codes(grid[2], benchmarks)})
    try:
        answer = _call_r(data, rows, method)
    except (subprocess.SubprocessError, OSError, ValueError) as error:
        raise UserError(f"R failed: {_last_line(error)}") from None
    words = [*answer["messages"], *data_words(score, len(benchmarks))]
    return answer | {"method": method, "benchmarks": list(benchmarks), "messages": words}


def _call_r(data: pd.DataFrame, grid: pd.DataFrame, method: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="plw-gam-") as folder:
        paths = [Path(folder) / name for name in ("data.csv", "grid.csv", "fit.json")]
        for frame, path in zip((data, grid), paths, strict=False):
            frame.to_csv(path, index=False, float_format="%.17g")
        command = ["Rscript", "--vanilla", str(SCRIPT), *map(str, paths), method]
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=R_TIMEOUT_S)
        answer: dict[str, Any] = json.loads(paths[-1].read_text(encoding="utf-8"))
        return answer


def _last_line(error: Exception) -> str:
    lines = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
    return lines[-1] if lines else type(error).__name__
