"""Greedy responses as tokens, and the log-likelihood of responses to prompts, each pair computed once, in batches."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from plw.data.tokenizer import tokenise
from plw.evaluate.models.batches import own_batches
from plw.evaluate.models.hf import EvalModel, end_tokens, generate_tokens
from plw.evaluate.models.protocol import room_for_prompt
from plw.progress import Progress, no_progress

if TYPE_CHECKING:
    import torch

TokenIds = tuple[int, ...]
PromptAndResponse = tuple[TokenIds, TokenIds]


def greedy_responses(
    loaded: EvalModel,
    prompts: Sequence[str],
    *,
    max_new_tokens: int,
    batch_size: int = 32,
    progress: Progress = no_progress,
) -> list[PromptAndResponse]:
    """TokenIds of each prompt, cut on the left where it leaves no room, and of the model's response with its EOS.

    Args:
        loaded: The model.
        prompts: Full prompts, template included.
        max_new_tokens: TokenIds after which a response is cut.
        batch_size: Prompts answered at a time.
        progress: Called with the prompts done.

    Raises:
        UserError: ``max_new_tokens`` leaves no room for a prompt in the model's context.
    """
    room = room_for_prompt(loaded.context_length, max_new_tokens, "suite.sensitivity.max_new_tokens")
    rows = [row[-room:] for row in tokenise(prompts, loaded.tokenizer)]
    ends = set(end_tokens(loaded))
    found: dict[int, PromptAndResponse] = {}
    decoding = {"max_new_tokens": max_new_tokens, "num_beams": 1, "repetition_penalty": 1.0}
    for batch, say in own_batches(loaded.batches(rows, batch_size), loaded.is_mine, progress, "responses"):
        written = generate_tokens(loaded, [rows[i] for i in batch], decoding, [], say)
        for index, tokens in zip(batch, written, strict=True):
            length = next((place + 1 for place, token in enumerate(tokens) if token in ends), len(tokens))
            found[index] = (tuple(rows[index]), tuple(tokens[:length]))
    found = loaded.all_gather(found)
    return [found[index] for index in range(len(rows))]


def log_likelihoods(
    loaded: EvalModel,
    pairs: Sequence[PromptAndResponse],
    *,
    batch_size: int = 32,
    progress: Progress = no_progress,
) -> list[float]:
    """Log P(response | prompt) of each pair, natural, summed over the response's tokens; a pair that repeats runs once.

    Rows are padded on the left, so that the responses end together and the head sees little beside them.

    Args:
        loaded: The model.
        pairs: TokenIds of prompt (one at least) and response; 0 for an empty response.
        batch_size: Pairs computed at a time.
        progress: Called with the pairs done.
    """
    different = sorted({pair for pair in pairs if pair[1]}, key=lambda pair: (-len(pair[0]) - len(pair[1]), pair))
    known: dict[PromptAndResponse, float] = {}
    for number, start in enumerate(range(0, len(different), batch_size)):
        if loaded.is_mine(number):
            batch = different[start : start + batch_size]
            known |= zip(batch, _batch(loaded, batch), strict=True)
            progress(min(start + batch_size, len(different)), len(different), "likelihoods")
    known = loaded.all_gather(known)
    return [known.get(pair, 0.0) for pair in pairs]


def _batch(loaded: EvalModel, batch: Sequence[PromptAndResponse]) -> list[float]:
    import torch

    width = max(len(prompt) + len(response) for prompt, response in batch)
    longest = max(len(response) for _, response in batch)
    token_BT = torch.full((len(batch), width), int(loaded.tokenizer.pad_token_id), dtype=torch.int64)
    mask_BT = torch.zeros((len(batch), width), dtype=torch.int64)
    scored_BR = torch.zeros((len(batch), longest), dtype=torch.bool)
    for row, (prompt, response) in enumerate(batch):
        token_BT[row, width - len(prompt) - len(response) :] = torch.tensor([*prompt, *response])
        mask_BT[row, width - len(prompt) - len(response) :] = 1
        scored_BR[row, longest - len(response) :] = True
    token_BT, mask_BT = token_BT.to(loaded.device), mask_BT.to(loaded.device)
    with torch.inference_mode():
        logit_BRV = _last_logits(loaded.model, token_BT, mask_BT, longest + 1)[:, :-1].float()
        target_BR = token_BT[:, -longest:]
        log_probability_BR = logit_BRV.gather(-1, target_BR[..., None])[..., 0] - logit_BRV.logsumexp(dim=-1)
    summed_B = log_probability_BR.double().cpu().masked_fill(~scored_BR, 0.0).sum(dim=-1)
    sums: list[float] = summed_B.tolist()
    return sums


def _last_logits(model: Any, token_BT: "torch.Tensor", mask_BT: "torch.Tensor", count: int) -> "torch.Tensor":
    """Logits at the last positions; models that cannot compute these alone compute all."""
    from plw.evaluate.models.shared_context import call_fields

    fields = call_fields(model, mask_BT, read=mask_BT.shape[1], logits=count)
    logit_BTV: torch.Tensor = model(input_ids=token_BT, attention_mask=mask_BT, use_cache=False, **fields).logits
    return logit_BTV[:, -count:]
