"""Two runs folders of one study become one: what is lacking is taken whole, what differs is told and left."""

import json
import shutil

import pytest

from plw.errors import UserError
from plw.registry.merge import merge
from plw.registry.owner import Owner
from plw.registry.rows import StageKey
from plw.registry.schema import scores
from plw.registry.store import Registry
from plw.registry.verify import verify_results


@pytest.fixture
def other(tmp_path):
    return tmp_path / "other"


def _registry(runs):
    return f"sqlite:///{runs}/registry.sqlite"


def _fill(runs, cells, make_finished, url=None, **words):
    with Registry.open(url or _registry(runs)) as registry:
        for cell in cells:
            make_finished(registry, runs, cell, **words)


def test_what_is_lacking_is_taken_and_what_is_the_same_stays(url, runs, other, make_cell, make_finished):
    cells = [make_cell(weight) for weight in (0.0, 0.1, 0.2)]
    _fill(runs, cells[:2], make_finished, url)
    _fill(other, cells[1:], make_finished)
    (runs / cells[2].folder / "train").mkdir(parents=True)
    (runs / cells[2].folder / "train" / "half").write_text("of an attempt that was cut off")
    (other / cells[2].folder / "train" / "unnamed").write_text("left behind")
    found = merge(url, runs, other)
    assert (found.taken, found.same, found.problems) == (2, 2, ())
    assert verify_results(url, runs).problems == ()
    taken = runs / cells[2].folder
    assert sorted(path.name for path in taken.iterdir()) == ["harness", "train"]
    assert sorted(path.name for path in (taken / "train").iterdir()) == [
        "items.parquet",
        "log.jsonl",
        "payload.json",
        "record.json",
    ]
    with Registry.open(url) as registry:
        assert len(registry.cells()) == 3
        assert {row.status for row in registry.stage_rows()} == {"done"}
        assert len(registry.scores_frame()) == 12
    again = merge(url, runs, other)
    assert (again.taken, again.same) == (0, 4)


def test_a_registry_that_is_not_there_is_made(url, runs, other, make_cell, make_finished):
    _fill(other, [make_cell(0.1)], make_finished)
    assert merge(url, runs, other).taken == 2
    assert verify_results(url, runs).problems == ()


@pytest.mark.parametrize("what", ["scores", "items.parquet", "fingerprint"])
def test_a_cell_that_differs_is_told_and_left_with_all_its_stages(runs, other, make_cell, make_finished, what):
    cell = make_cell(0.1)
    _fill(runs, [cell], make_finished, names=("train",))
    _fill(other, [cell], make_finished, content="other" if what == "items.parquet" else "same")
    record = other / cell.folder / "train" / "record.json"
    changed = json.loads(record.read_text())
    if what == "scores":
        changed["scores"][0]["value"] = 0.5
    elif what == "fingerprint":
        changed["fingerprint"] = "another"
    record.write_text(json.dumps(changed))
    before = (runs / cell.folder / "train" / "record.json").read_text()
    found = merge(_registry(runs), runs, other)
    (line,) = found.problems
    assert cell.folder in line
    assert {"scores": "other scores", "fingerprint": "another identity"}.get(
        what, "items.parquet has another hash"
    ) in line
    assert (found.taken, found.same) == (0, 0)
    assert (runs / cell.folder / "train" / "record.json").read_text() == before
    assert not (runs / cell.folder / "harness").exists()


def test_a_cell_that_differs_in_all_its_stages_is_told_once(runs, other, make_cell, make_finished):
    _fill(runs, [make_cell(0.1)], make_finished)
    _fill(other, [make_cell(0.1)], make_finished, content="other")
    told = []
    found = merge(_registry(runs), runs, other, lambda *said: told.append(said))
    assert (found.taken, found.same, len(found.problems)) == (0, 0, 1)
    assert told == [(1, 2, "1 left out"), (2, 2, "1 left out")]


def test_the_logs_seconds_are_no_difference(runs, other, make_cell, make_finished):
    cell = make_cell(0.1)
    _fill(runs, [cell], make_finished, names=("train",), log="5 s")
    _fill(other, [cell], make_finished, log="7 s")
    found = merge(_registry(runs), runs, other)
    assert (found.taken, found.same, found.problems) == (1, 1, ())


@pytest.mark.parametrize("damage", ["changed", "missing", "cut record", "another place", "out of the folder"])
def test_what_is_not_whole_is_left_out(runs, other, make_cell, make_finished, damage, tmp_path):
    cell = make_cell(0.1)
    _fill(other, [cell], make_finished, names=("train",))
    folder = other / cell.folder / "train"
    file, record = folder / "items.parquet", folder / "record.json"
    if damage == "changed":
        file.write_text("something else")
    elif damage == "missing":
        file.unlink()
    elif damage == "cut record":
        record.write_text(record.read_text()[:90])
    elif damage == "another place":
        folder.parent.rename(folder.parent.with_name("p0.7"))
    else:
        secret = tmp_path / "secret"
        secret.write_bytes(file.read_bytes())
        file.unlink()
        file.symlink_to(secret)
    found = merge(_registry(runs), runs, other)
    assert (found.taken, len(found.problems)) == (0, 1)
    assert "\n" not in found.problems[0]
    assert not list(runs.rglob("record.json"))
    assert not [path for path in runs.rglob(".*") if path.name.endswith(".moved")]


def test_a_stage_that_a_worker_holds_is_left_out(runs, other, make_cell, make_finished):
    cell = make_cell(0.1)
    _fill(other, [cell], make_finished)
    with Registry.open(_registry(runs)) as registry:
        registry.ensure_cell(cell)
        key = StageKey(study=cell.study, scale=cell.scale, cell=cell.cell, name="train")
        registry.claim(key, kind="train", fingerprint="f-train", owner=Owner.here(), lease_timeout_s=60)
    found = merge(_registry(runs), runs, other)
    (line,) = found.problems
    assert "train: process" in line
    assert found.taken == 1
    assert not [path for path in runs.rglob(".*") if path.name.endswith(".moved")]


def test_a_row_that_is_done_without_a_record_is_done_again_by_the_one_that_comes(
    url, runs, other, make_cell, make_finished
):
    """Also of a stage that left no files."""
    cell = make_cell(0.1)
    _fill(runs, [cell], make_finished, url, names=("train",))
    shutil.rmtree(runs / cell.folder)
    with Registry.open(url) as registry, registry.transaction() as connection:
        connection.execute(scores.update().values(value=0.5))
    _fill(other, [cell], make_finished, names=("train",))
    record = other / cell.folder / "train" / "record.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "products": {}}))
    found = merge(url, runs, other)
    assert (found.taken, found.problems) == (1, ())
    assert verify_results(url, runs).problems == ()


def test_a_folder_is_not_merged_with_itself(runs, make_cell, make_finished, tmp_path):
    _fill(runs, [make_cell(0.1)], make_finished)
    with pytest.raises(UserError, match="is the runs folder itself"):
        merge(_registry(runs), runs, runs / ".")
    with pytest.raises(UserError, match="no such folder"):
        merge(_registry(runs), runs, tmp_path / "nowhere")
