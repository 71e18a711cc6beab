"""The last layer without the tokens that predict nothing: the same losses and gradients, with less work."""

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import Tensor

from plw.config.loss import LossConfig
from plw.config.study import PACKED, PADDED, PREFIX
from plw.config.training import RecipeConfig
from plw.data.encoding import EncodedExample
from plw.testing.models import SIZES
from plw.train.batching.counts import TokenCounts
from plw.train.batching.plan import plan_training
from plw.train.model.attention import ROW_ATTENTION, register
from plw.train.model.fused import unfuse
from plw.train.model.head import head_options
from plw.train.model.last_layer import undo_shortening
from plw.train.model.load import LoadedModel
from plw.train.model.parallel import layers
from plw.train.model.weighted import StepLosses, WeightedModel, accumulate_gradients
from plw.train.written_out import fuse_layers, shorten_last_layer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

CPU = torch.device("cpu")
LAYOUTS = (PADDED, PACKED, PREFIX)
FAMILIES: dict[str, dict[str, Any]] = {
    "Llama": {"attention_bias": True},
    # Windows shorter than the examples.
    "Mistral": {"sliding_window": 4},
    "Qwen2": {"use_sliding_window": True, "sliding_window": 3, "max_window_layers": 0},
    "Qwen3": {},
    "Gemma": {},
    # Of three layers the last has a window, of two it has not.
    "Gemma2": {"sliding_window": 4, "attn_logit_softcapping": 2.0, "num_hidden_layers": 3},
    "Gemma3": {"sliding_window": 4},
}
OTHERS = {"GPTNeoX": {}, "Olmo2": {}, "Granite": {"residual_multiplier": 0.5}}


def load(family: str, tokenizer: "PreTrainedTokenizerBase", **config: Any) -> LoadedModel:
    """A small model of random weights."""
    import transformers

    register()
    torch.manual_seed(0)
    # Gemma 3's plain name is that of a model that reads images too.
    made = getattr(transformers, f"{family}{'Text' if family == 'Gemma3' else ''}Config")(**{**SIZES, **config})
    model = getattr(transformers, f"{family}ForCausalLM")(made)
    return LoadedModel(
        path=family,
        model=model,
        decoder=model.get_decoder(),
        head=model.get_output_embeddings(),
        tokenizer=tokenizer,
        head_options=head_options(made),
    )


@pytest.fixture(scope="module", params=FAMILIES)
def loaded(request: pytest.FixtureRequest, tiny_tokenizer: "PreTrainedTokenizerBase") -> LoadedModel:
    return load(request.param, tiny_tokenizer, **FAMILIES[request.param])


def random_examples(dice: np.random.Generator, kept: float) -> list[EncodedExample]:
    """Some begin alike; of their tokens a share has a weight, and one at least."""
    preamble = dice.integers(3, 400, 5).tolist()
    made = []
    for _ in range(6):
        token_T = np.array(
            [*preamble[: dice.integers(6)], *dice.integers(3, 400, dice.integers(2, 14))], dtype=np.int32
        )
        weight_T = np.where(dice.random(len(token_T)) < kept, dice.random(len(token_T)), 0)
        made.append(EncodedExample(token_T=token_T, role_T=np.ones(len(token_T), dtype=np.uint8), weight_T=weight_T))
    made[3].weight_T[-1] = 1.0
    return made


def gradients(
    loaded: LoadedModel, examples: list[EncodedExample], layout: str, *, shortened: bool
) -> tuple[StepLosses, Tensor, TokenCounts]:
    loaded.model.zero_grad()
    loaded.model.set_attn_implementation("eager" if layout == PADDED else ROW_ATTENTION)
    recipe = RecipeConfig(name="r", epochs=1, batch_size=len(examples))
    (step,) = plan_training(examples, LossConfig(), recipe, seed=0, token_budget=40, layout=layout).steps
    weighted = WeightedModel(loaded, layout=layout, shorten_last_layer=shortened)
    losses, counts = accumulate_gradients(weighted, examples, step, device=CPU)
    return losses, torch.cat([parameter.grad.flatten() for parameter in loaded.model.parameters()]), counts


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_gradient_is_that_of_the_whole_layer(loaded: LoadedModel, layout: str) -> None:
    loaded.model.set_attn_implementation("eager" if layout == PADDED else ROW_ATTENTION)
    assert shorten_last_layer(loaded, layout) is None
    saved = 0
    for seed, kept in enumerate([0.0, 0.1, 0.3, 0.6, 0.9]):
        examples = random_examples(np.random.default_rng(seed), kept)
        expected_losses, expected, whole = gradients(loaded, examples, PADDED, shortened=False)
        losses, found, counts = gradients(loaded, examples, layout, shortened=True)
        assert losses.loss == pytest.approx(expected_losses.loss, rel=1e-5)
        assert losses.completion_loss == pytest.approx(expected_losses.completion_loss, rel=1e-5)
        assert (found - expected).norm() < 5e-6 * expected.norm()
        assert whole.last_tokens == whole.tokens
        saved += counts.tokens - counts.last_tokens
    assert saved > 50
    undo_shortening(loaded)


