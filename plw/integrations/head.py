"""A model whose forward can return the weighted loss without logits: what wraps the model sees all of the work."""

import functools
import types
from typing import Any

from torch import Tensor
from torch.distributed.tensor import DTensor
from transformers.modeling_outputs import CausalLMOutput

from plw.config.loss import FactorConfig
from plw.loss.linear_cross_entropy import weighted_linear_cross_entropy
from plw.train.model.head import HEAD_TOLERANCE, check_head, head_options


def add_weighted_head(model: Any) -> None:
    """Let ``model(..., coefficients=c)`` return the loss, sum of c_t * CE_t, and nothing else; other calls stay.

    Only tokens with a coefficient reach the vocabulary's projection, in chunks.

    Args:
        model: a causal language model of transformers; of a PEFT model the base model.

    Raises:
        UserError: its head does more than a matrix product, a scale and a soft cap.
    """
    _check(model)
    options, original = head_options(model.config.get_text_config()), model.forward

    # `generate` and Trainer read the signature.
    @functools.wraps(type(model).forward)
    def forward(
        self: Any, *args: Any, coefficients: Tensor | None = None, factor: FactorConfig | None = None, **kwargs: Any
    ) -> Any:
        if coefficients is None:
            return original(*args, **kwargs)
        token_F = kwargs["input_ids"].flatten()
        hidden_BTD = self.get_decoder()(*args, **kwargs, use_cache=False).last_hidden_state
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


def _check(model: Any) -> None:
    """On the model as it is loaded, before anything wraps or spreads it, and without its dropout."""
    weight = model.get_output_embeddings().weight
    if weight.dtype not in HEAD_TOLERANCE or weight.is_meta:
        return
    training = model.training
    model.eval()
    check_head(getattr(model, "name_or_path", "") or type(model).__name__, model)
    model.train(training)


def _whole(tensor: Any) -> Any:
    """A sharded parameter in one piece."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
