"""What is seen of a study from elsewhere: the registry alone says what each worker does, how far, and when it spoke."""

import io
import math
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.text import Text

from plw.commands.choice import chosen_cell
from plw.config import CellConfig
from plw.registry import CellRow, Overview, Owner, Registry, StageKey
from plw.results.stage_state import StageState, StateKeeper
from plw.sweep import watch
from plw.sweep.status import print_status
from plw.sweep.watch import watch_study

CELL = CellRow(
    study="plw", scale="mini", cell="c" * 64, dataset="short", model="wide", prompt_weight=0.1, response_weight=1.0,
    normalizer="nonzero", scope="batch", seed=1, folder="plw-mini/short/wide/x", payload="{}", created=1.0,
    recipe="plain",
)  # fmt: skip
KEY = StageKey(study="plw", scale="mini", cell="c" * 64, name="train")
STATE = StageState(
    done=40, total=120, note="loss 1.234, 910 tok/s", loss=1.234, tokens_per_second=910, seconds_left=240
)


@pytest.fixture(scope="module")
def composed() -> CellConfig:
    return chosen_cell(["study=plw", "scale=mini", "stages=[train]"])


@pytest.fixture
def config(composed: CellConfig, tmp_path: Path) -> CellConfig:
    return replace(
        composed,
        execution=replace(composed.execution, runs=str(tmp_path)),
        registry=replace(composed.registry, url=f"sqlite:///{tmp_path}/registry.sqlite"),
    )


@pytest.fixture
def registry(config: CellConfig) -> Iterator[Registry]:
    with Registry.open(config.registry.url) as opened:
        opened.ensure_cell(CELL)
        yield opened


def begin(registry: Registry, owner: Owner, state: StageState | None = STATE) -> None:
    registry.claim(KEY, kind="train", fingerprint="f", owner=owner, lease_timeout_s=60, now=time.time())
    assert registry.heartbeat(KEY, owner.token, progress=None if state is None else state.to_json())


def finish(registry: Registry, owner: Owner) -> None:
    record: dict[str, Any] = {
        "study": "plw", "scale": "mini", "cell": CELL.to_dict(), "stage": "train", "kind": "train", "fingerprint": "f",
        "seconds": 1.0, "attempts": 1, "started": 1.0, "finished": 2.0, "scores": [], "curves": [],
    }  # fmt: skip
    assert registry.finish(KEY, owner.token, record)


@given(
    done=st.integers(0, 10**9),
    note=st.text(),
    loss=st.none() | st.floats(),
    left=st.none() | st.floats(0, 1e9, allow_nan=False),
)
def test_a_state_comes_back_as_it_was_written(done: int, note: str, loss: float | None, left: float | None) -> None:
    state = StageState(done=done, total=10**9, note=note, loss=loss, seconds_left=left)
    text = state.to_json()
    assert "\0" not in text
    known = loss is not None and math.isfinite(loss)
    assert StageState.from_json(text) == (state if known else replace(state, loss=None))


@pytest.mark.parametrize("text", [None, "", "{", '{"units": 3}', "[]", "7"])
def test_what_another_version_wrote_is_not_known(text: str | None) -> None:
    assert StageState.from_json(text) is None


def test_a_stage_that_begins_forgets_the_one_before() -> None:
    keeper = StateKeeper()
    assert keeper.look() is None
    keeper.measure(1.5, 90.0)
    keeper.move(3, 9, "loss")
    state = keeper.look()
    assert state is not None
    assert (state.done, state.total, state.loss, state.tokens_per_second) == (3, 9, 1.5, 90.0)
    keeper.begin()
    assert keeper.look() is None


def test_status_says_what_runs_where_and_how_far(config: CellConfig, registry: Registry) -> None:
    begin(registry, replace(Owner.here(), host="node7", pid=4711))
    screen = io.StringIO()
    print_status(config, Console(file=screen, width=200))
    (line,) = [line for line in screen.getvalue().splitlines() if "node7" in line]
    for words in (
        "short wide p0.1-r1-s1",
        "train",
        "40/120",
        "1.234",
        "910",
        "4 min",
        "process 4711 on node7",
        "s ago",
    ):
        assert words in line


def status_of(config: CellConfig) -> str:
    screen = io.StringIO()
    print_status(config, Console(file=screen, width=200))
    return screen.getvalue()


def test_status_names_the_next_step(config: CellConfig) -> None:
    with Registry.open(config.registry.url) as registry:
        assert "Nothing of plw-mini has been begun; `plw run -m`" in status_of(config)
        registry.ensure_cell(CELL)
        assert "`plw" not in status_of(config)
        owner = Owner.here()
        begin(registry, owner)
        assert "`plw" not in status_of(config)
        finish(registry, owner)
        assert "All is done; `plw report`" in status_of(config)


