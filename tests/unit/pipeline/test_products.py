"""What a later stage reads is what the earlier one left: a changed, added or missing file is named, and never used."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from plw.config import CellConfig, WorldConfig
from plw.errors import UserError
from plw.files import products
from plw.files.products import check_products, note_products
from plw.files.writing import write_json_atomic
from plw.pipeline import resolve_cell
from plw.world import store
from tests.unit.pipeline.conftest import OwnStudy, run


def flip(path: Path) -> None:
    """Change one byte in the middle and leave size and time of change as they are."""
    state, content = path.stat(), bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns + 1))


CHANGES: dict[str, Callable[[Path], None]] = {
    "model.safetensors": flip,
    "config.json": lambda path: path.write_text(path.read_text().replace(" ", "  ", 1)) and None,
    "tokenizer.json": lambda path: path.unlink(),
    "added_tokens.json": lambda path: path.write_text("{}") and None,
}


@pytest.fixture
def trained(own_study: OwnStudy) -> CellConfig:
    config = own_study("stages=[train]")
    run(config)
    return config


@pytest.mark.parametrize("name", CHANGES)
def test_a_model_that_was_changed_is_not_evaluated(trained: CellConfig, own_study: OwnStudy, name: str) -> None:
    folder = resolve_cell(trained).stages["train"].folder
    CHANGES[name](folder / "model" / name)
    outcome = run(own_study("stages=[train,generate,harness]"))
    assert {kind: stage.status for kind, stage in outcome.stages.items()} == {
        "train": "skipped",
        "generate": "failed",
        "harness": "failed",
    }
    assert outcome.stages["generate"].error == (
        f"{folder}/model/{name} is not what train left; remove {folder} to make it again"
    )
    shutil.rmtree(folder)
    assert run(own_study("stages=[train,generate]")).stages["generate"].status == "done"


def test_answers_that_were_edited_are_not_judged(own_study: OwnStudy) -> None:
    config = own_study()
    run(config)
    file = resolve_cell(config).stages["generate"].folder / "alpaca_eval.json"
    rows = json.loads(file.read_text())
    rows[1]["output"] = "a better answer"
    file.write_text(json.dumps(rows))
    outcome = run(own_study("stages=[train,generate,judge]"))
    assert outcome.stages["judge"].error == (
        f"{file} is not what generate-own left; remove {file.parent} to make it again"
    )


def test_the_record_names_all_that_was_left(trained: CellConfig) -> None:
    folder = resolve_cell(trained).stages["train"].folder
    noted = json.loads((folder / "record.json").read_text())["products"]
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert set(noted) == there - {"record.json", "payload.json"}
    assert "model/model.safetensors" in noted


def test_a_large_file_is_read_again_only_where_its_size_or_time_changed_or_when_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(products, "LARGE_BYTES", 1)
    file = tmp_path / "model"
    file.write_bytes(b"a" * 100)
    noted = note_products(tmp_path)
    state = file.stat()
    file.write_bytes(b"b" * 100)
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))
    check_products(tmp_path, noted, made_by="train")
    with pytest.raises(UserError, match="is not what train left"):
        check_products(tmp_path, noted, made_by="train", always=True)
    os.utime(file)
    with pytest.raises(UserError, match="is not what train left"):
        check_products(tmp_path, noted, made_by="train")
    # A copy has another time of change and is as good.
    file.write_bytes(b"a" * 100)
    check_products(tmp_path, noted, made_by="train")


@pytest.mark.parametrize("file", ["benchmarks/piqa.jsonl", "instructions/short.json", "models/wide/config.json"])
def test_a_world_that_was_edited_is_refused(tmp_path: Path, file: str) -> None:
    config = WorldConfig()
    folder = store.folder(config, tmp_path)
    for name in ("benchmarks/piqa.jsonl", "instructions/short.json", "models/wide/config.json"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}\n" * 20)
    write_json_atomic(folder / "world.json", {"payload": store.payload(config), "files": note_products(folder)})
    assert store.is_built(folder, config)
    (folder / file).write_text("{}\n" * 5)
    with pytest.raises(UserError, match=f"{folder}/{file} is not what .* left; remove {folder} to make it again"):
        store.is_built(folder, config)
