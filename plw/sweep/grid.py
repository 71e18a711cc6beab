"""A grid of cells from start to end: plan all, build what they share, run what is not done, and say what failed."""

import logging
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from plw import world
from plw.config import CellConfig
from plw.errors import DamagedError, StorageError, UserError
from plw.files.storage import storage_error
from plw.launch.torchrun import meeting_place
from plw.pipeline import Cell, CellOutcome, check_inputs, open_registry, resolve_cell
from plw.pipeline.publishing import check_publish, publish_missing
from plw.pipeline.tracking import check_tracker
from plw.pipeline.training_check import check_trainings
from plw.pipeline.unpacking import is_packed, unpack_model
from plw.progress import Progress, count, counted, no_progress
from plw.registry import FinishedStage, Registry, StageKey, network_disk, parse_url, sqlite_path
from plw.runtime.console import step_bar
from plw.runtime.interrupt import READER_GONE, Interrupted
from plw.sweep.cpu_formats import check_cpu_formats
from plw.sweep.display import GridDisplay
from plw.sweep.drain import Gate
from plw.sweep.mixtures import print_mixtures
from plw.sweep.needs import check_needs
from plw.sweep.workers import check_devices, run_cells, worker_count

logger = logging.getLogger(__name__)

BUSY_WAIT_S = 5.0


@dataclass(kw_only=True)
class GridResult:
    """What became of a grid."""

    outcomes: list[CellOutcome] = field(default_factory=list)
    skipped: int = 0
    not_begun: int = 0
    """Cells left undone: the study is drained, or its hours are used up."""
    why_not: str = ""
    """Which of the two."""
    unpublished: dict[str, str] = field(default_factory=dict)
    """File that could not be copied to `execution.publish` -> the reason."""
    seconds: float = 0.0

    @property
    def ran(self) -> list[CellOutcome]:
        """Cells of which this sweep did a stage itself."""
        return [outcome for outcome in self.outcomes if not outcome.done_elsewhere]

    @property
    def taken_over(self) -> list[tuple[str, str, str]]:
        """(cell, stage, the worker that was silent or dead) of every stage that another worker had begun."""
        return [
            (outcome.label, kind, stage.taken_from)
            for outcome in self.outcomes
            for kind, stage in outcome.stages.items()
            if stage.taken_from is not None
        ]

    @property
    def failed(self) -> list[tuple[str, str, str]]:
        """(cell, stage, error) of every stage that failed."""
        return [
            (outcome.label, kind, stage.error or "")
            for outcome in self.outcomes
            for kind, stage in outcome.stages.items()
            if stage.status == "failed"
        ]


def resolve_grid(configs: list[CellConfig], progress: Progress = no_progress) -> list[Cell]:
    """Plan every cell; the same cell asked for twice stands once.

    Raises:
        UserError: no cells, or an input that does not exist.
    """
    cells = {(cell.folder, *_stage_names(cell)): cell for cell in map(resolve_cell, counted(configs, progress))}
    if not cells:
        raise UserError("the grid has no cells; check the sweep's axes")
    judges = list(dict.fromkeys(cell.config.judge.name for cell in cells.values()))
    # One judge after the other, so that a worker loads each once; otherwise in the order asked for.
    return sorted(cells.values(), key=lambda cell: judges.index(cell.config.judge.name))


def _stage_names(cell: Cell) -> list[str]:
    """What is asked of a cell; two judges of one model are two pieces of work."""
    return [cell.stages[kind].name for kind in cell.config.stages]


