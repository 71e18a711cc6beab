"""Decoding by transformers' ``generate`` in stretches, between which the rows that have ended leave the batch.

``generate`` computes every row until the longest answer ends; where answers differ in length, most of that is thrown
away.
"""

from collections.abc import Callable, Sequence
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
    decoding: dict[str, Any],
    pad: int,
    ends: Sequence[int],
    processors: Sequence[RowProcessor],
    say: Callable[[str], None],
) -> list[list[int]]:
    """The tokens that the model adds to each row, an end token and padding included.

    Args:
        model: in evaluation mode.
        token_BT: the prompts' tokens, padded on the left.
        mask_BT: 0 where padded.
        decoding: fields of transformers' ``GenerationConfig``, ``num_beams`` and ``max_new_tokens`` among them. A beam
            search is one stretch.
        pad: token to fill up with.
        ends: tokens that end an answer.
        processors: of the scores.
        say: told, a word a second, how many tokens have been written.
    """
    most, width = decoding["max_new_tokens"], token_BT.shape[1]
    progress = TokenProgress(say, most)
    end_E = torch.tensor(ends, dtype=torch.int64, device=token_BT.device)
    stretch = STRETCH if decoding["num_beams"] == 1 else most
    written: list[list[int]] = [[]] * len(token_BT)
    rows, left = _Rows(place_B=list(range(len(token_BT))), token_BT=token_BT, mask_BT=mask_BT), most
    while rows.place_B:
        config = GenerationConfig(  # type: ignore[no-untyped-call]
            **decoding | {"max_new_tokens": min(stretch, left)},
            do_sample=False,
            early_stopping=decoding["num_beams"] > 1,
            pad_token_id=pad,
            eos_token_id=list(ends) or None,
            return_dict_in_generate=True,
        )
        rows = _continued(model, rows, config, processors, progress)
        for place, tokens in zip(rows.place_B, rows.token_BT[:, width:].tolist(), strict=True):
            written[place] = tokens
        left = width + most - rows.token_BT.shape[1]
        if left == 0:
            break
        if rows.cache is None:
            stretch = most
        rows = _without_ended(rows, width, end_E, processors)
    return written


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
    return replace(rows, token_BT=token_BT, mask_BT=mask_BT, cache=cache if _rows_can_leave(cache) else None)


def _rows_can_leave(cache: Any) -> bool:
    """Whether the cache is one that transformers takes up again and that rows can be taken from."""
    plain = (DynamicLayer, DynamicSlidingWindowLayer)
    return type(cache) is DynamicCache and all(type(layer) in plain for layer in cache.layers)


def _without_ended(rows: _Rows, width: int, end_E: Tensor, processors: Sequence[RowProcessor]) -> _Rows:
    going_B = torch.isin(rows.token_BT[:, width:], end_E).any(dim=1).logical_not()
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
