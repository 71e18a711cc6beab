"""The collator: rows of tokens become a padded or packed batch that carries the weight of each token."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from plw.errors import UserError, named, shortened
from plw.integrations.weighting import IGNORED, LOSS_WEIGHTS, BatchWeighting

ROW_WEIGHTS = "token_weights"
"""Key of a row that has a number for each of its tokens."""
ROW_MASK = "attention_mask"
"""Key of a row that says which places hold a token (1) and which padding (0)."""
COMPLETION_MASKS = ("completion_mask", "assistant_masks")
"""Keys of a row that say which tokens are a completion's (1); where it has both, those of both are, as in TRL."""
ROW_POSITIONS = "position_ids"
"""Key of a row that numbers its tokens."""
PER_TOKEN = ("input_ids", "labels", *COMPLETION_MASKS, ROW_WEIGHTS, ROW_MASK, ROW_POSITIONS)
"""Keys of a row whose lists have a value for each place."""


@dataclass(frozen=True, kw_only=True)
class PromptWeightCollator:
    """Makes batches of rows that say which of their tokens are completion.

    A row has ``input_ids`` and either ``completion_mask`` (1 for a completion's tokens, 0 for a prompt's), or the
    ``assistant_masks`` that transformers makes of a chat, or ``labels``
    (-100 for a prompt's), or both where they agree. It may have ``token_weights``, a number of 0 or more per token that
    multiplies its role's weight, and ``attention_mask``, 0 where a tokenizer has padded it: that padding is cut off. A
    row is one example.

    A batch has ``input_ids``, ``labels`` (-100 for all but completions), ``loss_weights`` (fp32, w of predicting each
    token) and ``attention_mask``; packed, one row with ``position_ids`` and the bounds that variable-length kernels ask
    for instead.
    """

    pad_token_id: int
    prompt_weight: float = 0.0
    response_weight: float = 1.0
    padding_free: bool = False
    """Put all rows into one without padding; positions restart at each."""

    def __post_init__(self) -> None:
        pad = self.pad_token_id
        if isinstance(pad, bool) or not isinstance(pad, Integral) or pad < 0:
            raise UserError(
                f"pad_token_id={shortened(repr(pad), 40)} is no token; give the id of any, since padding is never read"
            )
        self._weighting()

    def _weighting(self) -> BatchWeighting:
        return BatchWeighting(prompt_weight=self.prompt_weight, response_weight=self.response_weight)

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """The batch.

        Raises:
            UserError: a row without a mask of completions and ``labels``, lists of unlike lengths or of something else
                than numbers, masks of more than 0 and 1, labels of other tokens than the row's, a weight of a token
                that is no finite number of 0 or more, an ``attention_mask`` that is more than padding, or a row of
                several examples.
        """
        rows = [unpadded(row) for row in rows]
        for row in rows:
            _check_one_example(row)
        tokens = [_numbers(row, "input_ids").long() for row in rows]
        labels = [row_labels(row) for row in rows]
        scales = [_scale(row, token_T) for row, token_T in zip(rows, tokens, strict=True)]
        if self.padding_free:
            batch = _packed(tokens, labels)
            scale_BT = torch.cat(scales)[None]
        else:
            batch = _padded(tokens, labels, self.pad_token_id)
            scale_BT = pad_sequence(scales, batch_first=True)
        return {**batch, LOSS_WEIGHTS: self._weighting().token_weights(batch) * scale_BT}


