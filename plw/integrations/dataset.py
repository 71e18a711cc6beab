"""What a trainer's data are: their columns, and whether these tell a prompt from a completion."""

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from typing import Any

from plw.data.weights import MESSAGE_WEIGHTS, SWITCHES
from plw.errors import UserError, named
from plw.integrations.collator import COMPLETION_MASKS, PER_TOKEN, ROW_MASK, ROW_WEIGHTS, row_labels, unpadded

TELLING = (("prompt", "completion"), ("completion_mask",), ("assistant_masks",), ("labels",))
"""Columns that say which tokens are the prompt; one of these sets is needed."""
CHATS = ("messages", "prompt", "completion", "conversations")
"""Columns that may be lists of messages."""
UNREAD = (*MESSAGE_WEIGHTS, *SWITCHES, "spans")
"""Fields of a message that say what it counts; TRL reads none of them."""


def each_dataset(data: Any, change: Callable[[Any], Any]) -> Any:
    """``change`` of a dataset, or of each in a dict of them; None stays."""
    if data is None or isinstance(data, str):
        return data
    return {name: change(part) for name, part in data.items()} if isinstance(data, dict) else change(data)


def columns_of(dataset: Any) -> Collection[str] | None:
    """The names of a dataset's fields; None where a row would have to be taken from a stream to know them."""
    columns = getattr(dataset, "column_names", None)
    if columns is not None:
        return list(columns)
    if hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__") and len(dataset):
        row = dataset[0]
        return list(row) if isinstance(row, Mapping) else None
    return None


def checked_for_trl(dataset: Any, *, assistant_only: bool, weights_are_read: bool, is_flat: bool) -> Any:
    """The dataset, of which TRL will know the prompts and of which nothing is left unread, without padding.

    Of a stream whose columns are not known each row is looked at when it is read, and no row is taken from it before.

    Args:
        dataset: of ``datasets``.
        assistant_only: whether a chat's template says what the assistant writes (``assistant_only_loss``).
        weights_are_read: whether the collator reads ``token_weights``.
        is_flat: whether TRL puts the examples of a batch into one row, and so reads where they begin.

    Raises:
        UserError: nothing tells prompt from completion, or there are weights or bounds of examples that would go
            without effect.
    """
    check = partial(_check_columns, assistant_only=assistant_only, weights_are_read=weights_are_read, is_flat=is_flat)
    columns = columns_of(dataset)
    if columns is not None:
        check(columns)
        features = getattr(dataset, "features", None) or {}
        for name in CHATS:
            _check_message(name, _message_fields(features.get(name)))
        return dataset.map(_checked_row) if _is_to_be_read(columns, features) else dataset
    return dataset.map(partial(_check_row, check=check)) if hasattr(dataset, "map") else dataset


def cut_weights(row: Mapping[str, Any], *, kept: slice) -> dict[str, Any]:
    """A row's ``token_weights`` for the tokens that TRL keeps of it."""
    weights = row.get(ROW_WEIGHTS)
    if weights is None:
        return {}
    if len(weights) != len(row["input_ids"]):
        raise UserError(
            f"a row has {len(row['input_ids'])} input_ids but {len(weights)} {ROW_WEIGHTS}; give one for each token"
        )
    return {ROW_WEIGHTS: weights[kept]}


def _check_row(row: Mapping[str, Any], *, check: Callable[[Collection[str]], None]) -> dict[str, Any]:
    check(list(row))
    for name in CHATS:
        messages = row.get(name)
        if isinstance(messages, list):
            given = {key for message in messages if isinstance(message, Mapping) for key, value in message.items()
                     if value is not None}  # fmt: skip
            _check_message(name, given)
    return _checked_row(row)


def _is_to_be_read(columns: Collection[str], features: Mapping[str, Any]) -> bool:
    """Whether rows of tokens may have padding, two answers to what is prompt, or a mask of fractions.

    TRL reads labels and leaves the mask of completions, takes a fraction for 1, and what pads a row for its prompt.
    """
    masks = [name for name in COMPLETION_MASKS if name in columns]
    kinds = [str(getattr(getattr(features.get(name), "feature", None), "dtype", "")) for name in masks]
    return "input_ids" in columns and (
        ROW_MASK in columns or bool(masks and "labels" in columns) or any(kind.startswith("float") for kind in kinds)
    )


def _checked_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """What changes in a row when its padding is cut off; its masks and labels are looked at."""
    kept = unpadded(row)
    if "input_ids" in kept and any(kept.get(name) is not None for name in (*COMPLETION_MASKS, "labels")):
        row_labels(kept)
    return {} if kept is row else {name: kept[name] for name in PER_TOKEN if kept.get(name) is not None}


def _check_columns(columns: Collection[str], *, assistant_only: bool, weights_are_read: bool, is_flat: bool) -> None:
    tells = any(set(group) <= set(columns) for group in TELLING) or ("messages" in columns and assistant_only)
    if not tells:
        raise UserError(
            f"nothing in the data tells prompt from completion (columns found: {named(columns)}); give prompt and "
            "completion, input_ids with completion_mask or labels, or messages with assistant_only_loss=True"
        )
    if "seq_lengths" in columns and not is_flat:
        raise UserError(
            "the data have seq_lengths, of rows of several examples, which TRL reads with padding_free=True alone; "
            "give that, or rows of one example"
        )
    if ROW_WEIGHTS not in columns:
        return
    if "input_ids" not in columns:
        raise UserError(
            f"the data have {ROW_WEIGHTS} but no input_ids (columns found: {named(columns)}); a number per token "
            "needs the tokens, or remove the column"
        )
    if not weights_are_read:
        raise UserError(
            f"the data have {ROW_WEIGHTS}, which TRL's collator and its packing do not read; give data_collator="
            "PromptWeightCollator(pad_token_id=...) with the trainer's weights and without packing and padding_free of "
            "SFTConfig, or remove the column"
        )


def _check_message(column: str, fields: Iterable[str]) -> None:
    found = [name for name in UNREAD if name in set(fields)]
    if found:
        raise UserError(
            f"messages in column {column} have {named(found)}, which TRL does not read; remove it, or give input_ids "
            f"with completion_mask and {ROW_WEIGHTS}"
        )


def _message_fields(feature: Any) -> Iterable[str]:
    """Names of the fields of a column's messages, from what ``datasets`` knows of its type."""
    inner = feature[0] if isinstance(feature, list) and feature else getattr(feature, "feature", feature)
    return inner if isinstance(inner, Mapping) else ()
