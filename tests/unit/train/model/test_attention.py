"""Rows of several examples: none sees another, and each has the hidden states that it has alone."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from plw.config.study import PACKED, PREFIX
from plw.config.training import RecipeConfig
from plw.data.encoding import EncodedExample
from plw.errors import UserError
from plw.testing.jobs import training_job
from plw.testing.models import SIZES, make_model
from plw.train.batching.packed_row import PackedRow, make_row
from plw.train.batching.placement import place_tokens
from plw.train.build import prepare_model
from plw.train.job import TrainingJob
from plw.train.model.attention import (
    HALVED_TOKENS,
    ROW_ATTENTION,
    has_varlen_kernel,
    register,
    row_attention,
    varlen_agrees,
)
from plw.train.model.weighted import hidden_states

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

CPU = torch.device("cpu")
FAMILIES: dict[str, dict[str, Any]] = {
    "Llama": {},
    # Windows shorter than the examples.
    "Mistral": {"sliding_window": 4},
    # Windows in every other layer, and attention whose products are capped.
    "Gemma2": {"sliding_window": 4, "attn_logit_softcapping": 2.0},
    "Qwen3": {},
    "GPTNeoX": {},
}
APART = [[7, 8, 9, 10, 11], [12, 13, 14, 15, 16, 17, 18, 19, 20], [21], [22, 23, 24, 25, 26, 27, 28]]
"""Examples that begin differently."""
ALIKE = [[5, 6], [5, 6, 7, 8, 9, 10, 11], [5, 6, 7, 8, 30, 31], [5, 6, 7, 8, 30, 31], [5, 6, 40, 41, 42], [50, 51, 52]]
"""Examples that begin alike, end in others, are twice the same, or stand alone."""


@pytest.fixture(scope="module", params=FAMILIES)
def model(request: pytest.FixtureRequest) -> Any:
    import transformers

    torch.manual_seed(0)
    config = getattr(transformers, f"{request.param}Config")(**SIZES, **FAMILIES[request.param])
    config._attn_implementation = "eager"
    return getattr(transformers, f"{request.param}ForCausalLM")(config).eval().get_decoder()


def states(model: Any, examples: list[list[int]], layout: str) -> list[Tensor]:
    """Each example's hidden states in one row."""
    register()
    model.set_attn_implementation(ROW_ATTENTION)
    placed = place_tokens([np.array(example, dtype=np.int32) for example in examples], layout)
    row = make_row(placed.paths, placed.owned, CPU)
    with torch.no_grad():
        hidden_1TD = hidden_states(
            model, torch.from_numpy(placed.token_F)[None], torch.from_numpy(placed.position_F)[None], row
        )
    return [hidden_1TD[0, path] for path in placed.paths]


@pytest.mark.parametrize(("layout", "examples"), [(PACKED, APART), (PACKED, ALIKE), (PREFIX, ALIKE)])
def test_an_example_has_the_states_that_it_has_alone(model: Any, layout: str, examples: list[list[int]]) -> None:
    found = states(model, examples, layout)
    model.set_attn_implementation("eager")
    for tokens, state in zip(examples, found, strict=True):
        with torch.no_grad():
            alone = model(input_ids=torch.tensor([tokens]), use_cache=False).last_hidden_state[0]
        torch.testing.assert_close(state, alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("layout", "examples"), [(PACKED, APART), (PREFIX, ALIKE)])
def test_changing_one_example_changes_no_other(model: Any, layout: str, examples: list[list[int]]) -> None:
    """Its end is changed, which no other example has, so that the rest of the row stays where it is."""
    before = states(model, examples, layout)
    for changed, tokens in enumerate(examples):
        if layout == PREFIX and any(other[: len(tokens)] == tokens for i, other in enumerate(examples) if i != changed):
            continue
        others = [list(other) for other in examples]
        others[changed][-1] += 300
        after = states(model, others, layout)
        for row in range(len(examples)):
            assert torch.equal(before[row], after[row]) == (row != changed)


