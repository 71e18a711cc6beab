"""The head beyond its matrix product: soft-capping and scale, and proof on a few tokens that it does nothing else."""

from typing import Any

import torch
from torch import nn

from plw.errors import UserError

HEAD_PROBE_TOKENS = 8
HEAD_TOLERANCE = {torch.float64: 1e-3, torch.float32: 1e-3, torch.float16: 1e-2, torch.bfloat16: 3e-2}
"""Relative distance between the model's logits and ours; rounding is far below, another head far above."""


def near(found: torch.Tensor, expected: torch.Tensor, *, dtype: torch.dtype | None = None, floor: float = 0.0) -> bool:
    """Equal to rounding, as a share of the norm.

    Args:
        found: compared with ``expected``.
        expected: of the same shape.
        dtype: whose rounding it is; that of ``expected`` where it is None or has no tolerance.
        floor: norm below which a difference is rounding whatever the norm of what is expected.
    """
    rounded = dtype if dtype is not None and dtype in HEAD_TOLERANCE else expected.dtype
    return bool((found - expected).norm() <= HEAD_TOLERANCE[rounded] * expected.norm() + floor)


def head_options(config: Any) -> dict[str, Any]:
    """``softcap`` and ``logit_scale`` of the fused loss, as far as a head has them.

    Gemma 2 caps its logits, Cohere multiplies them by ``logit_scale``, Granite divides them by ``logits_scaling``.
    """
    found = {
        "softcap": getattr(config, "final_logit_softcapping", None),
        "logit_scale": getattr(config, "logit_scale", None),
    }
    if (divisor := getattr(config, "logits_scaling", None)) is not None:
        found["logit_scale"] = 1.0 / divisor
    return {name: float(value) for name, value in found.items() if value is not None}


def check_head(path: str, model: Any, backbone: Any = None) -> None:
    """Compare the model's logits for a few tokens with those that decoder, head, scale and cap give.

    Config fields of one name multiply in one family and divide in another, so names alone prove nothing.

    Args:
        path: what the message calls the model.
        model: a causal language model.
        backbone: the module that makes the hidden states; None for the model's decoder.

    Raises:
        UserError: the head does something else too, so its loss cannot be computed from hidden states.
    """
    options = head_options(model.config.get_text_config())
    decoder, head = model.get_decoder() if backbone is None else backbone, model.get_output_embeddings()
    if not isinstance(decoder, nn.Module) or not isinstance(getattr(head, "weight", None), torch.Tensor):
        raise UserError(f"{path}: {type(model).__name__} has no decoder with a linear head; it is not supported")
    token_BT = torch.arange(min(HEAD_PROBE_TOKENS, head.weight.shape[0]), device=head.weight.device)[None]
    with torch.no_grad():
        expected_BTV = model(input_ids=token_BT, use_cache=False).logits
        output = decoder(input_ids=token_BT, use_cache=False)
        if not hasattr(output, "last_hidden_state"):
            raise UserError(f"{path}: transformers names no decoder of {type(model).__name__}; it is not supported")
        logit_BTV = head(output.last_hidden_state)
        logit_BTV = logit_BTV * options.get("logit_scale", 1.0)
        if "softcap" in options:
            logit_BTV = options["softcap"] * torch.tanh(logit_BTV / options["softcap"])
    if torch.isnan(expected_BTV).any():
        named = [name for name, weight in model.named_parameters() if not torch.isfinite(weight).all()]
        found = f"the weights hold numbers that are not finite ({named[0]})" if named else "the logits are not finite"
        raise UserError(f"{path}: {found}; fetch the weights again, or take a checkpoint from before they diverged")
    if not near(logit_BTV, expected_BTV, dtype=head.weight.dtype):
        raise UserError(
            f"{path}: the logits of {type(model).__name__} are not its head's output, scaled and soft-capped as its "
            "config says; such models are not supported"
        )
