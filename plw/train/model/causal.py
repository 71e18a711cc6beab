"""Proof on a few tokens that a model is causal: no token's state depends on a later token."""

from typing import Any

import torch

from plw.errors import UserError

CAUSAL_PROBE_TOKENS = 8
CAUSAL_TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 1e-2}
"""Relative change of earlier states; experts' products round anew, attention that looks ahead is far above."""


@torch.no_grad()
def check_causal(path: str, model: Any) -> None:
    """Change the last of a few tokens; the states of those before it must stay.

    Args:
        path: of the model, for the message.
        model: a transformers causal language model.

    Raises:
        UserError: they change. Padding, and the answer itself, would be seen from the prompt.
    """
    decoder, embedding = model.get_decoder(), model.get_input_embeddings()
    decoder.eval()
    ids = embedding.num_embeddings
    token_1T = torch.arange(1, CAUSAL_PROBE_TOKENS + 1)[None] % ids
    changed_1T = token_1T.clone()
    changed_1T[0, -1] = (changed_1T[0, -1] + ids // 2) % ids
    one_TD, other_TD = (
        decoder(input_ids=row_1T, use_cache=False).last_hidden_state[0] for row_1T in (token_1T, changed_1T)
    )
    change = (one_TD[:-1] - other_TD[:-1]).norm() / one_TD[:-1].norm()
    if not change <= CAUSAL_TOLERANCE[one_TD.dtype]:
        raise UserError(
            f"{path}: tokens of this {model.config.model_type} model see the ones after them (earlier states change by "
            f"{float(change):.1%} with the last token), so it is no causal language model, as models for embeddings "
            "are; allowed are causal ones (config.json: is_causal is not false)"
        )
