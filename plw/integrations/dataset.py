"""What a trainer's data are: their columns, and whether these tell a prompt from a completion."""

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from typing import Any

from plw.data.weights import MESSAGE_WEIGHTS
from plw.errors import UserError, named
from plw.integrations.collator import PER_TOKEN, ROW_MASK, ROW_WEIGHTS, unpadded

TELLING = (("prompt", "completion"), ("completion_mask",), ("assistant_masks",), ("labels",))
"""Columns that say which tokens are the prompt; one of these sets is needed."""
CHATS = ("messages", "prompt", "completion", "conversations")
"""Columns that may be lists of messages."""
UNREAD = (*MESSAGE_WEIGHTS, "train")
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


def checked_for_trl(dataset: Any, *, assistant_only: bool, weights_are_read: bool) -> Any:
    """The dataset, of which TRL will know the prompts and of which nothing is left unread, without padding.

    Of a stream whose columns are not known each row is looked at when it is read, and no row is taken from it before.

    Args:
        dataset: of ``datasets``.
        assistant_only: whether a chat's template says what the assistant writes (``assistant_only_loss``).
        weights_are_read: whether the collator reads ``token_weights``.

    Raises:
        UserError: nothing tells prompt from completion, or there are weights that would go without effect.
    """
    check = partial(_check_columns, assistant_only=assistant_only, weights_are_read=weights_are_read)
    columns = columns_of(dataset)
    if columns is not None:
        check(columns)
        features = getattr(dataset, "features", None) or {}
        for name in CHATS:
            _check_message(name, _message_fields(features.get(name)))
        # TRL does not read the mask: what pads a row would count as its prompt.
        return dataset.map(_cut_padding) if {"input_ids", ROW_MASK} <= set(columns) else dataset
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
    return _cut_padding(row)


def _cut_padding(row: Mapping[str, Any]) -> dict[str, Any]:
    """What changes in a row when its padding is cut off."""
    kept = unpadded(row)
    return {} if kept is row else {name: kept[name] for name in PER_TOKEN if kept.get(name) is not None}


def _check_columns(columns: Collection[str], *, assistant_only: bool, weights_are_read: bool) -> None:
    tells = any(set(group) <= set(columns) for group in TELLING) or ("messages" in columns and assistant_only)
    if not tells:
        raise UserError(
            f"nothing in the data tells prompt from completion (columns found: {named(columns)}); give prompt and "
            "completion, input_ids with completion_mask or labels, or messages with assistant_only_loss=True"
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
