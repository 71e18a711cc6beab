"""What a grid would do: for every cell and stage done, running, failed or to run, with the reason where it matters."""

import time
from collections import Counter

from rich.console import Console
from rich.table import Table

from plw.config import CellConfig
from plw.pipeline import Cell
from plw.registry import Owner, Registry, StageRow, abandoned, parse_url, sqlite_path
from plw.sweep.cost import print_costs, print_missing_inputs
from plw.sweep.grid import resolve_grid

DONE = "done"
HELD = "wait (held by another worker)"
RUN, RETRY, RESUME, REDO = "run", "run (failed before)", "resume (interrupted)", "run (record lost)"


def print_plan(configs: list[CellConfig], console: Console) -> None:
    """One row a cell, one column a stage; then the counts, what the work amounts to, and what has to be there first."""
    cells = resolve_grid(configs)
    kinds = cells[0].config.stages
    rows = _registry_rows(configs[0])
    varied = _varied(cells)
    table = Table("dataset", "model", "λp", "λr", "seed", *varied, *kinds, "folder")
    counts: Counter[str] = Counter()
    to_do: list[tuple[Cell, str]] = []
    for cell in cells:
        states = [_state(cell, kind, rows) for kind in kinds]
        counts.update(states)
        to_do += [(cell, kind) for kind, state in zip(kinds, states, strict=True) if state not in (DONE, HELD)]
        config = cell.config
        weights = (f"{config.loss.prompt_weight:g}", f"{config.loss.response_weight:g}", str(config.seed))
        names = [getattr(config, group).name for group in varied]
        table.add_row(config.dataset.name, config.model.name, *weights, *names, *states, cell.folder.name)
    console.print(table)
    stages = ", ".join(f"{count} {state}" for state, count in counts.most_common())
    console.print(f"{configs[0].runs_name}: {len(cells)} cells; stages: {stages}")
    print_costs(to_do, console)
    print_missing_inputs(list({id(cell): cell for cell, _ in to_do}.values()), console)


def _varied(cells: list[Cell]) -> list[str]:
    """Those of the rarer axes that this grid has."""
    return [group for group in ("recipe", "judge") if len({getattr(cell.config, group).name for cell in cells}) > 1]


def _registry_rows(config: CellConfig) -> dict[object, StageRow]:
    """The stages the registry knows; none where there is no registry yet (planning makes nothing)."""
    file = sqlite_path(parse_url(config.registry.url))
    if file is not None and not file.exists():
        return {}
    with Registry.open(config.registry.url, create=False) as registry:
        rows = registry.stage_rows(study=config.study.name, scale=config.scale.name)
    return {row.key: row for row in rows}


def _state(cell: Cell, kind: str, rows: dict[object, StageRow]) -> str:
    stage = cell.stages[kind]
    if stage.finished_record() is not None:
        return DONE
    row = rows.get(cell.stage_key(kind))
    if row is None or row.fingerprint != stage.fingerprint:
        return RUN
    if row.status == "failed":
        return RETRY
    if row.status == "running":
        stale = abandoned(row, Owner.here().host, cell.config.execution.lease_timeout_s, time.time())
        return RESUME if stale else HELD
    return REDO