@settings(max_examples=60)
@given(
    # Of two tokens alone, so that many begin alike.
    examples=st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=9), min_size=1, max_size=6),
    layout=st.sampled_from([PACKED, PREFIX]),
    groups=st.sampled_from([1, 2]),
    window=st.sampled_from([None, 1, 3, 20]),
    softcap=st.sampled_from([None, 1.5]),
)
def test_attention_is_the_masked_formula(
    examples: list[list[int]], layout: str, groups: int, window: int | None, softcap: float | None
) -> None:
    placed = place_tokens([np.array(example, dtype=np.int32) for example in examples], layout)
    tokens = len(placed.token_F)
    dice = torch.Generator().manual_seed(tokens)
    query = torch.randn(1, 4, tokens, 8, generator=dice, dtype=torch.float64, requires_grad=True)
    key = torch.randn(1, 4 // groups, tokens, 8, generator=dice, dtype=torch.float64, requires_grad=True)
    value = torch.randn(1, 4 // groups, tokens, 8, generator=dice, dtype=torch.float64, requires_grad=True)
    seen_TT = torch.zeros(tokens, tokens, dtype=torch.bool)
    for path in placed.paths:
        for place, of_query in enumerate(path):
            first = 0 if window is None else max(0, place + 1 - window)
            seen_TT[of_query, path[first : place + 1]] = True
    product = query @ key.repeat_interleave(groups, 1).transpose(2, 3) * 0.3
    if softcap is not None:
        product = softcap * torch.tanh(product / softcap)
    weight = product.masked_fill(~seen_TT, -torch.inf).softmax(-1)
    expected = (weight @ value.repeat_interleave(groups, 1)).transpose(1, 2)
    row = make_row(placed.paths, placed.owned, CPU)
    how: dict[str, Any] = {"scaling": 0.3, "sliding_window": window, "softcap": softcap}
    ours, _ = row_attention(torch.nn.Identity(), query, key, value, None, packed_row=row, **how)
    tolerance = {"rtol": 1e-6, "atol": 1e-6}
    torch.testing.assert_close(ours, expected, **tolerance)
    slope = torch.randn(ours.shape, generator=dice, dtype=torch.float64)
    for one, other in zip(
        torch.autograd.grad(ours, (query, key, value), slope),
        torch.autograd.grad(expected, (query, key, value), slope),
        strict=True,
    ):
        torch.testing.assert_close(one, other, **tolerance)


def layout_job(model: Path, tokenizer: "PreTrainedTokenizerBase", layout: str, **fields: Any) -> TrainingJob:
    return training_job(model, tokenizer, model, layout=layout, **fields)


def test_a_model_that_reads_across_examples_is_not_packed(
    tiny_tokenizer: "PreTrainedTokenizerBase", tmp_path: Path
) -> None:
    """A recurrent model's state runs on through the row."""
    sizes = {"vocab_size": 400, "hidden_size": 16, "num_hidden_layers": 1, "state_size": 4}
    make_model(tmp_path, "Mamba", **sizes, use_mambapy=False)
    for layout in (PACKED, PREFIX):
        with pytest.raises(UserError, match=f"layout={layout}: .* mamba"):
            prepare_model(layout_job(tmp_path, tiny_tokenizer, layout), CPU)


def test_the_smallest_leak_is_found(
    tiny_llama: Path, tiny_tokenizer: "PreTrainedTokenizerBase", monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that rounding would hide: each token sees a millionth of the one before it in the row."""
    from transformers.models.llama.modeling_llama import LlamaMLP

    forward = LlamaMLP.forward
    monkeypatch.setattr(LlamaMLP, "forward", lambda self, x_BTD: forward(self, x_BTD + 1e-6 * x_BTD.roll(1, dims=1)))
    with pytest.raises(UserError, match=r"layout=packed: .* llama"):
        prepare_model(layout_job(tiny_llama, tiny_tokenizer, PACKED), CPU)


def test_attention_that_is_more_than_ours_is_not_packed(
    tiny_tokenizer: "PreTrainedTokenizerBase", tmp_path: Path
) -> None:
    """gpt-oss has sinks: logits of no token, which take part in every softmax."""
    make_model(tmp_path, "GptOss", **SIZES, num_local_experts=4, num_experts_per_tok=2)
    with pytest.raises(UserError, match=r"layout=packed: .* gpt_oss"):
        prepare_model(layout_job(tmp_path, tiny_tokenizer, PACKED), CPU)


def test_a_mixture_of_experts_is_shared(tiny_tokenizer: "PreTrainedTokenizerBase", tmp_path: Path) -> None:
    """Its tokens meet others in an expert's product, so that in another row they are equal to rounding alone."""
    make_model(tmp_path, "Qwen3Moe", **SIZES, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=24)
    assert prepare_model(layout_job(tmp_path, tiny_tokenizer, PREFIX), CPU).weighted.layout == PREFIX


def test_what_drops_out_is_not_shared(tiny_tokenizer: "PreTrainedTokenizerBase", tmp_path: Path) -> None:
    """What examples share would be dropped for all of them at once."""
    sizes = {"vocab_size": 400, "n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 512, "pad_token_id": 2}
    make_model(tmp_path, "GPT2", head="LMHeadModel", **sizes, resid_pdrop=0.1)
    with pytest.raises(UserError, match=r"layout=prefix: .*gpt2.*resid_pdrop.*: padded"):
        prepare_model(layout_job(tmp_path, tiny_tokenizer, PREFIX), CPU)
    long = EncodedExample(token_T=np.arange(3, 303, dtype=np.int32), role_T=np.ones(300, dtype=np.uint8))
    assert prepare_model(layout_job(tmp_path, tiny_tokenizer, "auto", examples=[long]), CPU).weighted.layout == PACKED
    still = layout_job(tmp_path, tiny_tokenizer, PREFIX, recipe=RecipeConfig(name="r", dropout=0.0))
    assert prepare_model(still, CPU).weighted.layout == PREFIX


@pytest.mark.parametrize(
    ("length", "recipe", "layout", "why"),
    [(60, {}, "prefix", "60 tokens"), (20, {}, "padded", "20 tokens"), (60, {"dropout": 0.5}, "padded", "dropout")],
)
def test_the_log_says_which_layout_was_taken_and_why(
    length: int,
    recipe: dict[str, Any],
    layout: str,
    why: str,
    tiny_llama: Path,
    tiny_tokenizer: "PreTrainedTokenizerBase",
    caplog: pytest.LogCaptureFixture,
) -> None:
    example = EncodedExample(token_T=np.arange(3, 3 + length, dtype=np.int32), role_T=np.ones(length, dtype=np.uint8))
    recipe_config = RecipeConfig(name="r", **recipe)
    with caplog.at_level("INFO", logger="plw"):
        prepare_model(layout_job(tiny_llama, tiny_tokenizer, "auto", examples=[example], recipe=recipe_config), CPU)
    chosen, kernel, last, fused = (record.getMessage() for record in caplog.records)
    dropout = "whole, since the llama model drops out (attention_dropout)"
    assert fused == "norms and feed-forwards: fused, on a CPU"
    assert last == f"last layer: {dropout if recipe else 'without the tokens that predict nothing'}"
    assert re.match(rf"layout {layout}: .*{why}", chosen)
    assert ("example by example" in kernel) == (layout == "prefix")


def test_the_log_says_why_the_better_layout_was_not_taken(
    tiny_tokenizer: "PreTrainedTokenizerBase", tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_model(tmp_path, "GptOss", **SIZES, num_local_experts=4, num_experts_per_tok=2)
    long = EncodedExample(token_T=np.arange(3, 303, dtype=np.int32), role_T=np.ones(300, dtype=np.uint8))
    with caplog.at_level("INFO", logger="plw"):
        prepare_model(layout_job(tmp_path, tiny_tokenizer, "auto", examples=[long]), CPU)
    assert re.match(r"layout padded: not prefix: .*gpt_oss", caplog.records[0].getMessage())


def test_what_looks_at_its_neighbour_in_the_row_is_packed_and_not_shared(
    tiny_llama: Path, tiny_tokenizer: "PreTrainedTokenizerBase", monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a convolution that starts afresh at each example's bound: where a beginning is shared, it is not beside it."""
    from transformers.models.llama.modeling_llama import LlamaDecoderLayer

    forward = LlamaDecoderLayer.forward

    def after_a_convolution(self: Any, hidden_BTD: Tensor, **layout: Any) -> Tensor:
        before_BTD = hidden_BTD.roll(1, dims=1)
        before_BTD[:, layout.get("cu_seq_lens_q", torch.zeros(2, dtype=torch.int32))[:-1]] = 0
        return forward(self, hidden_BTD + before_BTD, **layout)

    monkeypatch.setattr(LlamaDecoderLayer, "forward", after_a_convolution)
    assert prepare_model(layout_job(tiny_llama, tiny_tokenizer, PACKED), CPU).weighted.layout == PACKED
    with pytest.raises(UserError, match=r"layout=prefix: .* llama"):
        prepare_model(layout_job(tiny_llama, tiny_tokenizer, PREFIX), CPU)


def test_a_model_that_keeps_the_row_from_its_attention_is_not_packed(
    tiny_llama: Path, tiny_tokenizer: "PreTrainedTokenizerBase", monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers.models.llama.modeling_llama import LlamaAttention

    forward = LlamaAttention.forward
    monkeypatch.setattr(
        LlamaAttention,
        "forward",
        lambda self, **all_: forward(self, **{k: v for k, v in all_.items() if k != "packed_row"}),
    )
    with pytest.raises(UserError, match=r"layout=packed: .* llama"):
        prepare_model(layout_job(tiny_llama, tiny_tokenizer, PACKED), CPU)


def test_a_kernel_is_asked_before_it_is_used() -> None:
    """There is none on a CPU; what CUDA's says is only known there."""
    assert not varlen_agrees(CPU, torch.bfloat16)
    assert not has_varlen_kernel(CPU, torch.bfloat16)


@pytest.mark.parametrize("counted_from", ["end", "start"])
def test_a_kernel_that_counts_from_the_start_is_not_used(counted_from: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels differ in which key the first query is beside, where queries are fewer than keys."""

    def kernel(query: Tensor, key: Tensor, value: Tensor, row: PackedRow, scaling: None, window: int | None) -> Tensor:
        outputs = []
        for example in range(len(row.queries_E)):
            of_query = slice(*row.query_bound_E[example : example + 2].tolist())
            places = row.key_K[slice(*row.key_bound_E[example : example + 2].tolist())]  # type: ignore[index]
            queries, keys = row.queries_E[example], len(places)
            first = keys - queries if counted_from == "end" else 0
            distance_TK = first + torch.arange(queries)[:, None] - torch.arange(keys)[None]
            seen_TK = (distance_TK >= 0) & (distance_TK < (window or keys))
            outputs.append(
                scaled_dot_product_attention(
                    query[:, :, of_query], key[:, :, places], value[:, :, places], attn_mask=seen_TK, enable_gqa=True
                )
            )
        return torch.cat(outputs, dim=2).transpose(1, 2)

    monkeypatch.setattr("plw.train.model.attention._varlen", kernel)
    assert varlen_agrees.__wrapped__(CPU, torch.bfloat16) == (counted_from == "end")


@pytest.mark.parametrize("groups", [1, 2])
def test_long_examples_are_cut_in_halves_and_stay_causal(groups: int) -> None:
    """Queries are halved from `HALVED_TOKENS` on: the same output and gradients as torch's causal attention at once."""
    torch.manual_seed(0)
    beginning, rest = [1] * 20, [2, 3, 4] * HALVED_TOKENS
    examples = [[*beginning, *rest[: HALVED_TOKENS + 31]], [*beginning, 7, 8], [*beginning, 9, *rest[:HALVED_TOKENS]]]
    placed = place_tokens([np.array(example, dtype=np.int32) for example in examples], PREFIX)
    assert placed.owned == [len(examples[0]), 2, HALVED_TOKENS + 1]
    query, key, value = (
        torch.randn(1, 2 * groups if part == 0 else 2, len(placed.token_F), 8, dtype=torch.float64, requires_grad=True)
        for part in range(3)
    )
    row = make_row(placed.paths, placed.owned, CPU)
    found, _ = row_attention(torch.nn.Module(), query, key, value, None, packed_row=row)
    alone = [
        scaled_dot_product_attention(
            query[:, :, path], key[:, :, path], value[:, :, path], is_causal=True, enable_gqa=groups > 1
        )[:, :, -own:]
        for path, own in zip(placed.paths, placed.owned, strict=True)
    ]
    wanted = torch.cat(alone, dim=2).transpose(1, 2)
    torch.testing.assert_close(found, wanted)
    weight = torch.randn_like(wanted)
    inputs = (query, key, value)
    torch.testing.assert_close(
        torch.autograd.grad((found * weight).sum(), inputs), torch.autograd.grad((wanted * weight).sum(), inputs)
    )
