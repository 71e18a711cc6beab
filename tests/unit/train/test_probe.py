"""What only loading a base model shows is refused in one line before anything starts."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from safetensors.torch import load_file, save_file

from plw.config.training import ModelConfig
from plw.data.inputs import Resolver
from plw.errors import UserError
from plw.testing.models import SIZES, make_model
from plw.train.probe import probe_model

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def edit(path: Path, **fields: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def drop_a_tensor(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.norm.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "a tensor is absent": (drop_a_tensor, r"lacks model\.norm\.weight"),
    "sizes inside a layer": (
        lambda folder: edit(folder / "config.json", intermediate_size=96),
        r"mlp\.\w+\.weight is of size .*48.* but of .*96",
    ),
    "an architecture nobody knows": (lambda folder: edit(folder / "config.json", model_type="xyz"), r"xyz"),
    "an impossible config": (lambda folder: edit(folder / "config.json", hidden_act="never"), r"never"),
    "attention that looks ahead": (lambda folder: edit(folder / "config.json", is_causal=False), r"see the ones after"),
}


@pytest.fixture(scope="module")
def sound(tiny_tokenizer: "PreTrainedTokenizerBase", tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("sound") / "base", "Llama", tiny_tokenizer, **SIZES)


def probe(folder: Path, **fields: Any) -> None:
    probe_model(str(folder), ModelConfig(name="m", path=str(folder), **fields))


def test_a_sound_folder_passes_and_is_left_as_it_was(sound: Path) -> None:
    before = {path: path.read_bytes() for path in sound.iterdir()}
    probe(sound)
    assert {path: path.read_bytes() for path in sound.iterdir()} == before


@pytest.mark.parametrize("kind", DAMAGE)
def test_one_line_has_folder_and_cause(kind: str, sound: Path, tmp_path: Path) -> None:
    damage, told = DAMAGE[kind]
    shutil.copytree(sound, tmp_path / "base")
    damage(tmp_path / "base")
    with pytest.raises(UserError, match=told) as caught:
        probe(tmp_path / "base")
    assert str(tmp_path / "base") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_weights_of_several_files_pass(sound: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    shutil.copytree(sound, tmp_path / "base")
    (tmp_path / "base/model.safetensors").unlink()
    AutoModelForCausalLM.from_pretrained(sound).save_pretrained(tmp_path / "base", max_shard_size="40KB")
    assert len(list((tmp_path / "base").glob("model-*.safetensors"))) > 1
    probe(tmp_path / "base")


@pytest.mark.parametrize(
    ("sampling", "same"),
    [({"temperature": 0.3, "do_sample": True}, True), ({"eos_token_id": [1, 5]}, False), (None, False)],
    ids=str,
)
def test_sampling_is_no_part_of_a_models_identity_and_what_ends_an_answer_is(
    sampling: dict[str, Any] | None, same: bool, sound: Path, tmp_path: Path
) -> None:
    resolver = Resolver(world_folder=tmp_path, world_fingerprint="0", cache=tmp_path)
    folder = shutil.copytree(sound, tmp_path / "base")
    before = resolver.model(str(folder), None, "model.path").content
    if sampling is None:
        (folder / "generation_config.json").unlink()
    else:
        edit(folder / "generation_config.json", **sampling)
    assert (resolver.model(str(folder), None, "model.path").content == before) == same


def test_layers_that_lora_cannot_have_are_told_before_the_first_cell(tiny_llama: Path) -> None:
    model = ModelConfig(name="m", path=str(tiny_llama))
    probe_model(str(tiny_llama), model, ["q_proj", "down_proj"])
    with pytest.raises(UserError, match=r"lora_targets: nope names no layer; linear layers here: down_proj"):
        probe_model(str(tiny_llama), model, ["q_proj", "nope"])
    with pytest.raises(UserError, match=r"lora_targets: lm_head names the head, which stays frozen"):
        probe_model(str(tiny_llama), model, ["lm_head"])