def run_grid(
    configs: list[CellConfig], console: Console, wait_s: float = 0.0, *, is_compared: bool = True
) -> GridResult:
    """Run every cell that is not done, several at a time.

    Args:
        configs: of the cells.
        console: where a person reads.
        wait_s: seconds to wait for a registry that is away at the start; once it is there, ``registry.wait_s`` counts.
        is_compared: whether all cells of the study are compared, so that a name of two contents is told.

    Raises:
        UserError: a mistake in a config, an input or a folder, or a number format that would take days here, found
            before anything runs.
        StorageError: the disk takes no more.
        RegistryAwayError: the registry was away for longer than it is waited for.
    """
    started = time.monotonic()
    todo, cells = prepare_grid(configs, console, wait_s, is_compared=is_compared)
    result = GridResult(skipped=len(cells) - len(todo))
    if todo:
        check_devices(todo[0].config.execution)
        check_cpu_formats(todo, console)
        if todo[0].config.execution.nodes > 1:
            meeting_place(str(todo[0].config.execution.rendezvous))
        check_tracker(todo[0].config.tracker)
        gate = Gate(todo[0].config, started)
        try:
            _run(todo, result, console, gate)
        except Interrupted as stop:
            if stop.number == READER_GONE:
                logger.warning("nobody reads the output any more: stopped; the same command continues where it was")
            raise
        result.not_begun, result.why_not = len(todo) - len(result.outcomes), gate.closed or ""
    if cells[0].config.execution.publish is not None:
        folders = [cell.stages[kind].folder for cell in cells for kind in cell.config.stages]
        with step_bar("publish", console) as progress:
            result.unpublished = publish_missing(cells[0].config, folders, progress).failed
    result.seconds = time.monotonic() - started
    return result


def prepare_grid(
    configs: list[CellConfig],
    console: Console,
    wait_s: float = 0.0,
    *,
    is_compared: bool = True,
    needs: Callable[[Sequence[Cell], Console], None] = check_needs,
) -> tuple[list[Cell], list[Cell]]:
    """Plan the grid, check all that its cells read, and make what they share.

    Args:
        configs: as :func:`run_grid`, and the three after it.
        console: likewise.
        wait_s: likewise.
        is_compared: likewise.
        needs: is told the cells to run, before anything of theirs is read.

    Returns:
        The cells that are not done, and all cells.

    Raises:
        UserError, StorageError, RegistryAwayError: as :func:`run_grid`.
    """
    with step_bar("cells", console) as progress:
        cells = resolve_grid(configs, progress)
    config = cells[0].config
    unwritable = folder_problem(config)
    if unwritable is not None and not registry_exists(config):
        raise unwritable
    check_registry_disk(config)
    with Registry.open(config.registry.url, wait_s=wait_s) as registry:
        finished = registry.finished_stages(study=config.study.name, scale=config.scale.name)
        todo = [cell for cell in cells if not _is_done(cell, finished)]
        earlier = registry.cells(study=config.study.name, scale=config.scale.name) if todo and is_compared else []
    print_mixtures(todo, earlier, finished, console)
    if todo and unwritable is not None:
        # A study that is done can be asked for again where nothing can be written.
        raise unwritable
    if todo:
        needs(todo, console)
        check_publish(config)
        unpack_models(todo, console)
        with step_bar("data", console) as progress:
            check_inputs(todo, progress)
        build_world(todo, console)
        with step_bar("trainings", console) as progress:
            check_trainings(todo, progress)
    return todo, cells


def folder_problem(config: CellConfig) -> UserError | StorageError | None:
    """Why the runs or the cache folder cannot be written; None where both can."""
    for name, folder in (("runs", config.execution.runs), ("cache", config.execution.cache)):
        place = Path(folder).absolute()
        try:
            place.mkdir(parents=True, exist_ok=True)
            # A name of its own: workers that share the folder look at the same moment.
            tempfile.NamedTemporaryFile(dir=place, prefix=".writable.").close()
        except OSError as error:
            where = f"execution.{name}={folder}"
            return storage_error(error, where) or UserError(f"{where} cannot be written: {error.strerror}")
    return None


def check_registry_disk(config: CellConfig) -> None:
    """Refuse to work with a SQLite registry on another machine's disk.

    Raises:
        UserError: it lies there; the line has the file system and what to give instead.
    """
    file = sqlite_path(parse_url(config.registry.url))
    found = None if file is None else network_disk(file)
    if found is not None:
        kind, point = found
        raise UserError(
            f"registry.url={config.registry.url}: {point} is a network's file system ({kind}), where SQLite loses "
            "claims and rows; give a file on this machine's own disk, or a server: registry=url "
            "registry.url=postgresql+psycopg://USER@HOST/DATABASE"
        )