def test_status_says_that_a_dead_workers_stage_was_interrupted(config: CellConfig, registry: Registry) -> None:
    begin(registry, replace(Owner.here(), process_started=1.0))
    (line,) = [line for line in status_of(config).splitlines() if "short wide" in line]
    assert "40/120" in line
    assert "ago, interrupted" in line
    assert "4 min" not in line
    assert "`plw run -m` with the same words goes on with what was interrupted" in status_of(config)


def test_status_says_that_a_stopped_workers_stage_was_released(config: CellConfig, registry: Registry) -> None:
    owner = Owner.here()
    begin(registry, owner)
    assert registry.release(KEY, owner.token)
    (line,) = [line for line in status_of(config).splitlines() if "short wide" in line]
    assert "released, interrupted" in line


def test_status_of_a_failure_says_how_it_is_tried_again(config: CellConfig, registry: Registry) -> None:
    owner = Owner.here()
    begin(registry, owner)
    assert registry.fail(KEY, owner.token, "no room", "")
    assert "`plw run -m` with the same words tries again what failed" in status_of(config)


def test_a_watch_of_lines_follows_a_stage_to_its_end(config: CellConfig, registry: Registry) -> None:
    owner = replace(Owner.here(), host="node7", pid=4711)
    begin(registry, owner)
    screen = io.StringIO()
    watcher = threading.Thread(target=watch_study, args=(config, Console(file=screen, width=300), 0.05), daemon=True)
    watcher.start()
    wait_for(lambda: "node7" in screen.getvalue())
    finish(registry, owner)
    watcher.join(timeout=30)
    assert not watcher.is_alive(), "the watch ends with the study"
    lines = screen.getvalue().splitlines()
    assert "plw-mini: 0/1 stages of 1 cell done, 1 running, 0 failed" in lines[0]
    assert lines[1].startswith(
        "  short wide p0.1-r1-s1: train 40/120, loss 1.234, 910 tok/s, about 4 min left, process 4711 on node7, "
        "last heartbeat"
    )
    assert "plw-mini: 1/1 stages of 1 cell done, 0 running" in lines[-1]
    assert registry.stage_rows()[0].progress is None


def test_a_watch_on_a_terminal_ends_with_the_study(config: CellConfig, registry: Registry) -> None:
    owner = Owner.here()
    begin(registry, owner, state=None)
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=200, height=40)
    watcher = threading.Thread(target=watch_study, args=(config, console, 0.05), daemon=True)
    watcher.start()
    wait_for(lambda: "1 running" in screen.getvalue())
    finish(registry, owner)
    watcher.join(timeout=30)
    assert not watcher.is_alive()
    assert "1/1 stages" in screen.getvalue()


def test_the_time_left_is_that_of_the_stages_left_by_the_workers_now(config: CellConfig, registry: Registry) -> None:
    look = watch._Looker(replace(config, stages=["train", "harness"]), registry)
    done = {("train", "done"): 4, ("train", "running"): 2, ("harness", "done"): 1, ("harness", "running"): 2}
    look.found = Overview(cells=10, stages=done, seconds={"train": 60.0, "harness": 20.0}, open=[], now=0.0)
    assert look.seconds_left() == (6 * 60 + 9 * 20) / 4
    assert "about 2 min left at this pace" in look.headline()
    look.found = replace(look.found, seconds={"train": 60.0})
    assert look.seconds_left() is None, "how long a harness takes is not known yet"


def test_a_queue_is_shown_and_asked_less_often_than_the_registry(config: CellConfig, registry: Registry) -> None:
    begin(registry, Owner.here())
    asked = []

    def ask() -> watch.QueueLook:
        asked.append(1)
        return watch.QueueLook(line="Slurm: 2 pending", view=Text("two jobs wait"))

    look = watch._Looker(config, registry, ask)
    for _ in range(3):
        look.look()
    assert len(asked) == 1
    assert "  Slurm: 2 pending" in look.lines()
    screen = io.StringIO()
    Console(file=screen, width=200).print(look.view())
    assert "two jobs wait" in screen.getvalue()


def test_a_registry_that_is_away_is_said_and_asked_again(
    config: CellConfig, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    from plw.errors import RegistryAwayError

    begin(registry, Owner.here())
    look = watch._Looker(config, registry)
    look.look()

    def away(**_: str) -> None:
        raise RegistryAwayError("postgresql://db/plw: the registry does not answer (refused); the same command goes on")

    with monkeypatch.context() as patch:
        patch.setattr(registry, "overview", away)
        look.look()
    assert "1 running" in look.headline()
    assert look.headline().endswith("postgresql://db/plw: the registry does not answer (refused)")
    assert not look.is_over
    look.look()
    assert "does not answer" not in look.headline()


def wait_for(condition: Any) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
