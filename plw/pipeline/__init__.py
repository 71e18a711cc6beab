"""One cell of a study: what it is (cell), what its stages do (work), and bringing it to its end (run)."""

from plw.pipeline.cell import Cell, resolve_cell
from plw.pipeline.judge_cache import JudgeCache
from plw.pipeline.preflight import check_inputs
from plw.pipeline.run import CellOutcome, Report, open_registry, run_cell

__all__ = ["Cell", "CellOutcome", "JudgeCache", "Report", "check_inputs", "open_registry", "resolve_cell", "run_cell"]
