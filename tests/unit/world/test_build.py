"""Building promises: whole or absent, found again at once, the same weights for the same config."""

import os
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from transformers import AutoTokenizer

import plw.world.builder
import plw.world.processes
from plw.config.world import BaseModelConfig, PretrainingConfig, WorldConfig
from plw.errors import StageError, StorageError, UserError
from plw.files.reading import read_json
from plw.files.writing import write_json_atomic
from plw.progress import no_progress
from plw.world import build, folder, world_fingerprint
from plw.world.base_model import PLAN, base_names
from plw.world.builder import make_tokenizer, pretrain_bases
from plw.world.checks import assert_thresholds
from plw.world.facts import World
from plw.world.pretrain import learning_rate_factor, pretrain, pretraining_rows
from plw.world.processes import run_parallel
from tests.small_disk import CannotMountError, fill, small_disk


def test_the_folder_is_complete(tiny_folder: Path, tiny_config: WorldConfig) -> None:
    assert tiny_folder == folder(tiny_config, tiny_folder.parent)
    assert {path.name for path in tiny_folder.iterdir()} == {
        "world.json",
        "added.json",
        "facts.json",
        "tokenizer",
        "models",
        "instructions",
        "preferences",
        "benchmarks",
        "prompts",
    }
    record = read_json(tiny_folder / "world.json")
    assert set(record["checks"]) == {"wide-1", "deep-1"}
    assert set(record["checks"]["deep-1"]) == {"facts", "two_hops", "tools", "truths", "translation"}
    assert not [path for path in tiny_folder.parent.iterdir() if path.name.startswith(".")]


def test_base_models_are_llamas_that_transformers_load(tiny_folder: Path, tiny_config: WorldConfig) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

    for name, shape in (("wide-1", tiny_config.wide), ("deep-1", tiny_config.deep)):
        path = tiny_folder / "models" / name
        model, tokenizer = AutoModelForCausalLM.from_pretrained(path), AutoTokenizer.from_pretrained(path)
        assert isinstance(model, LlamaForCausalLM)
        assert (model.config.num_hidden_layers, model.config.hidden_size) == (shape.layers, shape.hidden)
        assert model.config.tie_word_embeddings
        assert model.config.max_position_embeddings == 512
        assert model.config.vocab_size == len(tokenizer)
        assert model.generation_config.eos_token_id == tokenizer.eos_token_id
        assert model.generation_config.pad_token_id == tokenizer.pad_token_id
        assert (path / "model.safetensors").is_file()


def test_a_second_call_builds_nothing(
    tiny_folder: Path, tiny_config: WorldConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plw.world.builder, "make_world", lambda config: pytest.fail("built again"))
    assert build(tiny_config, tiny_folder.parent) == tiny_folder


def test_another_config_is_another_folder(tmp_path: Path, tiny_config: WorldConfig) -> None:
    other = replace(tiny_config, seed=4)
    assert world_fingerprint(other) != world_fingerprint(tiny_config)
    assert folder(other, tmp_path) != folder(tiny_config, tmp_path)


def _without_training(work: Path, names: tuple[str, ...], steps: int, progress: object) -> None:
    for name in names:
        (work / "models" / name).mkdir(parents=True)


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts and tokenizer are made, models are not: for tests of what happens around them."""
    monkeypatch.setattr(plw.world.builder, "run_parallel", _without_training)
    monkeypatch.setattr(plw.world.builder, "measure_knowledge", lambda *arguments: {"facts": 0.5})


@pytest.mark.usefixtures("untrained")
def test_a_folder_without_its_record_is_made_again(tmp_path: Path, tiny_config: WorldConfig) -> None:
    broken = folder(tiny_config, tmp_path)
    (broken / "models").mkdir(parents=True)
    (broken / "rubbish").write_text("half written")
    assert build(tiny_config, tmp_path) == broken
    assert (broken / "world.json").is_file()
    assert not (broken / "rubbish").exists()
    assert [path.name for path in tmp_path.iterdir()] == [broken.name]


@pytest.mark.usefixtures("untrained")
def test_what_a_killed_builder_left_is_removed_in_time(tmp_path: Path, tiny_config: WorldConfig) -> None:
    name = folder(tiny_config, tmp_path).name
    old, young = tmp_path / f".{name}.old", tmp_path / f".{name}.young"
    for path in (old, young):
        path.mkdir()
    os.utime(old, (0, 0))
    build(tiny_config, tmp_path)
    assert (old.exists(), young.exists()) == (False, True)


@pytest.mark.usefixtures("untrained")
def test_a_folder_of_another_world_is_refused(tmp_path: Path, tiny_config: WorldConfig) -> None:
    path = build(tiny_config, tmp_path)
    record = read_json(path / "world.json")
    record["payload"]["generator"] = -1
    write_json_atomic(path / "world.json", record)
    with pytest.raises(UserError, match="another config"):
        build(tiny_config, tmp_path)


@pytest.mark.usefixtures("untrained")
def test_the_first_of_two_builders_wins(
    tmp_path: Path, tiny_config: WorldConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one builder is at work another one finishes; the folder stays the other's and is whole."""
    nested = []

    def meanwhile(work: Path, names: tuple[str, ...], steps: int, progress: object) -> None:
        _without_training(work, names, steps, progress)
        if not nested:
            nested.append(work)
            (build(tiny_config, tmp_path) / "mark").write_text("first")

    monkeypatch.setattr(plw.world.builder, "run_parallel", meanwhile)
    path = build(tiny_config, tmp_path)
    assert (path / "mark").read_text() == "first"
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


