"""Roles and weights of stretches of text, as tokens have them: from characters by the offsets of the whole text."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from plw.config.loss import RESPONSE_ROLES, ROLES
from plw.data.template import Segment
from plw.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

RESPONSE_NUMBERS = [ROLES.index(role) for role in RESPONSE_ROLES]


def last_characters(
    texts: Sequence[str], rows: Sequence[Sequence[int]], tokenizer: "PreTrainedTokenizerBase"
) -> list[NDArray[np.int64]]:
    """The last character of each token of each text; -1 for a BOS that stands before the text.

    Args:
        texts: as they were tokenised.
        rows: their tokens, BOS included where it was put in front.
        tokenizer: has to tell offsets.

    Raises:
        UserError: it does not.
    """
    if not tokenizer.is_fast:
        raise UserError(
            f"{tokenizer.name_or_path}: roles inside a prompt and weights from the data need a fast tokenizer, which "
            "says where its tokens stand; save it as tokenizer.json"
        )
    if not texts:
        return []
    offsets = tokenizer(list(texts), add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    found = []
    for row, pairs in zip(rows, offsets, strict=True):
        last_T = np.array([max(start, end - 1) for start, end in pairs], dtype=np.int64)
        found.append(np.concatenate([np.full(len(row) - len(last_T), -1, dtype=np.int64), last_T]))
    return found


def read_roles(
    segments: Sequence[Segment],
    ends: Sequence[int],
    last_T: NDArray[np.int64],
    role_T: NDArray[np.uint8],
    is_bos_T: NDArray[np.bool_],
) -> NDArray[np.uint8]:
    """Roles of the tokens, told apart within prompt and completion.

    Which tokens are prompt and which completion stays as it is. A token across two stretches has the role of its last
    character.

    Args:
        segments: of the example.
        ends: the character of the whole text after each segment.
        last_T: from ``last_characters``.
        role_T: the roles by segment.
        is_bos_T: which tokens are BOS; a template may write it before later turns too.
    """
    role_C = np.zeros(ends[-1], dtype=np.uint8)
    for segment, start, end in zip(segments, [0, *ends[:-1]], ends, strict=True):
        role_C[start:end] = ROLES.index("assistant" if segment.role == "completion" else "template")
        for span in segment.spans:
            role_C[start + span.start : min(end, start + span.end)] = ROLES.index(span.role)
    fine_T = np.where((last_T < 0) | is_bos_T, ROLES.index("bos"), role_C[last_T]).astype(np.uint8)
    response_T = np.isin(role_T, RESPONSE_NUMBERS)
    moved_T = np.isin(fine_T, RESPONSE_NUMBERS) != response_T
    fine_T[moved_T] = np.where(response_T[moved_T], ROLES.index("assistant"), ROLES.index("template"))
    return fine_T


def read_weights(segments: Sequence[Segment], ends: Sequence[int], last_T: NDArray[np.int64]) -> NDArray[np.float64]:
    """The data's weight of each token: of its segment, times those of the spans over its last character."""
    weight_C = np.ones(ends[-1])
    for segment, start, end in zip(segments, [0, *ends[:-1]], ends, strict=True):
        weight_C[start:end] = segment.weight
        for span in segment.spans:
            weight_C[start + span.start : min(end, start + span.end)] *= span.weight
    return np.where(last_T < 0, segments[0].weight if segments else 1.0, weight_C[last_T])
