"""A full or read-only disk, damaged files, lost rows: one line, the other cells go on, and nothing is lost."""

import contextlib
import errno
import itertools
import json
import multiprocessing
import os
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from plw.config import CellConfig
from plw.errors import StorageError, UserError
from plw.files.sealed import read_sealed_json
from plw.pipeline import resolve_cell
from plw.pipeline.stage import StageResult
from plw.pipeline.stage_functions import STAGE_FUNCTIONS
from plw.registry import Registry, export_csv, rebuild
from plw.sweep.grid import GridResult, run_grid
from plw.sweep.plan import print_plan
from plw.sweep.status import print_status
from tests.small_disk import CannotMountError, small_disk
from tests.unit.pipeline.conftest import OwnStudy

Grid = Callable[..., list[CellConfig]]


@pytest.fixture
def grid(own_study: OwnStudy) -> Grid:
    """A grid of two cells."""
    return lambda *words: [own_study("execution.workers=1", f"seed={seed}", *words) for seed in (1, 2)]


def sweep(configs: list[CellConfig]) -> GridResult:
    return run_grid(configs, Console(quiet=True))


def statuses(result: GridResult) -> list[dict[str, str]]:
    return [{kind: stage.status for kind, stage in outcome.stages.items()} for outcome in result.outcomes]


def folder(config: CellConfig, kind: str) -> Path:
    return resolve_cell(config).stages[kind].folder


def test_a_worker_that_is_only_just_starting_when_all_is_said_ends_in_order(grid: Grid) -> None:
    """Cells that fail at once are over before the second worker is there; it once found its queues gone."""
    configs = grid("stages=[train]", "execution.workers=2")
    for config in configs:
        folder(config, "train").mkdir(parents=True)
        (folder(config, "train") / "record.json").write_text("{}")
    # Workers that were stopped in another test of this process may still be about to end.
    before = multiprocessing.active_children()
    assert statuses(sweep(configs)) == [{"train": "failed"}] * 2
    assert set(multiprocessing.active_children()) <= set(before)


class PanicError(BaseException):
    """As Rust's panics and torch's CheckpointException come to Python."""


@pytest.mark.parametrize("raised", [PanicError("index out of bounds"), SystemExit(3)])
def test_what_is_no_exception_fails_its_stage_alone(
    grid: Grid, monkeypatch: pytest.MonkeyPatch, raised: BaseException
) -> None:
    def train(context: Any, _: Any) -> StageResult:
        if context.config.seed == 1:
            raise raised
        return StageResult()

    monkeypatch.setitem(STAGE_FUNCTIONS, "train", train)
    result = sweep(grid("stages=[train]"))
    assert statuses(result) == [{"train": "failed"}, {"train": "done"}]
    ((_, _, error),) = result.failed
    assert error == f"{type(raised).__name__}: {raised}"


@pytest.mark.parametrize("content", ["{}", "[]", '{"payload": {}', "", '{"payload": null, "scores": 3}'])
def test_a_damaged_record_fails_its_cell_alone(grid: Grid, content: str) -> None:
    first, second = grid("stages=[train]")
    sweep([first])
    record = folder(first, "train") / "record.json"
    record.write_text(content)
    result = sweep([first, second])
    assert statuses(result) == [{"train": "failed"}, {"train": "done"}]
    ((_, _, error),) = result.failed
    assert str(record) in error
    assert f"remove {record.parent}" in error
    assert "\n" not in error
    # What the line says helps.
    shutil.rmtree(record.parent)
    assert statuses(sweep([first, second])) == [{"train": "done"}]


def test_a_record_with_a_row_that_cannot_be_stored_fails_its_cell_alone(grid: Grid) -> None:
    first, second = grid("stages=[train]")
    sweep([first])
    record = folder(first, "train") / "record.json"
    changed = read_sealed_json(record)
    changed["curves"][0]["loss"] = "low"
    record.write_text(json.dumps(changed))
    Path(first.registry.url.removeprefix("sqlite:///")).unlink()
    result = sweep([first, second])
    assert statuses(result) == [{"train": "failed"}, {"train": "done"}]
    assert "curves[0]: loss is 'low'" in result.failed[0][2]


def test_a_number_of_a_record_that_the_disk_changed_is_not_believed(grid: Grid) -> None:
    first, second = grid("stages=[train]")
    sweep([first])
    record = folder(first, "train") / "record.json"
    text = record.read_text()
    record.write_text(text.replace('"attempts": 1', '"attempts": 3'))
    assert record.read_text() != text
    result = sweep([first, second])
    assert statuses(result) == [{"train": "failed"}, {"train": "done"}]
    assert f"{record}: is not as it was written" in result.failed[0][2]
    assert f"remove {record.parent}" in result.failed[0][2]


def test_rows_that_were_lost_come_back_with_the_next_run(grid: Grid, capsys: pytest.CaptureFixture[str]) -> None:
    configs = grid()
    sweep(configs)
    database = configs[0].registry.url.removeprefix("sqlite:///")
    before = dump(database)
    assert before["scores"]
    assert before["curves"]
    with sqlite3.connect(database) as connection:
        connection.execute("DELETE FROM scores WHERE rowid = 1")
        connection.execute("DELETE FROM curves WHERE step = 1")
    assert dump(database) != before
    print_plan(configs, Console(width=250))
    assert "rows lost" in capsys.readouterr().out
    result = sweep(configs)
    assert all(set(stages.values()) == {"skipped"} for stages in statuses(result))
    assert dump(database) == before
    assert sweep(configs).skipped == 2


