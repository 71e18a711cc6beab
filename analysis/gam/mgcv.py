"""The same ratio model by R's mgcv, where it is installed: what the Python engine is held against."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.arrays import Array
from analysis.gam.fit import check_data, data_messages, known_codes
from analysis.r_bridge import R_SCRIPTS, require_r, run_r

GAM_SCRIPT = R_SCRIPTS / "gam.R"


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
        The keys of ``analysis.gam.fit.gam_json``.

    Raises:
        UserError: as ``fit_gam`` and ``GamFit.predict``; R is not there, or it failed.
    """
    require_r("mgcv")
    names, codes_N = np.unique([str(label) for label in benchmark_N], return_inverse=True)
    benchmarks = tuple(str(name) for name in names)
    score, plw, ratio = (np.asarray(values, dtype=float) for values in (score_N, plw_N, ratio_N))
    check_data(score, plw, ratio, len(benchmarks))
    # Labels are passed as numbers, so no name of a benchmark can break the table or change its order.
    data = pd.DataFrame({"score": score, "w": plw, "r": ratio, "b": codes_N})
    rows = pd.DataFrame({"w": grid[0], "r": grid[1], "b": known_codes(grid[2], benchmarks)})
    answer = run_r(GAM_SCRIPT, [data, rows], method)
    words = [*answer["messages"], *data_messages(score, len(benchmarks))]
    return answer | {"method": method, "benchmarks": list(benchmarks), "messages": words}