def unpadded(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """A row without the padding that its ``attention_mask`` marks: labels of -100 there would else be a prompt's.

    Raises:
        UserError: the mask has another length than ``input_ids``, leaves nothing, or leaves out what stands between
            tokens.
    """
    if row.get(ROW_MASK) is None or "input_ids" not in row:
        return row
    there_T = _mask(row, ROW_MASK, _numbers(row, "input_ids"), "a row is one example, so there is no third number")
    if there_T.all():
        return row
    places = there_T.nonzero().flatten().tolist()
    if not places:
        raise UserError(f"a row's {ROW_MASK} is 0 at every token; leave the row out")
    kept = slice(places[0], places[-1] + 1)
    if not there_T[kept].all():
        raise UserError(
            f"a row's {ROW_MASK} is 0 at token {places[0] + int((~there_T[kept]).nonzero()[0])}, between others; "
            "allowed: 0 for padding at the ends of a row"
        )
    cut = {}
    for name in PER_TOKEN:
        if row.get(name) is not None:
            _same_length(row, name, there_T)
            cut[name] = row[name][kept]
    return {**row, **cut}


def row_labels(row: Mapping[str, Any]) -> Tensor:
    """A row's tokens where they are completion, ``IGNORED`` elsewhere.

    Raises:
        UserError: it has no mask of completions and no ``labels``, both that disagree, a mask of more than 0 and
            1, or labels of other tokens than ``input_ids``.
    """
    token_T = _numbers(row, "input_ids").long()
    masks = [name for name in COMPLETION_MASKS if row.get(name) is not None]
    has_labels = row.get("labels") is not None
    if not masks and not has_labels:
        raise UserError(
            f"a row has no {', no '.join(COMPLETION_MASKS)} and no labels (fields found: {named(row)}); one of them "
            "has to say which tokens are the prompt"
        )
    label_T = _same_length(row, "labels", token_T).long() if has_labels else token_T
    if masks:
        hint = f"what a token counts stands in {ROW_WEIGHTS}"
        masked_T = torch.stack([_mask(row, name, token_T, hint) for name in masks]).all(dim=0)
        other_T = masked_T != (label_T != IGNORED)
        if has_labels and other_T.any():
            place = int(other_T.nonzero()[0])
            raise UserError(f"a row's {' and '.join(masks)} and labels disagree at token {place}; leave one out")
        label_T = torch.where(masked_T, label_T, IGNORED)
    other_T = (label_T != IGNORED) & (label_T != token_T)
    if other_T.any():
        place = int(other_T.nonzero()[0])
        raise UserError(
            f"a row's labels have {int(label_T[place])} at token {place}, where its input_ids have "
            f"{int(token_T[place])}; allowed: that token, not shifted, or {IGNORED}"
        )
    return label_T


def _check_one_example(row: Mapping[str, Any]) -> None:
    """That a row's positions, if any, are those of one example."""
    if row.get(ROW_POSITIONS) is None:
        return
    position_T = _same_length(row, ROW_POSITIONS, _numbers(row, "input_ids"))
    other_T = position_T != torch.arange(len(position_T))
    if other_T.any():
        place = int(other_T.nonzero()[0])
        raise UserError(
            f"a row's {ROW_POSITIONS} have {int(position_T[place])} at token {place}; allowed: 0, 1, 2 and so on, "
            "since a row is one example, and padding_free=True puts several into one"
        )


def _mask(row: Mapping[str, Any], name: str, token_T: Tensor, hint: str) -> Tensor:
    """A row's mask, bool."""
    value_T = _same_length(row, name, token_T)
    wrong = ((value_T != 0) & (value_T != 1)).nonzero()
    if len(wrong):
        place = int(wrong[0])
        raise UserError(f"a row's {name} has {value_T[place].item():g} at token {place}; allowed: 0 and 1 ({hint})")
    return value_T.bool()


def _scale(row: Mapping[str, Any], token_T: Tensor) -> Tensor:
    if row.get(ROW_WEIGHTS) is None:
        return torch.ones(len(token_T))
    given_T = _same_length(row, ROW_WEIGHTS, token_T)
    if given_T.dtype == torch.bool:
        raise UserError(f"a row's {ROW_WEIGHTS} are true and false; give numbers, such as 1 and 0")
    scale_T = given_T.float()
    wrong = (~(scale_T.isfinite() & (scale_T >= 0))).nonzero()
    if len(wrong):
        place = int(wrong[0])
        raise UserError(
            f"a row's {ROW_WEIGHTS} has {scale_T[place]:g} at token {place}; allowed: finite numbers of 0 or more"
        )
    return scale_T


def _same_length(row: Mapping[str, Any], name: str, token_T: Tensor) -> Tensor:
    values_T = _numbers(row, name)
    if len(values_T) != len(token_T):
        raise UserError(f"a row has {len(token_T)} input_ids but {len(values_T)} {name}; give one for each token")
    return values_T


def _numbers(row: Mapping[str, Any], name: str) -> Tensor:
    """A row's list of numbers as a tensor."""
    if name not in row:
        raise UserError(f"a row has no {name} (fields found: {named(row)}); give a number for each token")
    try:
        values_T = torch.as_tensor(row[name])
    except (TypeError, ValueError, RuntimeError):
        raise UserError(_no_numbers(row[name], name)) from None
    if values_T.ndim != 1:
        raise UserError(f"a row's {name} has {values_T.ndim} axes; give one number for each token")
    return values_T


def _no_numbers(values: Any, name: str) -> str:
    """What is said of a list in which something is no number: the first such thing."""
    if isinstance(values, Sequence) and not isinstance(values, str):
        for place, value in enumerate(values):
            if not isinstance(value, Real):
                return f"a row's {name} has {shortened(repr(value), 40)} at token {place}; allowed: numbers"
    return f"a row's {name} is {shortened(repr(values), 40)}; give a list of numbers, one for each token"


def _padded(tokens: list[Tensor], labels: list[Tensor], pad_token_id: int) -> dict[str, Any]:
    return {
        "input_ids": pad_sequence(tokens, batch_first=True, padding_value=pad_token_id),
        "attention_mask": pad_sequence([torch.ones_like(token_T) for token_T in tokens], batch_first=True),
        "labels": pad_sequence(labels, batch_first=True, padding_value=IGNORED),
    }


def _packed(tokens: list[Tensor], labels: list[Tensor]) -> dict[str, Any]:
    lengths = torch.tensor([len(token_T) for token_T in tokens])
    bound_E = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)]).to(torch.int32)
    longest = int(lengths.max())
    return {
        "input_ids": torch.cat(tokens)[None],
        "position_ids": torch.cat([torch.arange(len(token_T)) for token_T in tokens])[None],
        "labels": torch.cat(labels)[None],
        "cu_seq_lens_q": bound_E,
        "cu_seq_lens_k": bound_E,
        "max_length_q": longest,
        "max_length_k": longest,
        "seq_idx": torch.repeat_interleave(torch.arange(len(tokens), dtype=torch.int32), lengths)[None],
    }
