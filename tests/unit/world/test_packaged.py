"""The packaged base models promise: the pinned bytes, whole or refused, and the same model on every machine."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

import plw.world.store
from plw.config.world import PretrainingConfig, WorldConfig
from plw.errors import StageError, UserError
from plw.files.hashing import hash_file
from plw.files.reading import read_json
from plw.files.writing import write_json_atomic
from plw.world import build, packaged_bases, world_fingerprint
from plw.world.base_model import base_names
from plw.world.builder import make_tokenizer
from plw.world.checks import assert_thresholds
from plw.world.facts import World
from plw.world.packaged import MANIFEST, PACKAGED, bases_fingerprint, pack_bases, unpack_bases

PINNED = "7df38161fd2af6a8312fd2ce7d3b38c8c605cf19e447b9740fc612a99bc493d9"
"""Of the base models that this version carries: another value means that every result on the world changes."""


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    manifest = packaged_bases(WorldConfig())
    assert manifest is not None
    work = tmp_path_factory.mktemp("world")
    unpack_bases(work, WorldConfig(), manifest)
    return work


def test_the_packages_base_models_are_the_pinned_ones() -> None:
    manifest = read_json(PACKAGED / MANIFEST)
    assert bases_fingerprint(manifest) == PINNED
    files = {path.relative_to(PACKAGED).as_posix() for path in PACKAGED.rglob("*") if path.is_file()} - {MANIFEST}
    assert files == set(manifest["files"])
    assert {name: hash_file(PACKAGED / name) for name in files} == manifest["files"]
    assert sum((PACKAGED / name).stat().st_size for name in files) < 8e6


def test_there_are_several_of_each_architecture_and_all_know_enough() -> None:
    manifest = packaged_bases(WorldConfig())
    assert manifest is not None
    names = base_names(WorldConfig())
    assert [sum(name.startswith(kind) for name in names) for kind in ("wide", "deep")] == [3, 3]
    for name in names:
        assert_thresholds(name, manifest["checks"][name], WorldConfig().thresholds)


def test_a_base_model_is_loaded_as_it_was_packed(unpacked: Path) -> None:
    for name in base_names(WorldConfig()):
        packed = load_file(PACKAGED / f"{name}.safetensors")
        assert {value.dtype for value in packed.values()} == {torch.float16}
        model = AutoModelForCausalLM.from_pretrained(unpacked / "models" / name)
        loaded = model.state_dict()
        assert set(loaded) - set(packed) == {"lm_head.weight"}
        for key, value in packed.items():
            assert loaded[key].dtype == torch.float32
            assert torch.equal(loaded[key], value.float())
        assert torch.equal(loaded["lm_head.weight"], loaded["model.embed_tokens.weight"])


def test_the_files_do_not_depend_on_what_was_random_before(unpacked: Path, tmp_path: Path) -> None:
    config = replace(WorldConfig(), bases=1)
    manifest = packaged_bases(config)
    assert manifest is not None
    torch.manual_seed(1)
    before = torch.get_rng_state()
    unpack_bases(tmp_path, config, manifest)
    assert torch.equal(torch.get_rng_state(), before)
    assert sorted(path.name for path in (tmp_path / "models").iterdir()) == ["deep-1", "wide-1"]
    for path in (path for path in tmp_path.rglob("*") if path.is_file()):
        assert path.read_bytes() == (unpacked / path.relative_to(tmp_path)).read_bytes()


def test_the_tokenizer_that_travels_is_the_one_that_the_world_trains(full_world: World, tmp_path: Path) -> None:
    make_tokenizer(full_world, WorldConfig()).save_pretrained(tmp_path)
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (PACKAGED / "tokenizer" / path.name).read_bytes()


@pytest.mark.parametrize(
    ("config", "travels"),
    [
        (WorldConfig(documents=20, long_prompts=[8, 4]), True),
        (WorldConfig(bases=1), True),
        (WorldConfig(bases=4), False),
        (WorldConfig(seed=1), False),
        (WorldConfig(records=300), False),
        (WorldConfig(pretraining=PretrainingConfig(steps=1999)), False),
    ],
)
def test_only_the_base_models_of_the_same_world_are_taken(config: WorldConfig, travels: bool) -> None:
    assert (packaged_bases(config) is not None) == travels


def test_other_base_models_are_another_world(monkeypatch: pytest.MonkeyPatch) -> None:
    before = world_fingerprint(WorldConfig())
    manifest = packaged_bases(WorldConfig())
    assert manifest is not None
    changed = manifest | {"files": manifest["files"] | {"wide-1.safetensors": "0" * 64}}
    monkeypatch.setattr(plw.world.store, "packaged_bases", lambda config: changed)
    monkeypatch.setattr(plw.world.store, "packaged_state", lambda: (0, 0))
    assert world_fingerprint(WorldConfig()) != before


def test_a_changed_file_is_one_clear_line(tmp_path: Path) -> None:
    folder = tmp_path / "bases"
    shutil.copytree(PACKAGED, folder)
    weights = bytearray((folder / "deep-2.safetensors").read_bytes())
    weights[-1] ^= 1
    (folder / "deep-2.safetensors").write_bytes(weights)
    manifest = packaged_bases(WorldConfig(), folder)
    assert manifest is not None
    with pytest.raises(UserError, match=r"deep-2\.safetensors is not the file .*install the package again"):
        unpack_bases(tmp_path / "work", WorldConfig(), manifest, folder)
    assert not (tmp_path / "work").exists()


def test_a_packaged_base_that_knows_too_little_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"base model wide-1 .* in facts; 1\.00 is needed"):
        build(WorldConfig(bases=1, documents=8, thresholds={"facts": 1.0}), tmp_path)
    assert not list(tmp_path.iterdir())


def test_pretrained_bases_survive_packing(tiny_folder: Path, tiny_config: WorldConfig, tmp_path: Path) -> None:
    """Pretraining rounds to 16 bits itself, so that packing loses nothing."""
    checks = read_json(tiny_folder / "world.json")["checks"]
    pack_bases(tiny_folder, tiny_config, checks, tmp_path / "bases")
    manifest = packaged_bases(tiny_config, tmp_path / "bases")
    assert manifest is not None
    assert manifest["checks"] == checks
    unpack_bases(tmp_path / "work", tiny_config, manifest, tmp_path / "bases")
    for part in ("tokenizer", "models"):
        for path in (path for path in (tiny_folder / part).rglob("*") if path.is_file()):
            assert path.read_bytes() == (tmp_path / "work" / path.relative_to(tiny_folder)).read_bytes()
    write_json_atomic(tmp_path / "bases" / MANIFEST, manifest | {"payload": {}})
    assert packaged_bases(tiny_config, tmp_path / "bases") is None
