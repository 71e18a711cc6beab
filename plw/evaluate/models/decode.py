"""Decoding by transformers' ``generate`` in stretches, between which the rows that have ended leave the batch.

``generate`` computes every row until the longest answer ends; where answers differ in length, most of that is thrown
away.
"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor
from transformers import DynamicCache, GenerationConfig, LogitsProcessorList, StoppingCriteriaList
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from plw.evaluate.models.token_progress import TokenProgress

if TYPE_CHECKING:
    from transformers import PreTrainedModel

STRETCH = 32
"""Tokens after which rows that have ended leave; 16 and 64 take as long (docs/benchmarks.md)."""


class RowProcessor(Protocol):
    """Changes the scores [rows, vocabulary] before a token is chosen, each row's on its own."""

    def __call__(self, token_BT: Tensor, score_BV: Tensor, /) -> Tensor:
        """The new scores."""
        ...

    def keep(self, rows: Sequence[int]) -> None:
        """Only these of the rows are left from now on, in this order."""
        ...


@dataclass(frozen=True, kw_only=True)
class _Rows:
    """Answers under way."""

    place_B: list[int]
    """Which of the prompts each row continues."""
    token_BT: Tensor
    mask_BT: Tensor
    """0 where padded; the last tokens are all seen."""
    cache: Any = None
    """What the model keeps of all but the last token; None: nothing, so it reads them all again."""


def decode(
    model: "PreTrainedModel",
    token_BT: Tensor,
    mask_BT: Tensor,
    *,
    config: GenerationConfig,
    has_ended: Callable[[Tensor], Tensor],
    processors: Sequence[RowProcessor] = (),
    say: Callable[[str], None] = lambda _: None,
) -> list[list[int]]:
    """The tokens that the model adds to each row, an end token and padding included.

    Args:
        model: in evaluation mode.
        token_BT: the prompts' tokens, padded on the left.
        mask_BT: 0 where padded.
        config: what ``generate`` is to do, ``max_new_tokens`` among it; what is not set there is the model's own. A
            beam search is one stretch, and so is what counts its tokens from the prompt, such as a least length.
        has_ended: of the new tokens of some rows, whether each row has all that is read of it.
        processors: of the scores.
        say: told, a word a second, how many tokens have been written.
    """
    most, width = config.max_new_tokens, token_BT.shape[1]
    progress = TokenProgress(say, most)
    one_by_one = (config.num_beams or 1) == 1 and not _counts_from_prompt(model.generation_config)
    stretch = STRETCH if one_by_one else most
    written: list[list[int]] = [[]] * len(token_BT)
    rows, left = _Rows(place_B=list(range(len(token_BT))), token_BT=token_BT, mask_BT=mask_BT), most
    while rows.place_B:
        part = deepcopy(config)
        part.update(max_new_tokens=min(stretch, left), return_dict_in_generate=True)  # type: ignore[no-untyped-call]
        rows = _continued(model, rows, part, processors, progress)
        for place, tokens in zip(rows.place_B, rows.token_BT[:, width:].tolist(), strict=True):
            written[place] = tokens
        left = width + most - rows.token_BT.shape[1]
        if left == 0:
            break
        if rows.cache is None:
            stretch = most
        rows = _going_on(rows, has_ended(rows.token_BT[:, width:]).logical_not(), processors)
    return written


def holds_any(token_BT: Tensor, ends: Sequence[int]) -> Tensor:
    """Which rows have one of these tokens."""
    return torch.isin(token_BT, torch.tensor(ends, dtype=torch.int64, device=token_BT.device)).any(dim=1)


def _counts_from_prompt(config: GenerationConfig) -> bool:
    return any(
        getattr(config, name, None)
        for name in (
            "min_length",
            "min_new_tokens",
            "begin_suppress_tokens",
            "forced_bos_token_id",
            "forced_eos_token_id",
            "exponential_decay_length_penalty",
        )
    )


def _continued(
    model: "PreTrainedModel",
    rows: _Rows,
    config: GenerationConfig,
    processors: Sequence[RowProcessor],
    progress: TokenProgress,
) -> _Rows:
    with torch.inference_mode():
        output: Any = model.generate(  # type: ignore[operator]
            input_ids=rows.token_BT,
            attention_mask=rows.mask_BT,
            generation_config=config,
            logits_processor=LogitsProcessorList(processors),
            stopping_criteria=StoppingCriteriaList([progress]),
            past_key_values=rows.cache,
        )
    token_BT, cache = output.sequences, output.past_key_values
    new = token_BT.shape[1] - rows.token_BT.shape[1]
    mask_BT = torch.nn.functional.pad(rows.mask_BT, (0, new), value=1)
    return replace(rows, token_BT=token_BT, mask_BT=mask_BT, cache=cache if rows_can_be_chosen(cache) else None)


def rows_can_be_chosen(cache: Any) -> bool:
    """Whether the cache is one that transformers takes up again and that rows can be taken from."""
    plain = (DynamicLayer, DynamicSlidingWindowLayer)
    return type(cache) is DynamicCache and all(type(layer) in plain for layer in cache.layers)


def _going_on(rows: _Rows, going_B: Tensor, processors: Sequence[RowProcessor]) -> _Rows:
    if going_B.all():
        return rows
    going_K = going_B.nonzero().squeeze(1)
    kept = going_K.tolist()
    if kept and rows.cache is not None:
        rows.cache.batch_select_indices(going_K)
    for processor in processors:
        processor.keep(kept)
    return _Rows(
        place_B=[rows.place_B[row] for row in kept],
        token_BT=rows.token_BT[going_K],
        mask_BT=rows.mask_BT[going_K],
        cache=rows.cache,
    )
