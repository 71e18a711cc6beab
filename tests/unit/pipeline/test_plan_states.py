"""What a plan says of a stage: each state that a registry and a folder can be in, and why."""

import io
import re
from collections.abc import Callable
from dataclasses import replace

import pytest
from rich.console import Console

from plw.config import CellConfig
from plw.pipeline import Cell, resolve_cell
from plw.pipeline.stage import StageResult
from plw.pipeline.stage_functions import STAGE_FUNCTIONS
from plw.registry import Owner, Registry
from plw.sweep.drain import begin_drain, end_drain
from plw.sweep.plan import print_plan
from tests.unit.pipeline.conftest import OwnStudy, run

Leave = Callable[[Registry, Cell], None]


def planned(*configs: CellConfig) -> str:
    out = io.StringIO()
    print_plan(list(configs), Console(file=out, width=250))
    return out.getvalue()


def rows(said: str) -> list[list[str]]:
    """Of all tables, without their headers."""
    return [[cell.strip() for cell in line.split("│")[1:-1]] for line in said.splitlines() if line.startswith("│")]


def claim(registry: Registry, cell: Cell, owner: Owner, now: float | None = None) -> None:
    registry.ensure_cell(cell.row())
    registry.claim(
        cell.stage_key("train"), kind="train", fingerprint=cell.stages["train"].fingerprint, owner=owner,
        lease_timeout_s=60, now=now,
    )  # fmt: skip


def hold(registry: Registry, cell: Cell) -> None:
    claim(registry, cell, Owner.here())


def fall_silent(registry: Registry, cell: Cell) -> None:
    claim(registry, cell, replace(Owner.here(), host="elsewhere"), now=1000.0)


def die(registry: Registry, cell: Cell) -> None:
    claim(registry, cell, replace(Owner.here(), pid=2**22 - 1))


def fail(registry: Registry, cell: Cell) -> None:
    owner = Owner.here()
    claim(registry, cell, owner)
    assert registry.fail(cell.stage_key("train"), owner.token, "error", "traceback")


def release(registry: Registry, cell: Cell) -> None:
    owner = Owner.here()
    claim(registry, cell, owner)
    assert registry.release(cell.stage_key("train"), owner.token)


def nothing(registry: Registry, cell: Cell) -> None:
    """Neither a row nor a file."""


STATES = (
    (nothing, "run"),
    (hold, "wait (held by another worker)"),
    (fall_silent, "resume (interrupted)"),
    (die, "resume (interrupted)"),
    (release, "resume (interrupted)"),
    (fail, "run (failed before)"),
)


GPU = "execution.cost.device=gpu"
"""No speed of this machine is measured."""


def test_of_an_unfinished_stage_who_works_on_it_is_told(own_study: OwnStudy) -> None:
    """And what was left of another recipe's training says nothing of this one."""
    configs = [own_study("stages=[train]", f"seed={seed}", GPU) for seed in range(1, 7)]
    with Registry.open(configs[0].registry.url) as registry:
        for config, (leave, _) in zip(configs, STATES, strict=True):
            leave(registry, resolve_cell(config))
    said = planned(*configs)
    assert [row[:6] for row in rows(said)[:6]] == [
        ["d", "m", "0", "1", str(seed), state] for seed, (_, state) in enumerate(STATES, 1)
    ]
    assert "6 cells; stages: 3 resume (interrupted), 1 run, 1 wait (held by another worker), 1 run (failed" in said
    assert rows(said)[6][:2] == ["train", "5"], "what another worker does costs nothing here"
    retrained = [replace(config, recipe=replace(config.recipe, epochs=2)) for config in configs]
    assert "6 cells; stages: 6 run\n" in planned(*retrained)


def test_of_a_finished_stage_record_and_rows_are_held_against_each_other(
    own_study: OwnStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(STAGE_FUNCTIONS, "train", lambda *_: StageResult())
    config = own_study("stages=[train]", GPU)
    assert run(config).stages["train"].status == "done"
    record = resolve_cell(config).stages["train"].folder / "record.json"
    text = record.read_text()
    other = own_study("stages=[train]", "seed=7", GPU)
    assert "2 cells; stages: 1 done, 1 run\n" in planned(config, other)
    begin_drain(config)
    assert re.search("drained since .*: `plw run` begins no cell until `plw drain --undo`\n", planned(config, other))
    end_drain(config)
    assert "drained" not in planned(config)
    assert "1 cell; stages: 1 done\n" in planned(config, replace(config)), "the same cell stands once"
    record.write_text("{}")
    assert "stages: 1 damaged\n" in planned(config)
    record.unlink()
    assert "stages: 1 run (record lost)\n" in planned(config)
    record.write_text(text)
    assert "stages: 1 done\n" in planned(config)


def test_a_cell_that_is_not_asked_for_a_stage_has_a_dash_there_and_rarer_axes_are_shown(own_study: OwnStudy) -> None:
    said = planned(
        own_study("stages=[train]", GPU), own_study("stages=[generate,train]", "seed=7", "recipe.name=other", GPU)
    )
    (header,) = [line for line in said.splitlines() if "λ_p" in line]
    assert [cell.strip() for cell in header.split("┃")[5:-1]] == ["seed", "recipe", "train", "generate", "folder"]
    assert [row[5:8] for row in rows(said)[:2]] == [["mini", "run", "–"], ["other", "run", "run"]]
    assert "2 cells; stages: 3 run\n" in said