def dump(database: str) -> dict[str, list[Any]]:
    with sqlite3.connect(database) as connection:
        return {table: sorted(connection.execute(f"SELECT * FROM {table}"), key=repr) for table in ("scores", "curves")}


def test_a_damaged_database_is_named_and_the_remedy_helps(grid: Grid) -> None:
    configs = grid("stages=[train]")
    sweep(configs)
    database = Path(configs[0].registry.url.removeprefix("sqlite:///"))
    database.write_bytes(b"torn" * 3000)
    with pytest.raises(UserError, match="plw registry rebuild") as caught:
        sweep(configs)
    assert str(database) in str(caught.value)
    database.unlink()
    rebuild(configs[0].registry.url, Path(configs[0].execution.runs))
    assert sweep(configs).skipped == 2


def test_what_several_processes_left_is_no_product_of_the_one_that_continues(grid: Grid) -> None:
    """A launch that was killed leaves the examples, its job and its output in the stage's folder."""
    config = grid("stages=[train,diagnose]")[0]
    for kind, name in itertools.product(("train", "diagnose"), ("launch/job.json", ".shares/0/items.parquet")):
        left = folder(config, kind) / name
        left.parent.mkdir(parents=True)
        left.write_text("{}")
    assert statuses(sweep([config])) == [{"train": "done", "diagnose": "done"}]
    for kind in ("train", "diagnose"):
        named = read_sealed_json(folder(config, kind) / "record.json")["products"]
        assert not any(name.startswith("launch/") for name in named)
        assert not (folder(config, kind) / "launch").exists()
        assert not (folder(config, kind) / ".shares").exists()


def test_a_full_disk_ends_the_command_in_one_line(grid: Grid, monkeypatch: pytest.MonkeyPatch) -> None:
    configs = grid("stages=[train]")
    full = folder(configs[1], "train")
    make = tempfile.mkstemp

    def mkstemp(*words: Any, **options: Any) -> tuple[int, str]:
        if Path(options["dir"]) == full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(full / "x"))
        return make(*words, **options)

    monkeypatch.setattr(tempfile, "mkstemp", mkstemp)
    with pytest.raises(StorageError) as caught:
        sweep(configs)
    assert str(full) in str(caught.value)
    assert "free space, then the same command continues" in str(caught.value)
    monkeypatch.undo()
    result = sweep(configs)
    assert (result.skipped, statuses(result)) == (1, [{"train": "done"}])


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own of 4 MB and 200 inodes, where the tests may mount one."""
    try:
        with small_disk(tmp_path / "disk", "4m", inodes=200) as place:
            yield place
    except CannotMountError as refused:
        pytest.skip(str(refused))


def on(disk: Path) -> list[str]:
    return [f"execution.runs={disk}/runs", f"registry.url=sqlite:///{disk}/runs/registry.sqlite"]


@pytest.mark.parametrize("lacking", ["bytes", "inodes"])
def test_a_small_disk_is_full_and_emptied(grid: Grid, disk: Path, lacking: str) -> None:
    configs = grid(*on(disk))
    sweep(configs[:1])
    (disk / "filler").write_bytes(b"x" * 1024 * (os.statvfs(disk).f_bavail * 4 - 40) if lacking == "bytes" else b"")
    fillers = [disk / "filler", *(disk / f"filler-{n}" for n in range(200))]
    for filler in fillers:
        with contextlib.suppress(OSError):
            filler.write_bytes(b"x" * 4096 if lacking == "bytes" else b"")
    with pytest.raises(StorageError) as caught:
        sweep(configs)
    assert "\n" not in str(caught.value)
    assert "free space, then the same command continues" in str(caught.value)
    for filler in fillers:
        filler.unlink(missing_ok=True)
    result = sweep(configs)
    assert (result.skipped, statuses(result)) == (1, [{"train": "done", "generate": "done"}])


@pytest.mark.parametrize("log", ["folded", "left by a writer that was killed"])
def test_a_finished_study_can_be_read_where_nothing_can_be_written(
    grid: Grid, disk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], log: str
) -> None:
    configs = grid(*on(disk))
    sweep(configs)
    config, database = configs[0], disk / "runs/registry.sqlite"
    if log != "folded":
        # A log with a row that the file does not have yet, as kill -9 leaves it.
        copy = tmp_path / "copy.sqlite"
        shutil.copyfile(database, copy)
        connection = sqlite3.connect(copy)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute("UPDATE cells SET dataset = 'only in the log'")
        connection.commit()
        shutil.copyfile(copy, database)
        shutil.copyfile(f"{copy}-wal", f"{database}-wal")
        connection.close()
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    print_status(config, Console(width=200))
    assert "2 cells" in capsys.readouterr().out
    print_plan(configs, Console(width=200))
    with Registry.open(config.registry.url, create=False) as registry:
        rows = export_csv(registry, tmp_path / "scores.csv", study=config.study.name, scale=config.scale.name)
        assert rows
        names = {cell.dataset for cell in registry.cells()}
    assert names == ({"d"} if log == "folded" else {"only in the log"})
    assert sweep(configs).skipped == 2
    with pytest.raises(StorageError, match="Read-only file system"):
        sweep(grid(*on(disk), "recipe.epochs=2"))
