"""What no record names is found with its size, and removed unless it has changed since; all else stays."""

import json
import shutil
from pathlib import Path

import pytest

from plw.errors import UserError
from plw.files.products import note_products
from plw.registry.claim import Claimed
from plw.registry.garbage import find_garbage, remove_garbage
from plw.registry.owner import Owner
from plw.registry.rows import StageKey
from plw.registry.store import Registry
from plw.registry.verify import verify_results


def begin(registry, runs, cell, name, *, fail=False, owner=None):
    """A stage that was begun, and failed or was cut off."""
    owner = owner or Owner(host="elsewhere", pid=1)
    key = StageKey(study=cell.study, scale=cell.scale, cell=cell.cell, name=name)
    work = {"kind": name, "fingerprint": f"f-{name}", "owner": owner, "lease_timeout_s": 60}
    assert isinstance(registry.claim(key, **work, now=None if owner.host != "elsewhere" else 100.0), Claimed)
    folder = runs / cell.folder / name
    folder.mkdir(parents=True)
    (folder / "payload.json").write_text("{}")
    (folder / "half.safetensors").write_bytes(b"x" * 1000)
    if fail:
        (folder / "failure.json").write_text("{}")
        assert registry.fail(key, owner.token, "error", "trace")
    return folder


def contents(runs):
    return sorted(path for path in runs.rglob("*") if path.is_file() and "registry" not in path.name)


def test_a_clean_study_has_nothing_to_remove(study, runs):
    assert find_garbage(study, runs) == []


def test_what_no_record_names_goes_and_all_else_stays(study, runs, make_cell):
    before = contents(runs)
    cell = make_cell(0.1)
    with Registry.open(study) as registry:
        other = registry.ensure_cell(make_cell(0.9))
        failed = begin(registry, runs, cell, "judge", fail=True)
        cut_off = begin(registry, runs, cell, "generate")
        registry.ensure_cell(make_cell(0.8))
        gone = begin(registry, runs, other, "train", fail=True)
    shutil.rmtree(gone.parent)
    train = runs / cell.folder / "train"
    (train / "checkpoints" / "step-3").mkdir(parents=True)
    (train / "checkpoints" / "step-3" / "state.json").write_text("x" * 500)
    (train / ".items.parquet.abc.tmp").write_text("half")
    (train / "link").symlink_to(runs)
    (train / ".hidden").write_text("kept")
    (train.parent / "wandb").mkdir()
    (train.parent / "wandb" / "run.log").write_text("kept")

    found = find_garbage(study, runs)
    by_kind = sorted((item.kind, Path(item.where).name, item.bytes) for item in found if item.path is not None)
    assert by_kind == [
        ("failed attempt", "judge", 1004),
        ("left in a finished stage", ".items.parquet.abc.tmp", 4),
        ("left in a finished stage", "checkpoints", 500),
        ("left in a finished stage", "link", (train / "link").lstat().st_size),
    ]
    rows = sorted((item.kind, item.bytes) for item in found if item.path is None)
    assert rows == [("row of a cell without a stage", 0), ("row of a failed stage without a record", 0)]

    assert remove_garbage(study, found) == found
    kept = (train / ".hidden", train.parent / "wandb" / "run.log")
    assert contents(runs) == sorted([*before, *cut_off.iterdir(), *kept])
    assert not failed.exists()
    with Registry.open(study) as registry:
        assert {(row.name, row.status) for row in registry.stage_rows()} == {
            ("train", "done"), ("harness", "done"), ("generate", "running")
        }  # fmt: skip
    # The cell whose failed row is gone now is without a stage.
    (left,) = find_garbage(study, runs)
    assert (left.kind, left.where) == ("row of a cell without a stage", other.folder)
    assert remove_garbage(study, [left]) == [left]
    assert find_garbage(study, runs) == []
    assert verify_results(study, runs).problems == ()


