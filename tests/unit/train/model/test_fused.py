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
