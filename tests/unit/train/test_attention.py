"""Packed rows: no example sees another, and each has the hidden states that it has alone."""

from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_models import SIZES
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from plw.config.training import LossConfig, RecipeConfig
from plw.errors import UserError
from plw.train.attention import HALVED_TOKENS, PACKED, packed_attention, register
from plw.train.job import TrainingJob
from plw.train.prepare import prepare_model

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

FAMILIES: dict[str, dict[str, Any]] = {
    "Llama": {},
    # Windows shorter than the examples.
    "Mistral": {"sliding_window": 4},
    # Windows in every other layer, and attention whose products are capped.
    "Gemma2": {"sliding_window": 4, "attn_logit_softcapping": 2.0},
    "Qwen3": {},
    "GPTNeoX": {},
}
LENGTHS = (5, 9, 1, 7)


@pytest.fixture(scope="module", params=FAMILIES)
def model(request: pytest.FixtureRequest) -> Any:
    import transformers

    torch.manual_seed(0)
    config = getattr(transformers, f"{request.param}Config")(**SIZES, **FAMILIES[request.param])
    config._attn_implementation = "eager"
    return getattr(transformers, f"{request.param}ForCausalLM")(config).eval().get_decoder()


def packed_states(model: Any, token_T: Tensor) -> list[Tensor]:
    register()
    model.set_attn_implementation(PACKED)
    bound_E = torch.tensor([0, *LENGTHS], dtype=torch.int32).cumsum(0, dtype=torch.int32)
    with torch.no_grad():
        states = model(
            input_ids=token_T[None],
            position_ids=torch.cat([torch.arange(length) for length in LENGTHS])[None],
            cu_seq_lens_q=bound_E,
            cu_seq_lens_k=bound_E,
            max_length_q=max(LENGTHS),
            max_length_k=max(LENGTHS),
            use_cache=False,
        ).last_hidden_state[0]
    return list(states.split(LENGTHS))


def test_an_example_has_the_states_that_it_has_alone(model: Any) -> None:
    token_T = torch.randint(3, 400, (sum(LENGTHS),), generator=torch.Generator().manual_seed(0))
    packed = packed_states(model, token_T)
    model.set_attn_implementation("eager")
    for tokens, state in zip(token_T.split(LENGTHS), packed, strict=True):
        with torch.no_grad():
            alone = model(input_ids=tokens[None], use_cache=False).last_hidden_state[0]
        torch.testing.assert_close(state, alone, rtol=1e-4, atol=1e-5)


def test_changing_one_example_changes_no_other(model: Any) -> None:
    token_T = torch.randint(3, 400, (sum(LENGTHS),), generator=torch.Generator().manual_seed(0))
    before = packed_states(model, token_T)
    for changed in range(len(LENGTHS)):
        rows = list(token_T.clone().split(LENGTHS))
        rows[changed] = rows[changed] % 397 + 3
        after = packed_states(model, torch.cat(rows))
        for row in range(len(LENGTHS)):
            assert torch.equal(before[row], after[row]) == (row != changed)


@settings(max_examples=25, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=5),
    groups=st.sampled_from([1, 2]),
    window=st.sampled_from([None, 1, 3, 20]),
    softcap=st.sampled_from([None, 1.5]),
)
def test_attention_is_the_masked_formula(
    lengths: list[int], groups: int, window: int | None, softcap: float | None
) -> None:
    dice = torch.Generator().manual_seed(sum(lengths))
    tokens = sum(lengths)
    query = torch.randn(1, 4, tokens, 8, generator=dice, dtype=torch.float64, requires_grad=True)
    key = torch.randn(1, 4 // groups, tokens, 8, generator=dice, dtype=torch.float64, requires_grad=True)
    value = torch.randn(1, 4 // groups, tokens, 8, generator=dice, dtype=torch.float64, requires_grad=True)
    example_T = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    distance_TT = torch.arange(tokens)[:, None] - torch.arange(tokens)[None]
    seen_TT = (example_T[:, None] == example_T[None]) & (distance_TT >= 0)
    if window is not None:
        seen_TT &= distance_TT < window
    product = query @ key.repeat_interleave(groups, 1).transpose(2, 3) * 0.3
    if softcap is not None:
        product = softcap * torch.tanh(product / softcap)
    weight = product.masked_fill(~seen_TT, -torch.inf).softmax(-1)
    expected = (weight @ value.repeat_interleave(groups, 1)).transpose(1, 2)
    ours, _ = packed_attention(
        torch.nn.Identity(),
        query,
        key,
        value,
        None,
        scaling=0.3,
        sliding_window=window,
        softcap=softcap,
        cu_seq_lens_q=torch.tensor([0, *lengths], dtype=torch.int32).cumsum(0, dtype=torch.int32),
        max_length_q=max(lengths),
    )
    tolerance = {"rtol": 1e-6, "atol": 1e-6}
    torch.testing.assert_close(ours, expected, **tolerance)
    slope = torch.randn(ours.shape, generator=dice, dtype=torch.float64)
    for one, other in zip(
        torch.autograd.grad(ours, (query, key, value), slope),
        torch.autograd.grad(expected, (query, key, value), slope),
        strict=True,
    ):
        torch.testing.assert_close(one, other, **tolerance)


def test_a_model_that_reads_across_examples_is_not_packed(
    tiny_tokenizer: "PreTrainedTokenizerBase", tmp_path: Path
) -> None:
    """A recurrent model's state runs on through the row."""
    from transformers import MambaConfig, MambaForCausalLM

    sizes = {"vocab_size": 400, "hidden_size": 16, "num_hidden_layers": 1, "state_size": 4}
    MambaForCausalLM(MambaConfig(**sizes, use_mambapy=False)).save_pretrained(tmp_path)
    job = TrainingJob(
        model=str(tmp_path),
        tokenizer=tiny_tokenizer,
        examples=[],
        loss=LossConfig(),
        recipe=RecipeConfig(name="r"),
        seed=0,
        folder=tmp_path,
        layout="packed",
    )
    with pytest.raises(UserError, match=r"execution.layout=packed: the tokens of a mamba model would see other"):
        prepare_model(job, torch.device("cpu"))


@pytest.mark.parametrize("groups", [1, 2])
def test_long_examples_are_cut_in_halves_and_stay_causal(groups: int) -> None:
    """Queries are halved from `HALVED_TOKENS` on: the same output and gradients as torch's causal attention at once."""
    torch.manual_seed(0)
    lengths = (HALVED_TOKENS + 31, 3, HALVED_TOKENS)
    bound_E = torch.tensor([0, *lengths], dtype=torch.int32).cumsum(0, dtype=torch.int32)
    query, key, value = (
        torch.randn(1, 2 * groups if part == 0 else 2, sum(lengths), 8, dtype=torch.float64, requires_grad=True)
        for part in range(3)
    )
    found, _ = packed_attention(
        torch.nn.Module(), query, key, value, None, cu_seq_lens_q=bound_E, max_length_q=max(lengths)
    )
    alone = [
        scaled_dot_product_attention(
            query[:, :, a:b], key[:, :, a:b], value[:, :, a:b], is_causal=True, enable_gqa=groups > 1
        )
        for a, b in pairwise(bound_E.tolist())
    ]
    wanted = torch.cat(alone, dim=2).transpose(1, 2)
    torch.testing.assert_close(found, wanted)
    weight = torch.randn_like(wanted)
    inputs = (query, key, value)
    torch.testing.assert_close(
        torch.autograd.grad((found * weight).sum(), inputs), torch.autograd.grad((wanted * weight).sum(), inputs)
    )
