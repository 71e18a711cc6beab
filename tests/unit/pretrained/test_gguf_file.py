"""Models in GGUF files: what is none is one line, and what is one loads as the model that it was made from."""

import io
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from plw.commands.choice import chosen_cell
from plw.data.inputs import Resolver
from plw.errors import UserError
from plw.files.hashing import file_hash
from plw.pipeline import resolve_cell
from plw.pretrained.gguf_file import unpacked_folder
from plw.sweep.cost_table import print_missing_inputs
from plw.train.model.unpack import unpack_gguf

gguf = pytest.importorskip("gguf")

WORDS = [f"w{number}" for number in range(20)]
TOKENS = ["<unk>", "<s>", "</s>", *WORDS]
WIDTH, LAYERS, HEADS, INNER = 32, 2, 2, 64


def resolver(folder: Path) -> Resolver:
    return Resolver(world_folder=folder, world_fingerprint="w", cache=folder / "cache")


@pytest.fixture
def llama(tmp_path: Path) -> Path:
    """A small Llama written by the format's own library, in fp32."""
    return write_llama(tmp_path / "small.gguf")


def write_llama(file: Path, lacking: str = "", more: "dict[str, np.ndarray] | None" = None, scaling: str = "") -> Path:
    """The same without one of its weights, with further ones, or with a kind of scaled rotation."""
    rng = np.random.default_rng(0)
    writer = gguf.GGUFWriter(file, "llama")
    writer.add_context_length(64)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    if scaling:
        writer.add_rope_scaling_type(gguf.RopeScalingType(scaling))
    writer.add_vocab_size(len(TOKENS))
    writer.add_tokenizer_model("llama")
    writer.add_token_list(TOKENS)
    writer.add_token_scores([0.0] * len(TOKENS))
    writer.add_token_types([2, 3, 3] + [1] * len(WORDS))
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    shapes = {"token_embd.weight": (len(TOKENS), WIDTH), "output_norm.weight": (WIDTH,)}
    shapes["output.weight"] = (len(TOKENS), WIDTH)
    for layer in range(LAYERS):
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            shapes[f"blk.{layer}.{name}.weight"] = (WIDTH, WIDTH)
        for name in ("ffn_gate", "ffn_up"):
            shapes[f"blk.{layer}.{name}.weight"] = (INNER, WIDTH)
        shapes[f"blk.{layer}.ffn_down.weight"] = (WIDTH, INNER)
        for name in ("attn_norm", "ffn_norm"):
            shapes[f"blk.{layer}.{name}.weight"] = (WIDTH,)
    for name, shape in shapes.items():
        if name == lacking:
            continue
        writer.add_tensor(name, rng.normal(size=shape).astype(np.float32))
    for name, value in (more or {}).items():
        writer.add_tensor(name, value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def test_a_file_is_unpacked_once_to_a_folder_that_passes_as_a_model(llama: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    found = resolver(tmp_path).model(str(llama), None, "model.path")
    assert found.packed == llama
    assert found.content == f"gguf:{file_hash(llama)}"
    unpack_gguf(llama, found.path)
    written = sorted(path.name for path in found.path.parent.iterdir())
    assert written == [found.path.name], "nothing else stays behind"
    again = resolver(tmp_path).model(str(found.path), None, "model.path")
    assert again.packed is None
    model = AutoModelForCausalLM.from_pretrained(found.path)
    assert model.dtype == torch.float32
    # Embeddings are stored as they are; those of queries and keys in the order of llama.cpp's rotation.
    reader = gguf.GGUFReader(llama)
    stored = next(tensor for tensor in reader.tensors if tensor.name == "token_embd.weight").data
    assert np.array_equal(model.get_input_embeddings().weight.detach().numpy(), stored)
    before = (found.path / "model.safetensors").stat().st_mtime_ns
    unpack_gguf(llama, found.path)
    assert (found.path / "model.safetensors").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("lacking", "named"),
    [
        ("blk.1.ffn_up.weight", "model.layers.1.mlp.up_proj.weight"),
        ("output_norm.weight", "model.norm.weight"),
        ("token_embd.weight", "model.embed_tokens.weight"),
    ],
)
def test_weights_that_a_file_lacks_are_not_drawn_at_random(tmp_path: Path, lacking: str, named: str) -> None:
    file = write_llama(tmp_path / "lacking.gguf", lacking)
    with pytest.raises(UserError, match=f"lacks weights of its model .{named}."):
        unpack_gguf(file, tmp_path / "unpacked")
    assert not (tmp_path / "unpacked").exists()


@pytest.mark.parametrize(
    ("more", "scaling", "named"),
    [
        ({"rope_freqs.weight": np.array([1, 1, 1, 1, 1, 4, 8, 8], np.float32)}, "", "rope_freqs.weight"),
        ({"blk.0.attn_q.bias": np.ones(WIDTH, np.float32)}, "", "blk.0.attn_q.bias"),
        ({}, "linear", "llama.rope.scaling.type"),
        ({"rope_freqs.weight": np.ones(8, np.float32)}, "none", None),
    ],
)
def test_nothing_of_a_file_is_left_out_unsaid(
    tmp_path: Path, more: dict[str, np.ndarray], scaling: str, named: str | None
) -> None:
    file = write_llama(tmp_path / "more.gguf", more=more, scaling=scaling)
    if named is None:
        unpack_gguf(file, tmp_path / "unpacked")
        return
    with pytest.raises(UserError, match=f"leaves out what it holds .{named}., so it would be another model"):
        unpack_gguf(file, tmp_path / "unpacked")


@pytest.mark.parametrize(("parts", "is_refused"), [(2, True), (1, False)])
def test_one_part_of_a_model_is_told_before_it_is_read(
    llama: Path, tmp_path: Path, parts: int, is_refused: bool
) -> None:
    file = llama.rename(tmp_path / f"small-00001-of-{parts:05d}.gguf")
    if not is_refused:
        assert resolver(tmp_path).model(str(file), None, "model.path").packed == file
        return
    with pytest.raises(UserError, match=r"one of the 2 parts of a model; join them .* llama-gguf-split --merge"):
        resolver(tmp_path).model(str(file), None, "model.path")


def test_what_a_killed_unpacking_left_is_removed_once_it_is_old(llama: Path, tmp_path: Path) -> None:
    folder = unpacked_folder(llama, tmp_path / "cache")
    old, new = (folder.with_name(f".{folder.name}.{name}") for name in ("old", "new"))
    for place in (old, new):
        place.mkdir(parents=True)
    os.utime(old, (0, 0))
    unpack_gguf(llama, folder)
    assert not old.exists()
    assert new.exists(), "another process may be at it"


def header(magic: bytes = b"GGUF", version: int = 3, tensors: int = 5) -> bytes:
    return struct.pack("<4sIQQ", magic, version, tensors, 2)


@pytest.mark.parametrize(
    ("data", "words"),
    {
        "empty": (b"", "no GGUF file"),
        "a page": (b"<!DOCTYPE html><html><body>not found</body></html>", "no GGUF file"),
        "cut in its header": (header()[:10], "cut within its header, at 10 of 24 bytes"),
        "of an old form": (header(version=1), "version 1"),
        "big-endian": (header(version=3 << 24), "little-endian"),
        "a tokenizer alone": (header(tensors=0), "no weights"),
        "a pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "git-lfs"),
    }.values(),
)
def test_a_file_that_is_no_model_is_one_line_before_anything_is_unpacked(
    tmp_path: Path, data: bytes, words: str
) -> None:
    file = tmp_path / "none.gguf"
    file.write_bytes(data)
    with pytest.raises(UserError, match=words) as caught:
        resolver(tmp_path).model(str(file), None, "model.path")
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_here_is_no_missing_input(llama: Path, tmp_path: Path) -> None:
    words = ["study=own", "scale=own", "recipe=alpaca", "suite=piqa", f"execution.runs={tmp_path}/runs"]
    words += ["model=gguf", "model.name=small", f"model.path={llama}"]
    (tmp_path / "data.json").write_text("[]")
    words += ["dataset=file", "dataset.name=d", f"dataset.path={tmp_path}/data.json"]
    told = io.StringIO()
    print_missing_inputs([resolve_cell(chosen_cell(words))], Console(file=told, width=200))
    assert "data of the tasks piqa" in told.getvalue()
    assert "model small" not in told.getvalue()


def test_a_damaged_file_is_one_line_and_leaves_nothing(llama: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(llama.read_bytes()[: llama.stat().st_size // 2])
    folder = unpacked_folder(cut, tmp_path / "cache")
    with pytest.raises(UserError, match="no model can be unpacked") as caught:
        unpack_gguf(cut, folder)
    assert str(cut) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(folder.parent.iterdir()) == []


@pytest.mark.parametrize("name", ["model.bin", "weights.txt"])
def test_another_file_is_not_taken_for_a_hub_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(UserError, match=r"is a file; give the model's folder, or a \.gguf file"):
        resolver(tmp_path).model(str(tmp_path / name), None, "model.path")
    with pytest.raises(UserError, match="no such folder or file"):
        resolver(tmp_path).model("not/there.gguf", None, "model.path")
