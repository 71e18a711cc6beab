"""What a model is asked before the first step: causal, room for the data, frequencies that no batch decides, a save."""

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from plw.config.loss import LossConfig
from plw.config.training import ModelConfig, RecipeConfig
from plw.data.encoding import EncodedExample
from plw.errors import UserError
from plw.pretrained.context_length import context_length
from plw.testing.jobs import training_job
from plw.testing.models import SIZES, make_model
from plw.testing.tokenizers import byte_level_tokenizer
from plw.train.build import prepare_model
from plw.train.log import logged_steps
from plw.train.model.load import load_model
from plw.train.trainer import train

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

CPU = torch.device("cpu")


def edit(path: Path, **fields: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def examples_of(*lengths: int) -> list[EncodedExample]:
    dice = np.random.default_rng(0)
    return [
        EncodedExample(
            token_T=dice.integers(3, 300, n).astype(np.int32),
            role_T=(np.arange(n) >= 3).astype("u1"),
            where=f"own.json: row {number}",
        )
        for number, n in enumerate(lengths, start=1)
    ]


@pytest.mark.parametrize("architecture", ["Llama", "Qwen2", "Mistral"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_model_that_looks_ahead_is_refused(
    architecture: str, dtype: torch.dtype, tiny_tokenizer: "PreTrainedTokenizerBase", tmp_path: Path
) -> None:
    """As models for embeddings are; with weights of the usual size, which change states less."""
    make_model(tmp_path, architecture, tiny_tokenizer, **{**SIZES, "initializer_range": 0.02})
    load_model(str(tmp_path), tiny_tokenizer, dtype=dtype)
    edit(tmp_path / "config.json", is_causal=False)
    with pytest.raises(UserError, match="see the ones after them") as caught:
        load_model(str(tmp_path), tiny_tokenizer, dtype=dtype)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("architecture", "head", "fields"),
    [
        ("GPT2", "LMHeadModel", {"n_embd": 32, "n_layer": 1, "n_head": 2, "n_positions": 64}),
        (
            "OPT",
            "ForCausalLM",
            {
                "hidden_size": 32, "ffn_dim": 48, "num_hidden_layers": 1, "num_attention_heads": 2,
                "max_position_embeddings": 64, "word_embed_proj_dim": 32,
            },
        ),
        ("GPTJ", "ForCausalLM", {"n_embd": 32, "n_layer": 1, "n_head": 2, "n_positions": 64, "rotary_dim": 8}),
    ],
)  # fmt: skip
def test_a_table_of_positions_ends_and_the_row_is_named(
    architecture: str, head: str, fields: dict[str, Any], tiny_tokenizer: "PreTrainedTokenizerBase", tmp_path: Path
) -> None:
    make_model(tmp_path / "base", architecture, tiny_tokenizer, head=head, **fields)
    job = training_job(
        tmp_path / "base",
        tiny_tokenizer,
        tmp_path / "run",
        examples=examples_of(10, 64, 20),
        recipe=RecipeConfig(name="r"),
    )
    prepare_model(job, CPU)
    long = training_job(
        tmp_path / "base",
        tiny_tokenizer,
        tmp_path / "run",
        examples=examples_of(10, 64, 65),
        recipe=RecipeConfig(name="r"),
    )
    with pytest.raises(UserError, match=r"own\.json: row 3 .* 65 tokens.* 64 positions.*recipe\.max_length"):
        train(long)
    assert not (tmp_path / "run/log.jsonl").exists()


def test_a_held_out_example_counts_too(tiny_tokenizer: "PreTrainedTokenizerBase", tmp_path: Path) -> None:
    make_model(tmp_path, "GPT2", tiny_tokenizer, head="LMHeadModel", n_embd=32, n_layer=1, n_head=2, n_positions=64)
    job = training_job(
        tmp_path,
        tiny_tokenizer,
        tmp_path,
        examples=examples_of(10),
        held_out=examples_of(65),
        recipe=RecipeConfig(name="r"),
    )
    with pytest.raises(UserError, match="65 tokens"):
        prepare_model(job, CPU)


def test_rotary_positions_go_on_and_it_is_said(
    tiny_tokenizer: "PreTrainedTokenizerBase", tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_model(tmp_path, "Llama", tiny_tokenizer, **SIZES | {"max_position_embeddings": 64})
    within = training_job(tmp_path, tiny_tokenizer, tmp_path, examples=examples_of(64))
    beyond = training_job(tmp_path, tiny_tokenizer, tmp_path, examples=examples_of(9, 65))
    with caplog.at_level(logging.WARNING, logger="plw"):
        prepare_model(within, CPU)
        assert not caplog.records
        prepare_model(beyond, CPU)
    (record,) = caplog.records
    assert all(word in record.getMessage() for word in ("row 2", "65 tokens", "64", "recipe.max_length"))


def test_an_id_beyond_the_embedding_is_refused(tiny_llama: Path, tiny_tokenizer: Any, tmp_path: Path) -> None:
    wild = EncodedExample(token_T=np.array([3, 4, 5000], dtype=np.int32), role_T=np.array([0, 1, 1], dtype=np.uint8))
    job = training_job(tiny_llama, tiny_tokenizer, tmp_path, examples=[*examples_of(5, 5), wild])
    with pytest.raises(UserError, match=r"row 3 .*5000.*ends at id \d+"):
        prepare_model(job, CPU)


ROPE: dict[str, dict[str, Any]] = {
    "longrope": {
        "rope_type": "longrope",
        "short_factor": [1.0] * 8,
        "long_factor": [8.0] * 8,
        "factor": 8.0,
        "original_max_position_embeddings": 32,
    },
    "dynamic": {"rope_type": "dynamic", "factor": 4.0},
    "dynamic in some layers": {
        "full_attention": {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 10000.0},
        "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
    },
}


def make_rope_model(folder: Path, kind: str, tokenizer: "PreTrainedTokenizerBase") -> Path:
    """Made for 32 tokens, with frequencies that transformers chooses by the longest example of a batch."""
    by_layer = kind == "dynamic in some layers"
    rope = ROPE[kind] if by_layer else {"rope_theta": 10000.0, **ROPE[kind]}
    sizes = SIZES | {"num_key_value_heads": 2, "rope_parameters": rope}
    if by_layer:
        from transformers import Gemma3ForCausalLM, Gemma3TextConfig

        layers = ["sliding_attention", "full_attention"]
        torch.manual_seed(0)
        Gemma3ForCausalLM(Gemma3TextConfig(**sizes, layer_types=layers, max_position_embeddings=32)).save_pretrained(
            folder
        )
        tokenizer.save_pretrained(folder)
        return folder
    if kind == "dynamic":
        return make_model(folder, "Llama", tokenizer, **sizes, max_position_embeddings=32)
    long = {"max_position_embeddings": 128, "original_max_position_embeddings": 32}
    return make_model(folder, "Phi3", tokenizer, **sizes, **long)


@pytest.mark.parametrize("kind", ROPE)
@pytest.mark.parametrize("layout", ["padded", "packed", "prefix"])
def test_the_token_budget_does_not_change_what_a_batch_dependent_rope_learns(
    kind: str, layout: str, tiny_tokenizer: "PreTrainedTokenizerBase", tmp_path: Path
) -> None:
    """Short and long examples apart or together; of themselves, frequencies would be those of a batch's longest one."""
    base = make_rope_model(tmp_path / "base", kind, tiny_tokenizer)
    losses = []
    for budget in (64, 400):
        job = training_job(
            base,
            tiny_tokenizer,
            tmp_path / str(budget),
            examples=examples_of(10, 60, 12, 50, 9, 64, 20, 30),
            loss=LossConfig(prompt_weight=0.1),
            recipe=RecipeConfig(name="r", epochs=2, batch_size=4, learning_rate=1e-3, max_length=64),
            layout=layout,
            token_budget=budget,
        )
        train(job)
        losses.append([row["loss"] for row in logged_steps(tmp_path / str(budget) / "log.jsonl")])
    assert losses[0] == pytest.approx(losses[1], rel=2e-6)
    assert losses[0][-1] != losses[0][0]


def test_a_run_of_short_examples_has_the_short_frequencies(
    tiny_tokenizer: "PreTrainedTokenizerBase", tmp_path: Path
) -> None:
    """What transformers itself takes for them, and for the longest example of a run of long ones."""
    from transformers import AutoModelForCausalLM

    make_rope_model(tmp_path, "longrope", tiny_tokenizer)
    token_1T = torch.arange(3, 63)[None]
    for length in (32, 60):
        job = training_job(tmp_path, tiny_tokenizer, tmp_path, examples=examples_of(8, length))
        decoder = prepare_model(job, CPU).loaded.decoder.eval()
        theirs: Any = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
        with torch.no_grad():
            ours = decoder(input_ids=token_1T[:, :length], use_cache=False).last_hidden_state
            expected = theirs.get_decoder()(input_ids=token_1T[:, :length], use_cache=False).last_hidden_state
        torch.testing.assert_close(ours, expected)


SAMPLING = {
    "temperature": {"temperature": 0.9, "top_p": 0.6},
    "beams": {"num_beams": 1, "early_stopping": True, "length_penalty": 2.0},
    "both": {"temperature": 0.9, "num_beams": 1, "early_stopping": True},
}


@pytest.mark.parametrize("kind", SAMPLING)
def test_a_generation_config_that_transformers_will_not_save_is_mended_before_training(
    kind: str, tiny_tokenizer: "PreTrainedTokenizerBase", tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from transformers import GenerationConfig

    base = make_model(tmp_path / "base", "Llama", tiny_tokenizer, **SIZES)
    (base / "generation_config.json").write_text(json.dumps({"eos_token_id": [1, 9], **SAMPLING[kind]}))
    recipe = RecipeConfig(name="r", epochs=1, batch_size=2)
    with caplog.at_level(logging.WARNING, logger="plw"):
        train(training_job(base, tiny_tokenizer, tmp_path, examples=examples_of(9, 12), recipe=recipe))
    (record,) = [record for record in caplog.records if "generation_config" in record.getMessage()]
    assert str(base) in record.getMessage()
    saved = GenerationConfig.from_pretrained(tmp_path / "model")
    saved.validate(strict=True)
    assert saved.eos_token_id == [1, 9], "what ends an answer stays"


def test_what_fails_at_saving_fails_before_the_first_step(
    tiny_llama: Path, tiny_tokenizer: "PreTrainedTokenizerBase", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise ValueError("this config\ncannot be written")

    monkeypatch.setattr("transformers.LlamaConfig.save_pretrained", refuse)
    job = training_job(tiny_llama, tiny_tokenizer, tmp_path, examples=examples_of(9, 12), recipe=RecipeConfig(name="r"))
    with pytest.raises(UserError, match="cannot be written") as caught:
        train(job)
    assert str(tiny_llama) in str(caught.value)
    assert not (tmp_path / "log.jsonl").exists()


def test_the_context_of_a_nested_config_is_the_texts(tmp_path: Path) -> None:
    from transformers import Gemma3Config, GPT2Config, LlamaConfig, MambaConfig

    text = {**SIZES, "max_position_embeddings": 512}
    assert context_length(Gemma3Config(text_config=text)) == 512
    assert context_length(LlamaConfig(max_position_embeddings=77)) == 77
    assert context_length(GPT2Config(n_positions=64)) == 64
    assert context_length(MambaConfig()) is None


def test_padding_with_eos_adds_no_row_and_trains_the_same(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    bare = byte_level_tokenizer(pad=None)
    base = make_model(tmp_path / "base", "Llama", bare, **SIZES | {"vocab_size": len(bare)})
    losses = {}
    for pad in ("new_row", "eos"):
        recipe = RecipeConfig(name="r", epochs=2, batch_size=2, learning_rate=1e-3)
        about = {"examples": examples_of(9, 12, 30, 8), "recipe": recipe, "layout": "padded", "pad": pad}
        train(training_job(base, bare, tmp_path / pad, **about))
        losses[pad] = [row["loss"] for row in logged_steps(tmp_path / pad / "log.jsonl")]
        model = AutoModelForCausalLM.from_pretrained(tmp_path / pad / "model")
        tokenizer = AutoTokenizer.from_pretrained(tmp_path / pad / "model")
        assert model.get_input_embeddings().num_embeddings == len(bare) + (pad == "new_row")
        assert model.config.pad_token_id == tokenizer.pad_token_id
        assert (tokenizer.pad_token == tokenizer.eos_token) == (pad == "eos")
    # A new row takes part in every softmax.
    assert losses["eos"] != losses["new_row"]
    assert losses["eos"] == pytest.approx(losses["new_row"], rel=0.05)


def test_a_padding_choice_is_checked_in_the_config() -> None:
    with pytest.raises(UserError, match=r"model\.pad=unk.*eos, new_row"):
        ModelConfig(name="m", path="p", pad="unk")
