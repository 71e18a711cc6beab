"""Log-likelihoods of continuations of which several have a context in common, as the choices of a question have.

The context is computed once, and its keys and values are taken up by each continuation.
"""

import inspect
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from plw.evaluate.models.decode import rows_can_be_chosen
from plw.evaluate.models.score_rows import rows_that_fit

if TYPE_CHECKING:
    from transformers import PreTrainedModel

TokenPair = tuple[Sequence[int], Sequence[int]]
"""Tokens of a context and of a continuation, one at least of each."""


class NotShareableError(Exception):
    """The model keeps something other than keys and values by row, such as a state."""


def shared_share(pairs: Sequence[TokenPair]) -> float:
    """Share of all tokens that are computed only because each pair computes its context anew."""
    total = sum(len(context) + len(continuation) for context, continuation in pairs)
    once = sum(len(context) for context in {tuple(context) for context, _ in pairs})
    return (sum(len(context) for context, _ in pairs) - once) / max(1, total)


def batches_by_context(pairs: Sequence[TokenPair], batch_size: int) -> list[list[int]]:
    """Places of the pairs, those of a context beside each other, contexts of like length together, longest first.

    A context's pairs are in one batch, unless they are more than ``batch_size``. Equal pairs are neighbours.
    """
    of_context: dict[tuple[int, ...], list[int]] = {}
    for place, (context, _) in enumerate(pairs):
        of_context.setdefault(tuple(context), []).append(place)
    pieces = []
    for places in of_context.values():
        places.sort(key=lambda place: (-len(pairs[place][1]), tuple(pairs[place][1])))
        pieces += [places[first : first + batch_size] for first in range(0, len(places), batch_size)]
    pieces.sort(key=lambda places: -len(pairs[places[0]][0]) - len(pairs[places[0]][1]))
    batches: list[list[int]] = []
    for places in pieces:
        if batches and len(batches[-1]) + len(places) <= batch_size:
            batches[-1] += places
        else:
            batches.append(places)
    return batches


def score_pairs(
    model: "PreTrainedModel",
    pairs: Sequence[TokenPair],
    *,
    limit: int | None = None,
    softmax_dtype: torch.dtype | None = None,
) -> list[tuple[float, bool]]:
    """For each pair: log P(continuation | context), natural, and whether it is the greedy continuation.

    Args:
        model: In evaluation mode.
        pairs: Whose contexts, each computed once, are padded to one length on the left, continuations on the right.
            Together they fit into what the model can attend to.
        limit: Bytes of logits and log-probabilities at a time; continuations are computed in parts for which these fit.
        softmax_dtype: In which the logits are normalised; None: their own.

    Raises:
        NotShareableError: what the model keeps of a context cannot be handed to several continuations.
    """
    device = model.device
    number = {context: place for place, context in enumerate(dict.fromkeys(tuple(context) for context, _ in pairs))}
    width = max(len(context) for context in number)
    context_QT = torch.tensor([[0] * (width - len(context)) + [*context] for context in number], device=device)
    seen_QT = torch.tensor([[0] * (width - len(context)) + [1] * len(context) for context in number], device=device)
    after = _Contexts(model=model, seen_QT=seen_QT, read=_read_contexts(model, context_QT, seen_QT))
    scores: dict[int, tuple[float, bool]] = {}
    for part in _parts([len(tokens) for _, tokens in pairs], model.config.get_text_config().vocab_size, limit):
        question_R = torch.tensor([number[tuple(pairs[place][0])] for place in part], device=device)
        found = after.scores(question_R, [pairs[place][1] for place in part], softmax_dtype)
        scores |= zip(part, found, strict=True)
    return [scores[place] for place in range(len(pairs))]


def _parts(lengths: Sequence[int], vocabulary: int, limit: int | None) -> Iterator[list[int]]:
    """Places of continuations whose scores fit into ``limit`` together, of like length, so that little is padded."""
    left = sorted(range(len(lengths)), key=lambda place: -lengths[place])
    while left:
        rows = len(left) if limit is None else rows_that_fit(vocabulary, limit, lengths[left[0]])
        yield left[:rows]
        left = left[rows:]


@dataclass(frozen=True, kw_only=True)
class _Contexts:
    """What is known once the contexts have been read."""

    model: "PreTrainedModel"
    seen_QT: Tensor
    """0 where padded."""
    read: tuple[Tensor, Any]
    """The logits after each context, and the model's cache."""

    def scores(
        self, question_R: Tensor, continuations: Sequence[Sequence[int]], softmax_dtype: torch.dtype | None
    ) -> list[tuple[float, bool]]:
        """As ``score_pairs``, of some continuations; ``question_R`` has the number of the context of each."""
        longest = max(len(tokens) for tokens in continuations)
        target_RK = torch.tensor(
            [[*tokens] + [0] * (longest - len(tokens)) for tokens in continuations], device=question_R.device
        )
        last_QV, cache = self.read
        logit_RKV = last_QV[question_R, None]
        if longest > 1:
            if not rows_can_be_chosen(cache):
                raise NotShareableError
            cache = deepcopy(cache)
            cache.batch_select_indices(question_R)
            read_RK = target_RK[:, :-1]
            seen_RT = torch.cat([self.seen_QT[question_R], torch.ones_like(read_RK)], dim=1)
            how = {"attention_mask": seen_RT, "past_key_values": cache, "use_cache": True}
            how |= call_fields(self.model, seen_RT, read=longest - 1)
            logit_RKV = torch.cat([logit_RKV, self.model(input_ids=read_RK, **how).logits], dim=1)
        log_probability_RKV = torch.log_softmax(logit_RKV, dim=-1, dtype=softmax_dtype)
        found_RK = log_probability_RKV.gather(-1, target_RK[..., None])[..., 0]
        greedy_RK = log_probability_RKV.argmax(dim=-1) == target_RK
        return [
            (float(found_RK[row, : len(tokens)].sum()), bool(greedy_RK[row, : len(tokens)].all()))
            for row, tokens in enumerate(continuations)
        ]


def _read_contexts(model: "PreTrainedModel", context_QT: Tensor, seen_QT: Tensor) -> tuple[Tensor, Any]:
    """Logits after each context, and what the model keeps of it."""
    fields = call_fields(model, seen_QT, read=context_QT.shape[1], logits=1)
    output = model(input_ids=context_QT, attention_mask=seen_QT, use_cache=True, **fields)
    return output.logits[:, -1], getattr(output, "past_key_values", None)


def call_fields(model: "PreTrainedModel", seen_BT: Tensor, *, read: int, logits: int | None = None) -> dict[str, Any]:
    """What else a call of the model takes for rows that are padded on the left, as far as the model knows it.

    Args:
        model: Some count positions by the mask themselves, some compute all logits.
        seen_BT: 0 where padded.
        read: How many of the last tokens the call reads; those before are in its cache.
        logits: At how many of the last positions logits are wanted; None: at all that it reads.
    """
    known = inspect.signature(model.forward).parameters
    fields: dict[str, Any] = {}
    if "position_ids" in known:
        fields["position_ids"] = (seen_BT.cumsum(dim=-1) - 1).clamp(min=0)[:, -read:]
    if logits is not None and "logits_to_keep" in known:
        fields["logits_to_keep"] = logits
    return fields