@pytest.mark.usefixtures("untrained")
def test_a_model_that_knows_too_little_leaves_nothing(tmp_path: Path, tiny_config: WorldConfig) -> None:
    with pytest.raises(StageError, match=r"base model wide-1 .* 0\.50 in facts; 0\.90 is needed"):
        build(replace(tiny_config, thresholds={"facts": 0.9}), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_stopped_process_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"pretraining of base model wide failed: .*pretraining\.json"):
        run_parallel(tmp_path, ("wide",), 1, no_progress)


def test_a_pretraining_on_a_full_disk_says_so(tmp_path: Path, tiny_world: World, tiny_config: WorldConfig) -> None:
    try:
        with small_disk(tmp_path / "disk", "1m") as disk:
            make_tokenizer(tiny_world, tiny_config).save_pretrained(disk / "tokenizer")
            write_json_atomic(disk / PLAN, asdict(tiny_config))
            fill(disk)
            with pytest.raises(StorageError, match="pretraining of base model wide-1: No space left on device; free"):
                run_parallel(disk, ("wide-1",), tiny_config.pretraining.steps, no_progress)
    except CannotMountError as reason:
        pytest.skip(str(reason))


def test_a_killed_pretraining_is_told_by_its_signal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kills_itself = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    (tmp_path / "sitecustomize.py").write_text(f"import sys\nif 'plw.world.pretrain' in sys.orig_argv: {kills_itself}")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(StageError, match=r"^pretraining of base model wide was ended by SIGKILL, by hand or for want"):
        run_parallel(tmp_path, ("wide",), 1, no_progress)


def test_the_same_plan_gives_the_same_weights(tmp_path: Path, tiny_world: World, tiny_config: WorldConfig) -> None:
    files = []
    for name in ("one", "two"):
        work = tmp_path / name
        make_tokenizer(tiny_world, tiny_config).save_pretrained(work / "tokenizer")
        write_json_atomic(work / PLAN, asdict(tiny_config))
        pretrain(work, "deep-1")
        files.append((work / "models/deep-1/model.safetensors").read_bytes())
    assert files[0] == files[1]


def test_a_base_model_has_documents_and_first_weights_of_its_own(tiny_folder: Path, tiny_config: WorldConfig) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_folder / "tokenizer")
    names = base_names(replace(tiny_config, bases=2))
    assert names == ["wide-1", "deep-1", "wide-2", "deep-2"]
    rows = [pretraining_rows(tiny_config, name, tokenizer) for name in names]
    shape = (tiny_config.pretraining.steps * tiny_config.pretraining.rows, tiny_config.pretraining.row_tokens)
    assert {one.shape for one in rows} == {shape}
    assert len({one.tobytes() for one in rows}) == len(names)


@pytest.mark.slow
def test_every_base_model_is_pretrained_however_few_the_cores(
    tmp_path: Path, tiny_world: World, tiny_config: WorldConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plw.world.processes.os, "cpu_count", lambda: 1)
    told: list[tuple[int, int]] = []
    config = replace(tiny_config, pretraining=PretrainingConfig(steps=2, rows=1))
    known = pretrain_bases(tmp_path, tiny_world, config, lambda done, total, note: told.append((done, total)))
    assert list(known) == ["wide-1", "deep-1"]
    assert told == [(2, 4), (4, 4)]
    files = [(tmp_path / "models" / name / "model.safetensors").read_bytes() for name in known]
    assert files[0] != files[1]


def test_every_threshold_must_be_met() -> None:
    assert_thresholds("wide", {"facts": 0.9, "tools": 0.8}, {"facts": 0.9})
    with pytest.raises(StageError, match="tools"):
        assert_thresholds("wide", {"facts": 0.9, "tools": 0.8}, {"facts": 0.9, "tools": 0.81})


def test_learning_rate_rises_stays_and_falls() -> None:
    factors = [learning_rate_factor(step, 100, 10) for step in range(100)]
    assert factors[:10] == pytest.approx([0.1 * (step + 1) for step in range(10)])
    assert set(factors[10:75]) == {1.0}
    assert factors[75:] == pytest.approx([(100 - step) / 25 for step in range(75, 100)])


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: WorldConfig(people=2), "world.people=2"),
        (lambda: WorldConfig(two_hop_share=1.5), "world.two_hop_share=1.5"),
        (lambda: WorldConfig(long_prompts=[60]), "world.long_prompts"),
        (lambda: WorldConfig(tools=400), "world.tools=400"),
        (lambda: WorldConfig(thresholds={"luck": 0.5}), "luck"),
        (lambda: WorldConfig(thresholds={"facts": 2.0}), "world.thresholds.facts=2"),
        (lambda: PretrainingConfig(steps=0), "world.pretraining.steps=0"),
        (lambda: BaseModelConfig(layers=1, hidden=30), "hidden=30"),
    ],
)
def test_a_config_out_of_range_is_one_clear_line(make: object, named: str) -> None:
    with pytest.raises(UserError, match=named):
        make()  # type: ignore[operator]
