"""What both trainers refuse before they begin, because it would go without effect or change the loss unseen."""

import inspect
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from plw.config.loss import FactorConfig
from plw.errors import UserError, named, shortened
from plw.integrations.collator import COMPLETION_MASKS, ROW_WEIGHTS, PromptWeightCollator
from plw.integrations.weighting import BatchWeighting

ALL_TOKENS = (
    "transformers.DataCollatorForLanguageModeling",
    "transformers.DataCollatorForWholeWordMask",
    "transformers.DataCollatorForPermutationLanguageModeling",
)
"""Collators whose labels are all tokens, whatever the data say."""
FLATTENING = "transformers.DataCollatorWithFlattening"
ALL_TOKENS_WITHOUT_LABELS = (FLATTENING, "trl.DataCollatorForLanguageModeling")
"""Collators whose labels are those of the data, or all tokens where these have none."""
UNREAD_INPUTS = ("pixel_values", "pixel_values_videos", "input_features", "inputs_embeds", "seq_lengths")
"""Columns of pictures and sounds, and of the lengths of several examples in a row: our collator makes rows of text."""


def named_arguments(trainer: type, first: int, values: Sequence[Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of a trainer by name, from ``values`` by place, after the ``first`` ones, and ``given`` by name."""
    names = list(inspect.signature(trainer).parameters)[first:]
    if len(values) > len(names):
        raise TypeError(
            f"{trainer.__name__} takes {first + len(names)} arguments by place; {first + len(values)} given"
        )
    return dict(zip(names, values, strict=False)) | dict(given)


def check_factor(factor: Any) -> None:
    """That a factor is one, or None."""
    if not isinstance(factor, FactorConfig | None):
        raise UserError(
            f"factor={shortened(repr(factor), 60)} is no FactorConfig; give one of plw.config, such as "
            'FactorConfig(kind="power") for DFT'
        )


def check_loss_options(args: Any, options: Mapping[str, Any]) -> None:
    """That nothing else changes the loss or replaces it.

    Args:
        args: the trainer's; None for its defaults.
        options: further arguments of the trainer.
    """
    if getattr(args, "label_smoothing_factor", 0):
        raise UserError(
            f"label_smoothing_factor={args.label_smoothing_factor:g} does not go with a prompt weight; leave it out"
        )
    if options.get("compute_loss_func") is not None:
        raise UserError("compute_loss_func does not go with a prompt weight, which is a loss of its own; leave it out")


def check_collator(collator: Any, weighting: BatchWeighting) -> None:
    """That a collator has the trainer's weights, or none and the labels of the data.

    Args:
        collator: the one that was given, or None.
        weighting: the trainer's.
    """
    if isinstance(collator, PromptWeightCollator):
        for name in ("prompt_weight", "response_weight"):
            of_collator, of_trainer = getattr(collator, name), getattr(weighting, name)
            if of_collator != of_trainer:
                raise UserError(
                    f"{name}={of_collator:g} of the PromptWeightCollator is not the trainer's {name}="
                    f"{of_trainer:g}; give both the same"
                )
    elif _name(collator) in ALL_TOKENS:
        raise UserError(
            f"{_name(collator)} makes all tokens labels, so that none is a prompt; leave data_collator out, or give a "
            "PromptWeightCollator"
        )


def check_training_data(dataset: Any) -> None:
    """That one dataset is given to train on, not those of all splits, and that it has a row; None may be given too."""
    if isinstance(dataset, Mapping):
        raise UserError(f"train_dataset is a dict of datasets ({named(dataset)}); give one of them")
    check_rows_left(dataset)


def check_rows_left(dataset: Any, cause: str = "") -> None:
    """That some row is left to train on.

    Args:
        dataset: what is trained on; None, and a stream, are not looked at.
        cause: what may have left rows out, for the message.
    """
    if dataset is not None and hasattr(dataset, "__len__") and not len(dataset):
        raise UserError(f"train_dataset has no row to train on{cause}")


def packs_rows(collator: Any) -> bool:
    """Whether a collator puts several examples into one row."""
    return bool(getattr(collator, "padding_free", False)) or _name(collator) == FLATTENING


def check_columns(collator: Any, columns: Collection[str] | None) -> None:
    """That a collator reads what the data's columns say of their tokens.

    Args:
        collator: the one that makes the batches; None for the trainer's own.
        columns: names of the data's fields; None where these are not known.
    """
    if columns is None:
        return
    name = _name(collator)
    if collator is None or isinstance(collator, PromptWeightCollator):
        unread = [column for column in UNREAD_INPUTS if column in columns]
        if unread:
            raise UserError(
                f"the data have {named(unread)}, which PromptWeightCollator does not read; give rows of one example of "
                "text, or a data_collator of your own"
            )
    if name in ALL_TOKENS_WITHOUT_LABELS and "labels" not in columns:
        raise UserError(
            f"{name} makes all tokens labels where the data have none (columns found: {named(columns)}); give labels, "
            "or a PromptWeightCollator"
        )
    if ROW_WEIGHTS in columns and name.startswith(("transformers.", "trl.")):
        raise UserError(
            f"the data have {ROW_WEIGHTS}, which {name} does not read; give "
            "data_collator=PromptWeightCollator(pad_token_id=...) with the trainer's weights, or remove the column"
        )


def check_reads_tokens(collator: Any, columns: Collection[str]) -> None:
    """That rows have tokens, and a collator that reads what says which of them are completion.

    Args:
        collator: the one that makes the batches; None for the trainer's own.
        columns: names of the data's fields.
    """
    if (collator is None or isinstance(collator, PromptWeightCollator)) and "input_ids" not in columns:
        raise UserError(
            f"the data have no input_ids (columns found: {named(columns)}); give tokens with completion_mask or "
            "labels, or texts to PromptWeightedSFTTrainer"
        )
    masks, name = [column for column in COMPLETION_MASKS if column in columns], _name(collator)
    if masks and name.startswith("transformers.") and name != FLATTENING:
        raise UserError(
            f"the data have {named(masks)}, which {name} does not read; leave data_collator out, or give labels in "
            "their place"
        )


def _name(collator: Any) -> str:
    """The library and the name of a collator that comes from one; a user's own has another library's name."""
    kind = collator if inspect.isfunction(collator) else type(collator)
    return f"{kind.__module__.partition('.')[0]}.{kind.__qualname__}"