@pytest.mark.parametrize("lost", ["folder", "record"])
def test_a_done_row_whose_record_is_gone_goes_with_its_scores(study, runs, make_cell, lost):
    folder = runs / make_cell(0.1).folder / "train"
    shutil.rmtree(folder) if lost == "folder" else (folder / "record.json").unlink()
    (item,) = find_garbage(study, runs)
    assert item.kind == "row of a done stage without a record"
    assert remove_garbage(study, [item]) == [item]
    with Registry.open(study) as registry:
        assert registry.scores_frame().groupby("stage").size().to_dict() == {"harness": 6, "train": 4}
        assert len(registry.curves_frame()) == 6


def test_an_attempt_that_no_row_tells_of_is_garbage_where_it_says_that_it_failed(study, runs, make_cell):
    """As after a registry was made again from the records."""
    for name in ("judge", "generate"):
        folder = runs / make_cell(0.1).folder / name
        folder.mkdir()
        (folder / "payload.json").write_text("{}")
    (runs / make_cell(0.1).folder / "judge" / "failure.json").write_text("{}")
    (item,) = find_garbage(study, runs)
    assert (item.kind, Path(item.where).name, item.row) == ("failed attempt", "judge", None)
    assert remove_garbage(study, [item]) == [item]
    assert {path.name for path in (runs / make_cell(0.1).folder).iterdir()} == {"train", "harness", "generate"}


def test_what_has_changed_since_stays(study, runs, make_cell):
    cell = make_cell(0.1)
    with Registry.open(study) as registry:
        folder = begin(registry, runs, cell, "judge", fail=True)
        found = find_garbage(study, runs)
        key = StageKey(study=cell.study, scale=cell.scale, cell=cell.cell, name="judge")
        assert registry.claim(key, kind="judge", fingerprint="f-judge", owner=Owner.here(), lease_timeout_s=60)
        with pytest.raises(UserError, match="1 stage being worked on"):
            find_garbage(study, runs)
        assert remove_garbage(study, found) == []
        assert (folder / "half.safetensors").exists()
        assert [row.status for row in registry.stage_rows() if row.name == "judge"] == ["running"]


def test_a_row_that_has_changed_since_stays(study, runs, make_cell):
    cell = make_cell(0.1)
    with Registry.open(study) as registry:
        shutil.rmtree(begin(registry, runs, cell, "judge", fail=True))
        (item,) = find_garbage(study, runs)
        assert item.path is None
        begin(registry, runs, cell, "judge", owner=Owner.here())
        assert remove_garbage(study, [item]) == []
        assert [row.status for row in registry.stage_rows() if row.name == "judge"] == ["running"]


def test_a_cell_that_has_a_folder_is_no_garbage_and_files_below_those_that_are_named_are_seen(study, runs, make_cell):
    with Registry.open(study) as registry:
        registry.ensure_cell(make_cell(0.7))
    (runs / make_cell(0.7).folder).mkdir()
    folder = runs / make_cell(0.1).folder / "train"
    (folder / "model" / "deep").mkdir(parents=True)
    (folder / "model" / "deep" / "weights").write_text("w")
    record = folder / "record.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "products": note_products(folder)}))
    (folder / "model" / "deep" / "more").write_text("more")
    assert [(item.kind, item.path) for item in find_garbage(study, runs)] == [
        ("left in a finished stage", folder / "model" / "deep" / "more")
    ]


def test_a_study_without_a_folder_keeps_its_rows(study, runs, tmp_path, make_cell):
    with Registry.open(study) as registry:
        registry.ensure_cell(make_cell(0.9))
    (tmp_path / "elsewhere").mkdir()
    assert find_garbage(study, tmp_path / "elsewhere") == []
    with pytest.raises(UserError, match="no such folder"):
        find_garbage(study, tmp_path / "nowhere")


def test_without_a_registry_nothing_is_garbage_and_none_is_made(runs, tmp_path):
    runs.mkdir()
    for use in (find_garbage, lambda url, runs: remove_garbage(url, [])):
        with pytest.raises(UserError, match="no registry there"):
            use(f"sqlite:///{tmp_path}/none.sqlite", runs)
    assert not (tmp_path / "none.sqlite").exists()


def test_a_record_that_cannot_be_read_keeps_its_folder(study, runs):
    for path in runs.rglob("record.json"):
        path.write_text("torn")
        (path.parent / "more").write_text("?")
    assert find_garbage(study, runs) == []