def test_fused_layers_have_the_gradient_of_the_model_s_own(
    loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    examples = random_examples(np.random.default_rng(0), 0.5)
    losses, expected, _ = gradients(loaded, examples, PADDED, shortened=False)
    problem = fuse_layers(loaded, PADDED)
    if "Gemma" in loaded.path:
        # Its norm multiplies by 1 + weight.
        assert problem == f"those of a {loaded.model.config.model_type} model are not written out here"
        return
    assert problem is None
    found_losses, found, _ = gradients(loaded, examples, PADDED, shortened=False)
    fused = [module for module in loaded.model.modules() if "forward" in vars(module)]
    assert {type(module).__name__ for module in fused} == {f"{loaded.path}RMSNorm", f"{loaded.path}MLP"}
    unfuse(fused)
    assert found_losses.loss == pytest.approx(losses.loss, rel=1e-5)
    assert 0 < (found - expected).norm() < 5e-6 * expected.norm()
    norm = next(type(module) for module in fused if "Norm" in type(module).__name__)
    plain = norm.forward
    monkeypatch.setattr(norm, "forward", lambda self, x: plain(self, x).clamp(max=0.5))
    assert "are not what they are written out as here" in str(fuse_layers(loaded, PADDED))
    assert not any("forward" in vars(module) for module in loaded.model.modules())


def test_one_token_with_weight_is_one_token_of_the_last_layer(tiny_tokenizer: "PreTrainedTokenizerBase") -> None:
    """And nothing behind it goes through the model."""
    loaded = load("Llama", tiny_tokenizer)
    dice = np.random.default_rng(0)
    for place in (1, 7, 11):
        weight_T = np.eye(12)[place]
        example = EncodedExample(
            token_T=dice.integers(3, 400, 12).astype(np.int32), role_T=np.ones(12, dtype=np.uint8), weight_T=weight_T
        )
        _, expected, _ = gradients(loaded, [example], PADDED, shortened=False)
        for layout in LAYOUTS:
            loaded.model.set_attn_implementation("sdpa" if layout == PADDED else ROW_ATTENTION)
            assert shorten_last_layer(loaded, layout) is None
            _, found, counts = gradients(loaded, [example], layout, shortened=True)
            undo_shortening(loaded)
            assert (found - expected).norm() < 5e-6 * expected.norm()
            pairs = place * (place + 1) // 2
            assert counts == TokenCounts(place, 1, pairs, last_tokens=1, last_pairs=place)


@pytest.mark.parametrize("family", OTHERS)
def test_an_unknown_layer_is_left_whole(family: str, tiny_tokenizer: "PreTrainedTokenizerBase") -> None:
    loaded = load(family, tiny_tokenizer, **OTHERS[family])
    assert "not written out" in str(shorten_last_layer(loaded, PADDED))
    assert "forward" not in vars(layers(loaded.decoder)[-1])


def test_a_layer_that_does_more_than_its_family_is_left_whole(
    tiny_tokenizer: "PreTrainedTokenizerBase", monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers.models.llama.modeling_llama import LlamaDecoderLayer

    plain = LlamaDecoderLayer.forward
    monkeypatch.setattr(LlamaDecoderLayer, "forward", lambda self, *a, **k: plain(self, *a, **k).clamp(max=2))
    loaded = load("Llama", tiny_tokenizer)
    assert "is not what it is written out as" in str(shorten_last_layer(loaded, PADDED))
    assert "forward" not in vars(layers(loaded.decoder)[-1])
    dropping = dataclasses.replace(load("Llama", tiny_tokenizer), dropout_fields=["attention_dropout"])
    assert "drops out (attention_dropout)" in str(shorten_last_layer(dropping, PADDED))
