"""Encoding: the segments of an example become one row of tokens with a role each, cut at the maximum length."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from plw.config.loss import RESPONSE_ROLES, ROLES
from plw.data.spans import last_characters, read_roles, read_weights
from plw.data.template import Segment
from plw.data.tokenizer import starting_tokens, tokenise
from plw.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PROMPT, COMPLETION = ROLES.index("user"), ROLES.index("assistant")
IS_COMPLETION_R = np.array([role in RESPONSE_ROLES for role in ROLES])
"""Which roles are a completion's, by their numbers."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EncodedExample:
    """Tokens of an example and the role of each, by its place in ``ROLES``; EOS is the assistant's.

    Where roles were not told apart all of a prompt is PROMPT (the user's) and all of a completion COMPLETION.
    """

    token_T: NDArray[np.int32]
    role_T: NDArray[np.uint8]
    weight_T: NDArray[np.float64] | None = None
    """What the data themselves say that predicting each token counts; None: 1 for all."""
    where: str = ""
    """File and row of its record, for messages."""


@dataclass(frozen=True, kw_only=True)
class EncodedDataset:
    """Examples in the order of their records, and what the maximum length did to them."""

    examples: list[EncodedExample]
    truncated: int
    """Examples that lost tokens at the end."""
    without_completion: int
    """Examples that have no completion token, mostly because the prompt alone fills the maximum length."""


def encode(
    examples: Sequence[Sequence[Segment]],
    tokenizer: "PreTrainedTokenizerBase",
    *,
    max_length: int,
    end_of_sequence: bool = True,
    eos_marker: str | None = None,
    fine_roles: bool = False,
    where: Sequence[str] | None = None,
) -> EncodedDataset:
    """Tokenise examples as Stanford Alpaca does.

    The text of an example is tokenised as a whole. A segment's tokens end where the text up to its end, tokenised
    alone, ends: so the completion starts after as many tokens as the prompt has alone, even where the tokenizer would
    join the last letter of the prompt with the first of the completion. BOS stands once in front if the tokenizer
    adds one; EOS follows each completion if ``end_of_sequence``. Tokens beyond ``max_length`` are dropped, so a prompt
    of ``max_length`` or more loses its completion.

    Args:
        examples: Segments of each example.
        tokenizer: Its vocabulary, BOS and EOS.
        max_length: Tokens of an example that are kept.
        end_of_sequence: Whether EOS follows each completion.
        eos_marker: Text inside completions that is EOS; where one ends in it, no other EOS follows.
        fine_roles: Tell a prompt's roles apart, and thinking from answers, as far as the segments do.
        where: File and row of each example, for messages.

    Raises:
        UserError: EOS is asked for and the tokenizer has none.
    """
    end = _end_of_sequence(tokenizer, "template.end_of_sequence=true") if end_of_sequence else ""
    texts, ends_E = [], []
    closed = [[_is_closed(segment, eos_marker) for segment in segments] for segments in examples]
    if eos_marker is not None:
        examples = [[_with_eos(segment, eos_marker, tokenizer) for segment in segments] for segments in examples]
    for segments, closed_S in zip(examples, closed, strict=True):
        pieces = [
            segment.text + ("" if is_closed else end) for segment, is_closed in zip(segments, closed_S, strict=True)
        ]
        texts.append("".join(pieces))
        ends_E.append(np.cumsum([len(piece) for piece in pieces]).tolist())
    rows = tokenise(texts, tokenizer)
    # The last end of an example is the end of its row: only the inner ones need the text up to there.
    inner = [text[:end] for text, ends in zip(texts, ends_E, strict=True) for end in ends[:-1]]
    inner_lengths = iter([len(row) for row in tokenise(inner, tokenizer)])
    encoded, truncated = [], 0
    places = [""] * len(texts) if where is None else where
    for segments, ends, row, place in zip(examples, ends_E, rows, places, strict=True):
        lengths = [next(inner_lengths) for _ in ends[:-1]]
        encoded.append(_example(segments, lengths, row[:max_length], place))
        truncated += len(row) > max_length
    if fine_roles or any(segment.has_weights for segments in examples for segment in segments):
        lasts = last_characters(texts, rows, tokenizer)
        starts = starting_tokens(tokenizer) if fine_roles else None
        encoded = [
            _refined(example, segments, ends, last_T[:max_length], starts)
            for example, segments, ends, last_T in zip(encoded, examples, ends_E, lasts, strict=True)
        ]
    return EncodedDataset(
        examples=encoded,
        truncated=truncated,
        without_completion=sum(not IS_COMPLETION_R[example.role_T].any() for example in encoded),
    )


def _example(
    segments: Sequence[Segment], inner_lengths: Sequence[int], row: Sequence[int], where: str
) -> EncodedExample:
    token_T = np.array(row, dtype=np.int32)
    role_T = np.empty(len(row), dtype=np.uint8)
    starts = [0, *inner_lengths]
    for segment, first, last in zip(segments, starts, [*inner_lengths, len(row)], strict=True):
        role_T[first:last] = COMPLETION if segment.role == "completion" else PROMPT
    return EncodedExample(token_T=token_T, role_T=role_T, where=where)


def _refined(
    example: EncodedExample,
    segments: Sequence[Segment],
    ends: Sequence[int],
    last_T: NDArray[np.int64],
    starts: list[int] | None,
) -> EncodedExample:
    """The example with the roles inside its segments, where ``starts`` gives BOS, and the data's weights, if any."""
    has_weights, role_T = any(segment.has_weights for segment in segments), example.role_T
    if starts is not None:
        role_T = read_roles(segments, ends, last_T, role_T, np.isin(example.token_T, starts))
    return replace(
        example,
        role_T=role_T,
        weight_T=read_weights(segments, ends, last_T) if has_weights else None,
    )


def _is_closed(segment: Segment, eos_marker: str | None) -> bool:
    """Whether no EOS is to follow: the segment is a prompt, or ends in the data's own."""
    return segment.role != "completion" or (eos_marker is not None and segment.text.endswith(eos_marker))


def _with_eos(segment: Segment, marker: str, tokenizer: "PreTrainedTokenizerBase") -> Segment:
    """A completion with EOS where the marker stands, its stretches moved with the text; a prompt as it is."""
    if segment.role != "completion" or marker not in segment.text:
        return segment
    eos = _end_of_sequence(tokenizer, f"template.eos_marker={marker}")
    bounds = [match.span() for match in re.finditer(re.escape(marker), segment.text)]

    def moved(place: int) -> int:
        before = [(start, end) for start, end in bounds if start < place]
        # A stretch that ends inside a marker does not reach its EOS, and one that begins there has it.
        if before and place < before[-1][1]:
            place = before.pop()[0]
        return place + len(before) * (len(eos) - len(marker))

    spans = tuple(replace(span, start=moved(span.start), end=moved(span.end)) for span in segment.spans)
    return replace(segment, text=segment.text.replace(marker, eos), spans=spans)


def _end_of_sequence(tokenizer: "PreTrainedTokenizerBase", asked: str) -> str:
    if tokenizer.eos_token is None:
        raise UserError(f"{asked}, but the tokenizer has no EOS token; leave it out or give one")
    return str(tokenizer.eos_token)
