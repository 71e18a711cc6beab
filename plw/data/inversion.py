"""Prompt inversion: a long completion becomes the input, and the instruction that led to it becomes the completion.

The PLW paper (arXiv 2401.13586, section 4.1) makes AlpacaDataShort this way. How it made Medium and Tiny is not known;
`to_ratio` is our rule.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from plw.data.records import AlpacaRecord
from plw.data.statistics import FieldLengths, field_lengths
from plw.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

WITHOUT_CONTEXT = "Predict the prompt that generated the following AI output."
WITH_CONTEXT = "Predict the prompt that generated the below AI output given the following context. Context: "

RATIO_TOLERANCE = 0.02
"""Relative distance from the target within which `to_ratio` counts as having met it."""
KEPT_AT_LEAST = 0.25
"""Share of the records that `to_ratio` never goes below by leaving records out."""


def invert_record(record: AlpacaRecord) -> AlpacaRecord:
    """The record that asks which instruction produced the completion; an input is kept as context."""
    return AlpacaRecord(
        instruction=WITH_CONTEXT + record.input if record.input else WITHOUT_CONTEXT,
        input=record.output,
        output=record.instruction,
        weight=record.weight,
        where=record.where,
    )


def short(records: Sequence[AlpacaRecord], tokenizer: "PreTrainedTokenizerBase") -> list[AlpacaRecord]:
    """AlpacaDataShort: inverts every record whose completion has at least as many tokens as instruction and input."""
    inverted_E = _is_long(field_lengths(records, tokenizer))
    return [invert_record(r) if inverted else r for r, inverted in zip(records, inverted_E, strict=True)]


def to_ratio(
    records: Sequence[AlpacaRecord], target: float, tokenizer: "PreTrainedTokenizerBase", seed: int
) -> list[AlpacaRecord]:
    """Invert just enough records, then leave out as few as will do, so that R_g meets ``target`` within 2%.

    The rule, deterministic for a seed. Call C - target * P the excess of a record of C completion and P prompt tokens:
    R_g equals the target when the excesses sum to 0.

    1. Go through the records whose completion is at least as long as their prompt (those that the paper inverts) in an
       order shuffled by ``seed``. Invert a record if that brings the sum nearer to 0.
    2. If the sum is still more than half the tolerance away, go through all records, the greatest excess on the wrong
       side first. Leave a record out if that brings the sum nearer to 0. A quarter of the records always stays.

    The records that stay keep their order.

    Raises:
        UserError: the target cannot be met; the line says which ratios can.
    """
    plain, inverted = field_lengths(records, tokenizer), field_lengths([invert_record(r) for r in records], tokenizer)
    long_E = _is_long(plain)
    inverted_E = _choose_inverted(plain, inverted, long_E, target, seed)
    chosen = _choose(plain, inverted, inverted_E)
    kept_E = _choose_kept(chosen, target)
    ratio = float(chosen.completion_E[kept_E].sum() / chosen.prompt_E[kept_E].sum())
    if not abs(ratio / target - 1) <= RATIO_TOLERANCE:
        low = _extreme(_choose(plain, inverted, long_E), sign=1)
        high = _extreme(plain, sign=-1)
        raise UserError(
            f"dataset.target_ratio={target:g} cannot be met with these {len(records)} records (nearest: {ratio:.4g}); "
            f"inverting records, or leaving out up to {1 - KEPT_AT_LEAST:.0%} of them, reaches {low:.3g} to {high:.3g}"
        )
    return [invert_record(records[i]) if inverted_E[i] else records[i] for i in np.flatnonzero(kept_E).tolist()]


def _is_long(lengths: FieldLengths) -> NDArray[np.bool_]:
    return lengths.completion_E >= lengths.prompt_E


def _choose(plain: FieldLengths, inverted: FieldLengths, inverted_E: NDArray[np.bool_]) -> FieldLengths:
    return FieldLengths(
        instruction_E=np.where(inverted_E, inverted.instruction_E, plain.instruction_E),
        input_E=np.where(inverted_E, inverted.input_E, plain.input_E),
        completion_E=np.where(inverted_E, inverted.completion_E, plain.completion_E),
    )


def _excess(lengths: FieldLengths, target: float) -> NDArray[np.float64]:
    excess_E: NDArray[np.float64] = lengths.completion_E - target * lengths.prompt_E
    return excess_E


def _choose_inverted(
    plain: FieldLengths, inverted: FieldLengths, long_E: NDArray[np.bool_], target: float, seed: int
) -> NDArray[np.bool_]:
    change_E = _excess(inverted, target) - _excess(plain, target)
    total = float(_excess(plain, target).sum())
    chosen_E = np.zeros(len(long_E), dtype=bool)
    for index in np.random.default_rng(seed).permutation(np.flatnonzero(long_E)):
        if abs(total + change_E[index]) < abs(total):
            total += change_E[index]
            chosen_E[index] = True
    return chosen_E


def _choose_kept(lengths: FieldLengths, target: float) -> NDArray[np.bool_]:
    excess_E = _excess(lengths, target)
    total = float(excess_E.sum())
    prompt_tokens = float(lengths.prompt_E.sum())
    kept_E = np.ones(len(excess_E), dtype=bool)
    spare = len(excess_E) - _fewest(len(excess_E))
    for index in np.argsort(-np.sign(total) * excess_E, kind="stable"):
        if spare == 0 or abs(total) <= 0.5 * RATIO_TOLERANCE * target * prompt_tokens:
            break
        if abs(total - excess_E[index]) < abs(total):
            total -= excess_E[index]
            prompt_tokens -= lengths.prompt_E[index]
            kept_E[index] = False
            spare -= 1
    return kept_E


def _extreme(lengths: FieldLengths, sign: int) -> float:
    """The least (``sign`` 1) or greatest (-1) R_g of a subset as small as allowed, by Dinkelbach's iteration."""
    ratio = float(lengths.completion_E.sum() / max(1, lengths.prompt_E.sum()))
    for _ in range(100):
        chosen_N = np.argsort(sign * _excess(lengths, ratio), kind="stable")[: _fewest(len(lengths.prompt_E))]
        better = float(lengths.completion_E[chosen_N].sum() / max(1, lengths.prompt_E[chosen_N].sum()))
        if better == ratio:
            break
        ratio = better
    return ratio


def _fewest(records: int) -> int:
    return max(1, int(np.ceil(KEPT_AT_LEAST * records)))
