"""A model whose forward can return the weighted loss without logits: what wraps the model sees all of the work."""

import functools
import types
from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.distributed.tensor import DTensor
from transformers.modeling_outputs import CausalLMOutput

from plw.config.loss import FactorConfig
from plw.errors import UserError
from plw.integrations.model import backbone, base_model, check_language_model
from plw.loss.linear_cross_entropy import weighted_linear_cross_entropy
from plw.train.model.head import HEAD_TOLERANCE, check_head, head_options


def add_weighted_head(model: Any) -> None:
    """Let ``model(..., coefficients=c)`` return the loss, sum of c_t * CE_t, and nothing else; other calls stay.

    Only tokens with a coefficient reach the vocabulary's projection, in chunks.

    Args:
        model: a causal language model of transformers, or one of PEFT around it.

    Raises:
        UserError: its head does more than a matrix product, a scale and a soft cap, or the model adds a loss
            of its router.
    """
    check_language_model(model)
    model = base_model(model)
    _check(model)
    _check_router(model)
    options, original = head_options(model.config.get_text_config()), _unbound(model.forward, model)

    # `generate` and Trainer read the signature.
    @functools.wraps(type(model).forward)
    def forward(
        self: Any, *args: Any, coefficients: Tensor | None = None, factor: FactorConfig | None = None, **kwargs: Any
    ) -> Any:
        if coefficients is None:
            return original(self, *args, **kwargs)
        token_F = kwargs["input_ids"].flatten()
        hidden_BTD = backbone(self)(*args, **kwargs, use_cache=False).last_hidden_state
        coefficient_BT = coefficients.clone()
        # Row t - 1 predicts token t, and nothing predicts the first column.
        coefficient_BT[:, 0] = 0
        place_N = coefficient_BT.flatten().nonzero().squeeze(1)
        head = self.get_output_embeddings()
        output = weighted_linear_cross_entropy(
            hidden_BTD.flatten(0, 1),
            _whole(head.weight),
            token_F[place_N],
            coefficient_BT.flatten()[place_N],
            row_N=place_N - 1,
            bias_V=_whole(getattr(head, "bias", None)),
            factor=factor,
            **options,
        )
        return CausalLMOutput(loss=output.loss)

    model.forward = types.MethodType(forward, model)


def _unbound(forward: Callable[..., Any], model: Any) -> Callable[..., Any]:
    """A model's forward as a function of the model, so that a copy of the model computes with its own weights."""
    if isinstance(forward, types.MethodType) and forward.__self__ is model:
        return forward.__func__
    # What a library has put there instead knows its model by itself.
    return lambda _, *args, **kwargs: forward(*args, **kwargs)


def _check(model: Any) -> None:
    """On the model as it is loaded, before anything wraps or spreads it, and without its dropout."""
    weight = model.get_output_embeddings().weight
    # What is spread over processes before it is here has no weights to compute with.
    if weight.is_meta or not weight.numel():
        return
    if weight.dtype not in HEAD_TOLERANCE:
        raise UserError(f"the head's weight is {weight.dtype}; allowed: {', '.join(map(str, HEAD_TOLERANCE))}")
    training = model.training
    model.eval()
    check_head(getattr(model, "name_or_path", "") or type(model).__name__, model, backbone(model))
    model.train(training)


def _check_router(model: Any) -> None:
    """That the model's own loss has no second part, which the weighted loss lacks."""
    if any(getattr(config, "output_router_logits", False) for config in (model.config, model.config.get_text_config())):
        raise UserError(
            "output_router_logits=True adds the loss of the experts' router, which is not computed here; set it to "
            "False in the model's config, or take PromptWeightedSFTTrainer, where TRL adds that loss"
        )


def _whole(tensor: Any) -> Any:
    """A sharded parameter in one piece."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
