"""How far a study is, from the registry: stages by kind, what runs where and how far it is, what failed."""

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from plw.config import CellConfig
from plw.progress import count, duration
from plw.registry import Overview, Owner, Registry, StageRow, abandoned, shown_address
from plw.registry.schema import DONE, FAILED, RUNNING
from plw.results.stage_state import StageState
from plw.runtime.console import numbers_right
from plw.sweep.drain import Drain, read_drain

STATES = (DONE, RUNNING, FAILED)
UNKNOWN = "–"


def print_status(config: CellConfig, console: Console) -> None:
    """Stages by kind and status, what is running, what failed, and whether the study is drained."""
    with Registry.open(config.registry.url, create=False) as registry:
        found = registry.overview(study=config.study.name, scale=config.scale.name)
    console.print(status_view(config, found, read_drain(config)))


def status_view(config: CellConfig, found: Overview, drain: Drain | None) -> RenderableType:
    """The whole state of a study, for a screen."""
    parts: list[RenderableType] = [Text(f"{count(found.cells, 'cell')} in {shown_address(config.registry.url)}")]
    if drain is not None:
        parts.append(Text(f"{drain.text}: no new cell is begun; `plw drain --undo` with the same words lets it go on"))
    parts.append(_by_stage(config, found))
    running = [(cell, row) for cell, row in found.open if row.status == RUNNING]
    failed = [(cell, row) for cell, row in found.open if row.status == FAILED]
    if running:
        parts.append(_running(running, config, found.now))
    if failed:
        table = Table("cell", "stage", "attempt", "error", title="failed")
        for cell, row in failed:
            table.add_row(cell, row.kind, str(row.attempts), Text(row.error or ""))
        parts.append(table)
    if next_step := _next_step(config, found):
        parts.append(Text(next_step))
    return Group(*parts)


def _next_step(config: CellConfig, found: Overview) -> str:
    """What a person would do now; nothing while work is under way or left."""
    if not found.cells:
        return f"Nothing of {config.runs_name} has been begun; `plw run -m` with the same words begins it."
    if any(row.status == FAILED for _, row in found.open):
        return "`plw run -m` with the same words tries again what failed."
    running = [row for _, row in found.open if row.status == RUNNING]
    if running and all(_is_interrupted(row, config, found.now) for row in running):
        return "`plw run -m` with the same words goes on with what was interrupted."
    if all(found.stages.get((kind, DONE), 0) == found.cells for kind in config.stages):
        return "All is done; `plw report` with the same words says what came out."
    return ""


def _by_stage(config: CellConfig, found: Overview) -> Table:
    table = Table("stage", *STATES, "not started", "mean seconds", title=config.runs_name)
    for kind in config.stages:
        counts = [found.stages.get((kind, state), 0) for state in STATES]
        mean = found.seconds.get(kind)
        left = max(0, found.cells - sum(counts))
        table.add_row(kind, *map(str, counts), str(left), UNKNOWN if mean is None else f"{mean:.1f}")
    return numbers_right(table)


def _is_interrupted(row: StageRow, config: CellConfig, now: float) -> bool:
    """Whether a running stage's worker is dead, or silent for longer than its lease."""
    return abandoned(row, Owner.here().host, config.execution.lease_timeout_s, now)


def _running(rows: list[tuple[str, StageRow]], config: CellConfig, now: float) -> Table:
    table = Table(
        "cell", "stage", "attempt", "done", "loss", "tokens/s", "left", "worker", "last heartbeat", title="running"
    )
    for cell, row in rows:
        state, age = StageState.from_json(row.progress), heartbeat_age(row, now)
        done, loss, rate, left = _figures(state)
        if _is_interrupted(row, config, now):
            rate, left, age = UNKNOWN, UNKNOWN, f"{age}, interrupted"
        table.add_row(cell, row.kind, str(row.attempts), done, loss, rate, left, row.holder, age)
    return numbers_right(table)


def _figures(state: StageState | None) -> tuple[str, str, str, str]:
    if state is None:
        return (UNKNOWN,) * 4
    loss, rate, left = state.loss, state.tokens_per_second, state.seconds_left
    return (
        f"{state.done:,}/{state.total:,}",
        UNKNOWN if loss is None else f"{loss:.3f}",
        UNKNOWN if rate is None else f"{rate:,.0f}",
        UNKNOWN if left is None else duration(left),
    )


def heartbeat_age(row: StageRow, now: float) -> str:
    """How long before ``now``, by the database's clock, the worker of a running stage was heard; ``released``."""
    return "released" if row.heartbeat is None else f"{duration(max(0.0, now - row.heartbeat))} ago"
