"""Model folders as they come: what changes the model is identity, and one that cannot be loaded is one line."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from plw.data.inputs import Resolver
from plw.errors import UserError
from plw.pretrained.model_folder import check_model_folder, model_hash

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 13476839424\n"
WEIGHTS = "model.safetensors"
LOADED = (
    "config.json", WEIGHTS, "model.safetensors.index.json", "tokenizer.json",
    "tokenizer_config.json", "tokenizer.model", "special_tokens_map.json", "added_tokens.json", "vocab.json",
    "merges.txt", "vocab.txt", "qwen.tiktoken", "spiece.model", "chat_template.jinja", "chat_template.json",
    "chat_templates/tools.jinja", "additional_chat_templates/rag.jinja", "adapter_config.json",
)  # fmt: skip
NOT_LOADED = ("README.md", "trainer_state.json", "modeling_own.py", "pytorch_model.bin", "images/curve.png")


@pytest.fixture
def folder(tiny_llama: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_llama, tmp_path / "model"))


def edit(**fields: Any) -> Callable[[Path], None]:
    """Changes fields of the config."""

    def change(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | fields))

    return change


def rewrite(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes(change((folder / name).read_bytes())) and None


def leave(*names: str, **made: bytes) -> Callable[[Path], None]:
    """The folder with some files taken out; those of ``made`` put in."""

    def change(folder: Path) -> None:
        for name in names:
            (folder / name).unlink()
        for name, content in made.items():
            (folder / name.replace("__", ".")).write_bytes(content)

    return change


def recast(**kinds: str) -> Callable[[Path], None]:
    """Makes some weights whole numbers, or puts scales beside them."""

    def change(folder: Path) -> None:
        from safetensors.numpy import load_file, save_file

        tensors = load_file(folder / WEIGHTS)
        for kind, part in kinds.items():
            for name in [name for name in tensors if part in name]:
                if kind == "int8":
                    tensors[name] = tensors[name].astype("int8")
                else:
                    tensors[name.removesuffix("weight") + kind] = tensors[name][:1]
        save_file(tensors, folder / WEIGHTS)

    return change


INDEX = json.dumps({"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}})
DAMAGES: dict[str, tuple[Callable[[Path], None], list[str]]] = {
    "pointer": (rewrite(WEIGHTS, lambda _: LFS), ["git-lfs", WEIGHTS, "git lfs pull"]),
    "pointer of the tokenizer": (rewrite("tokenizer.json", lambda _: LFS), ["git-lfs", "tokenizer.json"]),
    "half": (rewrite(WEIGHTS, lambda data: data[: len(data) // 2]), ["cut", WEIGHTS, "fetch it again"]),
    "a byte short": (rewrite(WEIGHTS, lambda data: data[:-1]), ["cut", WEIGHTS, "fetch it again"]),
    "in the header": (rewrite(WEIGHTS, lambda data: data[:100]), ["cut", "header", "fetch it again"]),
    "three bytes": (rewrite(WEIGHTS, lambda data: data[:3]), ["no safetensors file", "fetch it again"]),
    "longer": (rewrite(WEIGHTS, lambda data: data + b"\n"), ["damaged", "fetch it again"]),
    "a page": (rewrite(WEIGHTS, lambda _: b"<!DOCTYPE html><html>"), ["no safetensors file", "fetch it again"]),
    "header garbled": (rewrite(WEIGHTS, lambda data: data[:8] + b"x" + data[9:]), ["header", "fetch it again"]),
    "vocabulary": (edit(vocab_size=500), ["vocab_size=500", "embed_tokens", "one place"]),
    "width": (edit(hidden_size=64), ["hidden_size=64", "32", "one place"]),
    "layers": (edit(num_hidden_layers=3), ["3 layers", "2", "one place"]),
    "more layers": (edit(num_hidden_layers=1), ["1 layers", "2", "one place"]),
    "integers": (recast(int8=".mlp."), ["quantised", "of type I8", "without a quantization_config"]),
    "scales": (recast(weight_scale=".mlp."), ["quantised", "weight_scale", "without a quantization_config"]),
    "quantised": (edit(quantization_config={"quant_method": "gptq"}), ["quantised", "gptq", "full precision"]),
    "own code": (
        edit(model_type="own", auto_map={"AutoModelForCausalLM": "modeling_own.Own"}),
        ["modeling_own.py", "model.trust_remote_code=true"],
    ),
    "encoder-decoder": (
        edit(architectures=["T5ForConditionalGeneration"], is_encoder_decoder=True),
        ["T5", "encoder-decoder", "causal"],
    ),
    "a classifier": (
        edit(architectures=["LlamaForSequenceClassification"]), ["LlamaForSequenceClassification", "causal"],
    ),
    "no weights": (leave(WEIGHTS), ["no weights", WEIGHTS]),
    "pickled": (leave(WEIGHTS, pytorch_model__bin=b"x"), ["pickled", "pytorch_model.bin", "save_pretrained"]),
    "a trainer's pickles alone": (
        leave(WEIGHTS, optimizer__pt=b"x", training_args__bin=b"x", rng_state_0__pth=b"x"), ["no weights", WEIGHTS],
    ),
    "gguf": (leave(WEIGHTS, model_q4__gguf=b"x"), ["GGUF", "model=gguf", "model_q4.gguf"]),
    "an adapter": (leave(WEIGHTS, adapter_config__json=b"{}"), ["LoRA", "merge"]),
    "an adapter beside": (leave(adapter_config__json=b"{}"), ["LoRA", "beside whole weights", "merge"]),
    "an empty index": (
        leave(WEIGHTS, model__safetensors__index__json=b'{"weight_map": {}}'), ["no weight_map", "fetch it again"],
    ),
    "a shard missing": (
        leave(WEIGHTS, model__safetensors__index__json=INDEX.encode()),
        ["2 of its files", "model-00001-of-00002"],
    ),
    "index missing": (
        lambda folder: (folder / WEIGHTS).rename(folder / "model-00001-of-00001.safetensors") and None, ["index"],
    ),
    "config cut": (rewrite("config.json", lambda data: data[:40]), ["config.json", "not valid JSON"]),
    "config of another kind": (rewrite("config.json", lambda _: b"[]"), ["config.json", "fetch it again"]),
    "no config": (leave("config.json"), ["no config.json"]),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_folder_that_cannot_be_loaded_is_one_line_with_cause_and_remedy(damage: str, folder: Path) -> None:
    change, words = DAMAGES[damage]
    check_model_folder(folder, "model.path")
    change(folder)
    with pytest.raises(UserError) as caught:
        Resolver(world_folder=folder, world_fingerprint="w", cache=folder).model(str(folder), None, "model.path")
    line = str(caught.value)
    assert str(folder) in line
    assert "\n" not in line
    for word in words:
        assert word in line, line


@pytest.mark.parametrize("below", ["checkpoint-500", "snapshots/a1b2"])
def test_a_folder_above_the_models_names_it(folder: Path, tmp_path: Path, below: str) -> None:
    above = tmp_path / "above"
    shutil.copytree(folder, above / below)
    with pytest.raises(UserError, match=rf"no config.json in it\); there is one below it: {below}$"):
        check_model_folder(above, "model.path")


def test_what_can_be_loaded_passes(folder: Path, tmp_path: Path) -> None:
    """Code that transformers has itself, trusted code that is there, a judge's pickled and quantised weights."""
    edit(auto_map={"AutoModelForCausalLM": "modeling_own.Own"})(folder)
    check_model_folder(folder, "model.path")
    edit(model_type="own")(folder)
    with pytest.raises(UserError, match=r"modeling_own.py; fetch it"):
        check_model_folder(folder, "model.path", trust_remote_code=True)
    (folder / "modeling_own.py").write_text("class Own: ...\n")
    check_model_folder(folder, "model.path", trust_remote_code=True)
    judge = tmp_path / "judge"
    judge.mkdir()
    (judge / "config.json").write_text(json.dumps({"quantization_config": {"quant_method": "bitsandbytes"}}))
    (judge / "pytorch_model.bin").write_bytes(b"weights")
    check_model_folder(judge, "judge.path", pickled=True)


