"""One cell of a study: what it is (cell), what its stages do (work), and bringing it to its end (run)."""

from plw.pipeline.cell import Cell, plan_cell
from plw.pipeline.judge_cache import JudgeShelf
from plw.pipeline.preflight import check_inputs
from plw.pipeline.run import CellOutcome, Report, run_cell

__all__ = ["Cell", "CellOutcome", "JudgeShelf", "Report", "check_inputs", "plan_cell", "run_cell"]
