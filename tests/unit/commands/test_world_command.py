"""`plw world` promises: the world as a sweep would build it, and packaged base models that are whole or not there."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from plw.cli import app
from plw.config.world import WorldConfig
from plw.errors import UserError
from plw.files.reading import read_json
from plw.world import folder
from plw.world.packaged import MANIFEST, packaged_bases

TINY = (
    "world.people=8", "world.cities=4", "world.tools=8", "world.myths=8", "world.records=8", "world.documents=4",
    "world.long_prompts=[2,2]", "world.vocabulary=400", "world.bases=1", "world.pretraining.steps=2",
    "world.pretraining.rows=1", "++world.thresholds={facts:0,two_hops:0,tools:0,truths:0,translation:0}",
)  # fmt: skip


def call(*words: str | Path) -> str:
    done = CliRunner().invoke(app, list(map(str, words)), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return " ".join(done.output.split())


def test_build_makes_the_world_that_a_sweep_would(tmp_path: Path) -> None:
    said = call("world", "build", "world.bases=1", "world.documents=8", f"execution.cache={tmp_path}")
    made = folder(WorldConfig(bases=1, documents=8), tmp_path)
    assert made.name in said
    assert sorted(path.name for path in (made / "models").iterdir()) == ["deep-1", "wide-1"]


@pytest.mark.slow
def test_pretrain_replaces_packaged_base_models_as_a_whole(tmp_path: Path) -> None:
    out = tmp_path / "bases"
    (out / "tokenizer").mkdir(parents=True)
    for name in (MANIFEST, "wide-9.safetensors", "tokenizer/of_before.json"):
        (out / name).write_text("{}")
    said = call("world", "pretrain", "--out", out, *TINY)
    manifest = read_json(out / MANIFEST)
    assert "wide-1: facts" in said
    assert manifest["payload"]["config"]["pretraining"]["steps"] == 2
    files = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()} - {MANIFEST}
    assert files == set(manifest["files"]) >= {"wide-1.safetensors", "deep-1.safetensors"}
    assert not files & {"wide-9.safetensors", "tokenizer/of_before.json"}
    assert [path.name for path in tmp_path.iterdir()] == ["bases"]
    assert packaged_bases(WorldConfig(), out) is None


def test_a_folder_of_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match=r"--out .* is not empty and holds no bases\.json"):
        call("world", "pretrain", "--out", tmp_path, *TINY)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
