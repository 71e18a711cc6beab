"""Models tried out on a few tokens before the training: packed rows keep examples apart, TRL's head is the model's."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from plw.errors import UserError
from plw.integrations.collator import PromptWeightCollator
from plw.integrations.model import backbone, base_model
from plw.train.model.head import near

TRIED_ROWS = ([1, 2, 3, 4], [1, 2, 3, 5, 6], [7, 8, 9, 10, 11])
"""Rows that are tried in one and each alone."""
FOR_THE_MODEL = (
    "input_ids",
    "position_ids",
    "cu_seq_lens_q",
    "cu_seq_lens_k",
    "max_length_q",
    "max_length_k",
    "seq_idx",
)
"""Keys of a packed batch that the model takes."""
LOG_P_ROUNDING = 1e-5
"""Norm below which a difference of log-probabilities is rounding, where all are alike."""


def check_packed_rows(model: Any) -> None:
    """That in a packed row each example's hidden states are those that it has alone, and no other example's reach them.

    The positions of a row say where its examples begin. Some models read no positions, or carry a state along the row.

    Args:
        model: of transformers or PEFT, where it is trained.

    Raises:
        UserError: they are others, or have a gradient by another example's tokens.
    """
    bare = base_model(model)
    if not _is_here(bare):
        return
    with _evaluating(model):
        together_TD, slope_TD = _states(bare, TRIED_ROWS)
        alone_TD = torch.cat([_states(bare, [example])[0] for example in TRIED_ROWS])
    others = sum(map(len, TRIED_ROWS[:-1]))
    if not near(together_TD, alone_TD, floor=LOG_P_ROUNDING) or slope_TD[:others].any():
        attention = getattr(bare.config, "_attn_implementation", None)
        raise UserError(
            f"in packed rows of {type(bare).__name__} (attention: {attention}) an example's tokens would not be what "
            "they are alone; leave out packing and padding_free, or load it with another attn_implementation"
        )


def check_fused_head(model: Any) -> None:
    """That TRL's fused head gives the log-probabilities of the model's own logits.

    Args:
        model: of transformers or PEFT, with ``fused_lm_head``.

    Raises:
        UserError: it gives others, so the loss would be another model's.
    """
    bare = base_model(model)
    if not _is_here(bare):
        return
    name = type(bare).__name__
    head = bare.get_output_embeddings()
    if not hasattr(head, "bias"):
        raise UserError(
            f"TRL's fused head does not read the head of {name}, which PEFT has made a {type(head).__name__}; train it "
            "with modules_to_save, or take PromptWeightedTrainer"
        )
    token_1T = torch.tensor(TRIED_ROWS[-1:], device=head.weight.device) % head.weight.shape[0]
    with torch.no_grad(), _evaluating(model):
        logit_TV = model(input_ids=token_1T).logits[0, :-1].float()
        found_T = model(input_ids=token_1T, labels=token_1T, fused_lm_head=True).log_probs[0].float()
    own_T = logit_TV.log_softmax(dim=1).gather(1, token_1T[0, 1:, None]).squeeze(1)
    # All are near those of the uniform distribution in a new model: what counts is the distance from there.
    own_T, found_T = (log_p_T + torch.tensor(float(logit_TV.shape[1])).log() for log_p_T in (own_T, found_T))
    if not near(found_T, own_T, dtype=head.weight.dtype, floor=LOG_P_ROUNDING):
        raise UserError(
            f"TRL's fused head gives other log-probabilities than the logits of {name}, so its loss would be another "
            "one; such models are not supported"
        )


def _is_here(model: Any) -> bool:
    """Whether the weights are: what is spread over processes before the trainer has it cannot be tried."""
    weights = [model.get_input_embeddings().weight, model.get_output_embeddings().weight]
    return all(weight.numel() and not weight.is_meta for weight in weights)


@contextmanager
def _evaluating(model: Any) -> Iterator[None]:
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


def _states(model: Any, examples: Any) -> tuple[Tensor, Tensor]:
    """Hidden states of a packed row, and their last example's gradient by the embedding of each of its tokens."""
    embedding = model.get_input_embeddings()
    rows = [{"input_ids": [token % embedding.weight.shape[0] for token in example]} for example in examples]
    packed = PromptWeightCollator(pad_token_id=0, padding_free=True)(
        [{**row, "completion_mask": [1] * len(row["input_ids"])} for row in rows]
    )
    batch = {
        name: value.to(embedding.weight.device) if isinstance(value, Tensor) else value
        for name, value in packed.items()
        if name in FOR_THE_MODEL
    }
    embedded: list[Tensor] = []

    def keep(_: Any, __: Any, output: Tensor) -> Tensor:
        embedded.append(output.detach().requires_grad_())
        return embedded[-1]

    handle = embedding.register_forward_hook(keep)
    try:
        with torch.enable_grad():
            states_TD = backbone(model)(**batch, use_cache=False).last_hidden_state[0]
            # Weighted, because a norm makes the plain sum a constant.
            weight_D = torch.arange(states_TD.shape[1], device=states_TD.device).cos()
            (slope_1TD,) = torch.autograd.grad((states_TD[-len(examples[-1]) :].float() @ weight_D).sum(), embedded[0])
    finally:
        handle.remove()
    return states_TD.detach(), slope_1TD[0]
