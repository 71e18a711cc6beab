"""Many kinds of model and tokenizer: each trains, is diagnosed, harnessed and generates, or is refused in a line."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from plw.config import CellConfig
from plw.config.compose import register_schema, typed
from plw.config.evaluation import DecodingConfig, DiagnosticsConfig, PromptSetConfig, SuiteConfig, TaskConfig
from plw.data.tokenizer import from_sentencepiece
from plw.errors import UserError
from plw.paths import conf_folder
from plw.pipeline import JudgeCache, check_inputs, resolve_cell, run_cell
from plw.testing.models import SIZES, make_model
from plw.testing.tokenizers import CORPUS, byte_level_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

pytestmark = pytest.mark.slow

STAGES = ("train", "diagnose", "harness", "generate")
RECORDS = [{"instruction": f"Say {n}.", "input": "", "output": f"It is {n}, of course."} for n in range(12)]
DOCUMENTS = [{"goal": f"Say {n}", "sol1": f"It is {n}", "sol2": "Paris", "label": n % 2} for n in range(6)]
PROMPTS = [{"instruction": f"Tell me fact {n}.", "output": "Fact."} for n in range(3)]


def sentencepiece_tokenizer(folder: Path) -> "PreTrainedTokenizerBase":
    """A SentencePiece BPE with byte fallback, as LLaMA's."""
    import sentencepiece

    with (folder / "own.model").open("wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter([CORPUS] * 20),
            model_writer=file,
            vocab_size=380,
            model_type="bpe",
            byte_fallback=True,
            normalization_rule_name="identity",
            remove_extra_whitespaces=False,
            hard_vocab_limit=False,
            minloglevel=2,
        )
    return from_sentencepiece(folder / "own.model")


def with_added_tokens(_: Path) -> "PreTrainedTokenizerBase":
    tokenizer = byte_level_tokenizer()
    tokenizer.add_tokens(["<|im_start|>", "<|im_end|>", "course"])
    return tokenizer