def test_what_else_stands_in_weights_passes(folder: Path) -> None:
    """Masks that old GPT-2s keep, layers of a part that sees, and DeepSeek's that predict further tokens."""
    from safetensors.numpy import load_file, save_file

    tensors = load_file(folder / WEIGHTS)
    mask = tensors["model.norm.weight"][:4].astype("uint8").reshape(1, 1, 2, 2)
    tensors |= {"h.0.attn.bias": mask} | {
        f"vision.layers.{n}.norm.weight": tensors["model.norm.weight"] for n in range(9)
    }
    save_file(tensors, folder / WEIGHTS)
    check_model_folder(folder, "model.path")
    edit(num_hidden_layers=1, num_nextn_predict_layers=1)(folder)
    check_model_folder(folder, "model.path")


def test_weights_in_parts_are_checked_part_by_part(folder: Path) -> None:
    from safetensors.numpy import load_file, save_file

    tensors = sorted(load_file(folder / WEIGHTS).items())
    parts = {"model-00001-of-00002.safetensors": tensors[::2], "model-00002-of-00002.safetensors": tensors[1::2]}
    for name, part in parts.items():
        save_file(dict(part), folder / name)
    (folder / WEIGHTS).unlink()
    index = {"weight_map": {tensor: name for name, part in parts.items() for tensor, _ in part}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    check_model_folder(folder, "model.path")
    second = folder / "model-00002-of-00002.safetensors"
    second.write_bytes(second.read_bytes()[:-5])
    with pytest.raises(UserError, match=r"model-00002-of-00002.safetensors is cut"):
        check_model_folder(folder, "model.path")


def written(folder: Path, name: str, text: str) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(text)


@pytest.mark.parametrize("name", LOADED)
def test_each_file_that_is_loaded_is_identity(name: str, folder: Path) -> None:
    before = model_hash(folder)
    written(folder, name, "one")
    one = model_hash(folder)
    written(folder, name, "another")
    assert len({before, one, model_hash(folder)}) == 3
    written(folder, name, "one")
    assert model_hash(folder) == one


@pytest.mark.parametrize("name", NOT_LOADED)
def test_a_file_that_is_not_loaded_is_none(name: str, folder: Path) -> None:
    before = model_hash(folder)
    written(folder, name, "one")
    assert model_hash(folder) == before


def test_trusted_code_is_identity_and_what_it_may_read(folder: Path) -> None:
    found = {model_hash(folder, trust_remote_code=True)}
    for name in ("modeling_own.py", "own/layers.py", "own_vocabulary.json"):
        written(folder, name, "1")
        found.add(model_hash(folder, trust_remote_code=True))
    assert len(found) == 4
    assert model_hash(folder, pickled=True) == model_hash(folder)
    written(folder, "pytorch_model.bin", "1")
    assert model_hash(folder, pickled=True) != model_hash(folder)
