"""What a grid would do: for every cell and stage done, running, failed or to run, with the reason where it matters."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from rich.console import Console

from plw.config import STAGES, CellConfig
from plw.data.inputs import in_world
from plw.errors import DamagedError
from plw.pipeline import Cell
from plw.pipeline.data_check import check_records, data_is_here
from plw.pipeline.preflight import check_benchmarks_at_hand
from plw.pipeline.reuse import finished_training
from plw.pipeline.training_check import check_trainings
from plw.progress import count
from plw.registry import FinishedStage, Owner, Registry, StageKey, StageRow, abandoned
from plw.registry.schema import DONE, FAILED, RUNNING
from plw.runtime.console import print_table, step_bar
from plw.sweep.cost_table import print_costs, print_missing_inputs
from plw.sweep.drain import read_drain
from plw.sweep.grid import registry_exists, resolve_grid

HELD = "wait (held by another worker)"
RUN, RETRY, RESUME, REDO = "run", "run (failed before)", "resume (interrupted)", "run (record lost)"
REUSE = "link (trained already)"
"""The training of a cell with a preference stage, which another cell has done."""
TO_DO = (RUN, RETRY, RESUME, REDO)
RESTORE = "done (rows lost; `plw run` restores them)"
DAMAGED = "damaged"
RARER_AXES: dict[str, Callable[[CellConfig], str]] = {
    "weighting": lambda config: config.weighting,
    "recipe": lambda config: config.recipe.name,
    "judge": lambda config: config.judge.name,
}
"""Column of a plan -> what a cell has there; shown where the grid's cells differ in it."""


def print_plan(configs: list[CellConfig], console: Console) -> None:
    """One row a cell, one column a stage; then the counts, what the work amounts to, and what has to be there first.

    Data of the user's that is on this machine is read, so that a mistake in it is told as by a run; nothing is fetched.

    Raises:
        UserError: a mistake in a config, an input or a row; or a training that could not begin.
    """
    with step_bar("cells", console) as progress:
        cells = resolve_grid(configs, progress)
    asked = {kind for cell in cells for kind in cell.config.stages}
    kinds = [kind for kind in STAGES if kind in asked]
    known = _known(configs[0])
    varied = _varied(cells)
    header = ("dataset", "model", "λ_p", "λ_r", "seed", *varied, *kinds, "folder")
    rows: list[tuple[str, ...]] = []
    counts: Counter[str] = Counter()
    to_do: list[tuple[Cell, str]] = []
    for cell in cells:
        states = [_state(cell, kind, known) if kind in cell.config.stages else "–" for kind in kinds]
        counts.update(state for state in states if state != "–")
        to_do += [(cell, kind) for kind, state in zip(kinds, states, strict=True) if state in TO_DO]
        config = cell.config
        weights = (f"{config.loss.prompt_weight:g}", f"{config.loss.response_weight:g}", str(config.seed))
        rarer = [RARER_AXES[axis](config) or "–" for axis in varied]
        rows.append((config.dataset.name, config.model.name, *weights, *rarer, *states, cell.folder.name))
    _check_what_is_here(list({id(cell): cell for cell, _ in to_do}.values()), console)
    print_table(console, header, rows)
    stages = ", ".join(f"{count} {state}" for state, count in counts.most_common())
    console.print(f"{configs[0].runs_name}: {count(len(cells), 'cell')}; stages: {stages}")
    drain = read_drain(configs[0])
    if drain is not None:
        console.print(f"{drain.text}: `plw run` begins no cell until `plw drain --undo`", markup=False)
    print_costs(to_do, console)
    print_missing_inputs(list({id(cell): cell for cell, _ in to_do}.values()), console)


def _check_what_is_here(cells: list[Cell], console: Console) -> None:
    check_benchmarks_at_hand(cells)
    here = [cell for cell in cells if data_is_here(cell)]
    with step_bar("data", console) as progress:
        check_records(here, progress)
    with step_bar("trainings", console) as progress:
        ready = [cell for cell in here if cell.model.path.is_dir() and not in_world(cell.config.dataset.path)]
        check_trainings(ready, progress)


def _varied(cells: list[Cell]) -> list[str]:
    """Those of the rarer axes that this grid has."""
    return [axis for axis, read in RARER_AXES.items() if len({read(cell.config) for cell in cells}) > 1]


@dataclass(frozen=True, kw_only=True)
class Known:
    """What the registry knows of a study's stages."""

    rows: dict[StageKey, StageRow] = field(default_factory=dict)
    finished: dict[StageKey, FinishedStage] = field(default_factory=dict)
    now: float = 0.0
    """By the registry's clock."""


def _known(config: CellConfig) -> Known:
    """The stages of the registry; none where there is no registry yet (planning makes nothing)."""
    if not registry_exists(config):
        return Known()
    of_study = {"study": config.study.name, "scale": config.scale.name}
    with Registry.open(config.registry.url, create=False) as registry:
        rows = registry.stage_rows(**of_study)
        finished = registry.finished_stages(**of_study)
        return Known(rows={row.key: row for row in rows}, finished=finished, now=registry.clock())


def _state(cell: Cell, kind: str, known: Known) -> str:
    stage, key = cell.stages[kind], cell.stage_key(kind)
    try:
        record = stage.finished_record()
    except DamagedError:
        return DAMAGED
    if record is not None:
        found = known.finished.get(key)
        return DONE if found is None or found.holds(record) else RESTORE
    row = known.rows.get(key)
    if row is None or row.fingerprint != stage.fingerprint:
        return REUSE if kind == "train" and finished_training(cell) is not None else RUN
    if row.status == FAILED:
        return RETRY
    if row.status == RUNNING:
        stale = abandoned(row, Owner.here().host, cell.config.execution.lease_timeout_s, known.now)
        return RESUME if stale else HELD
    return REDO