TOKENIZERS: dict[str, Callable[[Path], "PreTrainedTokenizerBase"]] = {
    "byte-level with BOS": lambda _: byte_level_tokenizer(),
    "byte-level without BOS or padding": lambda _: byte_level_tokenizer(bos=None, pad=None),
    "one token for BOS, EOS and padding": lambda _: byte_level_tokenizer(bos="<end>", eos="<end>", pad="<end>"),
    "SentencePiece": sentencepiece_tokenizer,
    "added tokens": with_added_tokens,
}
SMALL = {name: value for name, value in SIZES.items() if not name.endswith("token_id") and name != "vocab_size"}
GPT2 = {"head": "LMHeadModel", "n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 256}
VISION = {
    "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 28,
    "patch_size": 14,
}  # fmt: skip
CASES: dict[str, tuple[str, dict[str, Any], str]] = {
    "untied": ("Llama", SMALL, "SentencePiece"),
    "tied": ("Qwen2", SMALL | {"tie_word_embeddings": True}, "byte-level without BOS or padding"),
    "learned positions, tied": ("GPT2", GPT2, "one token for BOS, EOS and padding"),
    "learned positions with an offset": (
        "OPT",
        {
            "hidden_size": 32, "ffn_dim": 48, "num_hidden_layers": 2, "num_attention_heads": 2,
            "word_embed_proj_dim": 32, "max_position_embeddings": 256,
        },
        "byte-level with BOS",
    ),
    "parallel attention": ("GPTNeoX", SMALL, "added tokens"),
    "mixture of experts": ("Mixtral", SMALL | {"num_local_experts": 4, "num_experts_per_tok": 2}, "SentencePiece"),
    "many small experts": (
        "Qwen3Moe",
        SMALL | {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24},
        "byte-level without BOS or padding",
    ),
    "windows and a capped head": (
        "Gemma2",
        SMALL | {"sliding_window": 16, "final_logit_softcapping": 10.0},
        "added tokens",
    ),
    "multimodal": (
        "Gemma3",
        {
            "head": "ForConditionalGeneration", "vision_config": VISION, "mm_tokens_per_image": 4,
            "image_token_index": 5, "boi_token_index": 6, "eoi_token_index": 7,
        },
        "byte-level with BOS",
    ),
    "no attention": (
        "Mamba",
        {"hidden_size": 16, "num_hidden_layers": 1, "state_size": 4, "use_mambapy": False},
        "one token for BOS, EOS and padding",
    ),
    "positions in the attention": (
        "Bloom", {"hidden_size": 32, "n_layer": 2, "n_head": 2}, "byte-level without BOS or padding",
    ),
}  # fmt: skip


@pytest.fixture
def configure(tmp_path: Path) -> Callable[[Path], CellConfig]:
    """The config of a cell on a model folder: a few records, one benchmark, one set of prompts."""
    for name, rows in (("data", RECORDS), ("prompts", PROMPTS)):
        (tmp_path / f"{name}.json").write_text(json.dumps(rows))
    (tmp_path / "piqa.jsonl").write_text("".join(json.dumps(row) + "\n" for row in DOCUMENTS))
    suite = SuiteConfig(
        name="own",
        tasks={
            "piqa": TaskConfig(task="world_piqa", group="multiple_choice", files={"test": str(tmp_path / "piqa.jsonl")})
        },
        prompts={"facts": PromptSetConfig(protocol="alpaca_eval", prompts=str(tmp_path / "prompts.json"))},
        decoding=DecodingConfig(max_new_tokens=6),
        diagnostics=DiagnosticsConfig(memorisation_samples=3, memorisation_max_new_tokens=4, loss_window=2),
        builtin_tasks=False,
        bootstrap_iterations=0,
    )

    def config(model: Path) -> CellConfig:
        register_schema()
        overrides = [
            "study=own", "scale=own", "model=folder", "model.name=m", f"model.path={model}", "dataset=file",
            "dataset.name=d", f"dataset.path={tmp_path}/data.json", "suite=piqa", "tracker=none", "recipe.epochs=3",
            "recipe.batch_size=4", "recipe.learning_rate=1e-3", "recipe.max_length=200", "loss.prompt_weight=0.1",
            f"stages=[{','.join(STAGES)}]", f"execution.runs={tmp_path}/runs", f"execution.cache={tmp_path}/cache",
            f"registry.url=sqlite:///{tmp_path}/registry.sqlite", "execution.device=cpu",
        ]  # fmt: skip
        with initialize_config_dir(str(conf_folder()), version_base="1.3"):
            found = typed(compose("config", overrides=overrides))
        GlobalHydra.instance().clear()
        return dataclasses.replace(found, suite=suite)

    return config


def base(kind: str, folder: Path) -> Path:
    architecture, fields, tokenizer_kind = CASES[kind]
    tokenizer = TOKENIZERS[tokenizer_kind](folder)
    if kind == "multimodal":
        ids = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")}
        text = SMALL | {"vocab_size": len(tokenizer), "max_position_embeddings": 256, **ids}
        fields = fields | {"text_config": text}
    return make_model(folder / "base", architecture, tokenizer, **fields)


@pytest.mark.parametrize("kind", CASES)
def test_every_stage_of_every_kind(kind: str, configure: Callable[[Path], CellConfig], tmp_path: Path) -> None:
    config = configure(base(kind, tmp_path))
    cell = resolve_cell(config)
    check_inputs([cell])
    with JudgeCache() as judges:
        outcome = run_cell(resolve_cell(config), lambda *_: None, judges)
    ended = {name: (stage.status, stage.error) for name, stage in outcome.stages.items()}
    assert ended == dict.fromkeys(STAGES, ("done", None))
    records = {name: json.loads((cell.stages[name].folder / "record.json").read_text()) for name in STAGES}
    curves = records["train"]["curves"]
    assert curves[-1]["completion_loss"] < curves[0]["completion_loss"]
    assert records["train"]["data"]["without_completion"] == 0
    scores = {(score["benchmark"], score["metric"]): score["value"] for score in records["harness"]["scores"]}
    assert 0 <= scores["piqa", "acc"] <= 1
    distances = {score["metric"]: score["value"] for score in records["diagnose"]["scores"]}
    assert distances["l2"] > 0
    answers = json.loads((cell.stages["generate"].folder / "facts.json").read_text())
    assert len(answers) == len(PROMPTS)
    assert all(answer["tokens"] <= 6 for answer in answers)


REFUSED: dict[str, tuple[str, dict[str, Any], list[str]]] = {
    "encoder-decoder": (
        "T5",
        {"head": "ForConditionalGeneration", "d_model": 32, "d_kv": 16, "d_ff": 48, "num_layers": 1, "num_heads": 2},
        ["encoder", "decoder", "causal"],
    ),
    "both directions": (
        "Bert",
        {
            "head": "ForMaskedLM", "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1,
            "num_attention_heads": 2,
        },
        ["BertForMaskedLM", "next token"],
    ),
    "attention that looks ahead": ("Llama", SMALL | {"is_causal": False}, ["causal", "ones after"]),
    "a head of its own": ("Mpt", {"d_model": 32, "n_heads": 2, "n_layers": 1, "logit_scale": 2.0}, ["head"]),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_the_others_are_refused_in_one_line_before_anything_starts(
    kind: str, configure: Callable[[Path], CellConfig], tmp_path: Path
) -> None:
    architecture, fields, words = REFUSED[kind]
    model = make_model(tmp_path / "base", architecture, byte_level_tokenizer(), **fields)
    with pytest.raises(UserError) as caught:
        check_inputs([resolve_cell(configure(model))])
    line = str(caught.value)
    assert str(model) in line
    assert "\n" not in line
    assert all(word in line for word in words), line
    assert not list(tmp_path.rglob("payload.json"))


def test_an_example_beyond_a_table_of_positions_is_named_before_anything_starts(
    configure: Callable[[Path], CellConfig], tmp_path: Path
) -> None:
    model = make_model(tmp_path / "base", "GPT2", byte_level_tokenizer(), **GPT2 | {"n_positions": 180})
    rows = [row | {"instruction": row["instruction"] * (60 if n == 4 else 1)} for n, row in enumerate(RECORDS)]
    config = configure(model)
    check_inputs([resolve_cell(config)])
    (tmp_path / "data.json").write_text(json.dumps(rows))
    with pytest.raises(UserError, match=r"data\.json: row 5 has \d+ tokens.*180 positions.*recipe\.max_length to 180"):
        check_inputs([resolve_cell(config)])
    short = dataclasses.replace(config, recipe=dataclasses.replace(config.recipe, max_length=180))
    check_inputs([resolve_cell(short)])


@pytest.mark.parametrize(
    ("stage", "field"),
    [
        ("generate", "suite.decoding.max_new_tokens=256"),
        ("diagnose", "suite.diagnostics.memorisation_max_new_tokens=256"),
    ],
)
def test_answers_that_fill_the_context_are_named_before_anything_starts(
    configure: Callable[[Path], CellConfig], tmp_path: Path, stage: str, field: str
) -> None:
    model = make_model(tmp_path / "base", "GPT2", byte_level_tokenizer(), **GPT2 | {"n_positions": 256})
    config = configure(model)
    suite = dataclasses.replace(
        config.suite,
        decoding=dataclasses.replace(config.suite.decoding, max_new_tokens=256),
        diagnostics=dataclasses.replace(config.suite.diagnostics, memorisation_max_new_tokens=256),
    )
    with pytest.raises(UserError, match=f"{field} leaves no room for the prompt; the model's context is 256 tokens"):
        check_inputs([resolve_cell(dataclasses.replace(config, suite=suite, stages=["train", stage]))])