def registry_exists(config: CellConfig) -> bool:
    """Whether there is a registry to read, as far as its address tells."""
    file = sqlite_path(parse_url(config.registry.url))
    return file is None or file.exists()


def build_world(cells: list[Cell], console: Console) -> None:
    """Build the embedded world where a cell needs it and it is not there yet.

    Raises:
        UserError: a file of the world that is there was changed.
    """
    needed = next((cell.config for cell in cells if cell.needs_world()), None)
    if needed is None:
        return
    root = needed.execution.cache_folder
    if not (world.folder(needed.world, root) / "world.json").exists():
        bases = count(2 * needed.world.bases, "base model")
        travels = world.packaged_bases(needed.world) is not None
        how = f"{bases} from the package" if travels else f"{bases} to pretrain (once; about a minute each on a core)"
        console.print(f"Building the embedded world: facts, instructions, benchmarks; {how}")
    with step_bar("world", console) as progress:
        world.build(needed.world, root, progress)


def unpack_models(cells: list[Cell], console: Console) -> None:
    """Unpack the models that come in one file, each once.

    Raises:
        UserError: a file holds no model that can be read.
        StorageError: the disk takes no more.
    """
    for cell in {cell.model.location: cell for cell in cells if is_packed(cell)}.values():
        console.print(f"Unpacking {cell.model.packed} to {cell.model.location} (once)", markup=False)
        unpack_model(cell)


def undone(cells: list[Cell]) -> list[Cell]:
    """The cells of one study that are not done by now."""
    config = cells[0].config
    with open_registry(config) as registry:
        finished = registry.finished_stages(study=config.study.name, scale=config.scale.name)
    return [cell for cell in cells if not _is_done(cell, finished)]


def _is_done(cell: Cell, finished: dict[StageKey, FinishedStage]) -> bool:
    """All asked-for stages have their record in the folder and its rows in the registry."""
    for kind in cell.config.stages:
        try:
            record = cell.stages[kind].finished_record()
        except DamagedError:
            # Told as a failed stage, beside what becomes of the other cells.
            return False
        known = finished.get(cell.stage_key(kind))
        if record is None or known is None or not known.holds(record):
            return False
    return True


def _run(cells: list[Cell], result: GridResult, console: Console, gate: Gate) -> None:
    with open_registry(cells[0].config) as registry:
        registry.ensure_cells(cell.row() for cell in cells)
    workers = min(worker_count(cells[0].config), len(cells))
    stages = sum(len(cell.config.stages) for cell in cells)
    name = cells[0].config.runs_name
    processes = "in this process" if workers == 1 else f"with {workers} workers"
    console.print(f"{name}: {count(len(cells), 'cell')} to run {processes}, {result.skipped} done before")
    folder = cells[0].config.study_folder
    with GridDisplay(name, cells=len(cells), stages=stages, console=console, folder=folder) as display:
        waiting = cells
        while waiting and gate.may_begin():
            busy: list[Cell] = []
            ran = run_cells(waiting, workers=workers, report=display.stage_moved, may_begin=gate.may_begin)
            for cell, outcome in ran:
                if outcome.busy:
                    busy.append(cell)
                else:
                    display.cell_ended(outcome.label)
                    result.outcomes.append(outcome)
            if busy:
                console.print(f"{name}: {count(len(busy), 'cell')} held by another worker; waiting")
                time.sleep(BUSY_WAIT_S)
            waiting = busy


def stage_seconds(result: GridResult) -> Counter[str]:
    """Seconds of work by stage, over all cells that ran."""
    seconds: Counter[str] = Counter()
    for outcome in result.outcomes:
        for kind, stage in outcome.stages.items():
            if stage.status == "done":
                seconds[kind] += stage.seconds  # type: ignore[assignment]
    return seconds
