"""Norms and feed-forwards with gradients of their own have the outputs and gradients that transformers' have."""

from contextlib import nullcontext
from typing import Any

import pytest
import torch

from plw.testing.models import SIZES
from plw.train.model.fused import FAMILIES, fuse, unfuse

TOKENS = torch.tensor([[5, 6, 7, 8, 9, 10, 11, 12]])


def gradients(model: Any, *, mixed: bool) -> dict[str, torch.Tensor]:
    with torch.autocast("cpu", dtype=torch.bfloat16) if mixed else nullcontext():
        loss = model(TOKENS, labels=TOKENS, use_cache=False).loss
    model.zero_grad()
    loss.backward()
    return {"loss": loss.detach()} | {name: p.grad.clone() for name, p in model.named_parameters()}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("mixed", [False, True])
def test_a_fused_model_has_the_gradients_of_the_plain_one(family: str, mixed: bool) -> None:
    import transformers

    torch.manual_seed(0)
    config = getattr(transformers, f"{family}Config")(**SIZES)
    model = getattr(transformers, f"{family}ForCausalLM")(config)
    plain = gradients(model, mixed=mixed)
    changed = fuse(model)
    found = gradients(model, mixed=mixed)
    unfuse(changed)
    again = gradients(model, mixed=mixed)

    assert len(changed) == sum(type(part).__name__.endswith(("RMSNorm", "MLP")) for part in model.modules())
    bound = 2e-2 if mixed else 1e-5
    for name, expected in plain.items():
        assert (found[name] - expected).norm() <= bound * expected.norm() + 1e-9, name
        assert torch.equal(again[name], expected), name


@pytest.mark.parametrize("mixed", [False, True])
def test_a_feed_forward_keeps_its_two_factors_and_what_it_was_given(mixed: bool) -> None:
    import transformers

    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**SIZES))
    fuse(model)
    feed_forward, width = model.model.layers[0].mlp, SIZES["intermediate_size"]
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, tuple[int, ...]] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tuple(tensor.shape)
        return tensor

    given = torch.randn(1, 50, SIZES["hidden_size"], requires_grad=True)
    with (
        torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor),
        torch.autocast("cpu", dtype=torch.bfloat16) if mixed else nullcontext(),
    ):
        feed_forward(given)
    of_tokens = [shape for place, shape in kept.items() if place not in weights and 50 in shape]
    assert sum(shape[-1] == width for shape in of_tokens) == 2
    assert len(of_tokens) == 3
