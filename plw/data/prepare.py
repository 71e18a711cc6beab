"""From a dataset's config and files to what training and reports need of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from plw.config.training import DatasetConfig, TemplateConfig
from plw.data.encoding import EncodedExample, encode
from plw.data.inversion import short, to_ratio
from plw.data.records import AlpacaRecord, Record, load_records
from plw.data.render import Renderer
from plw.data.sources import content_hash
from plw.data.statistics import DatasetStatistics, dataset_statistics
from plw.data.weights import negative_weight
from plw.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, kw_only=True)
class PreparedData:
    """The records that are trained on, after inversion, their encoding (same order) and their statistics."""

    records: list[Record]
    encoded: list[EncodedExample]
    end_tokens: list[int]
    """Tokens that the template puts after an answer, beside the tokenizer's EOS."""
    held_out: list[EncodedExample]
    """Examples of ``dataset.held_out`` records that are in none of the other fields."""
    statistics: DatasetStatistics
    truncated: int
    """Examples that lost tokens to the maximum length."""
    without_completion: int
    """Examples without a completion token."""
    content: str
    """SHA-256 of the files that were read."""


def prepare(
    dataset: DatasetConfig,
    files: Path | Sequence[Path],
    template: TemplateConfig,
    tokenizer: "PreTrainedTokenizerBase",
    *,
    max_length: int,
    seed: int,
    fine_roles: bool = False,
) -> PreparedData:
    """Load, sample, limit, invert, split off what is held out, encode and measure.

    Args:
        dataset: what is done to the records.
        files: the file itself, or several, as ``dataset.path`` may name a place elsewhere.
        template: texts around the fields.
        tokenizer: counts and encodes.
        max_length: tokens of an example.
        seed: chooses the records that ``inversion=ratio`` inverts.
        fine_roles: tell all roles apart, not prompt and completion alone.

    Raises:
        UserError: a mistake in a file, a ratio that its records cannot reach, or no record left to train on.
    """
    files = [files] if isinstance(files, Path) else files
    records, held_out_records = split_held_out(load_dataset(dataset, files, tokenizer, seed=seed), dataset.held_out)
    renderer = Renderer(template, tokenizer)
    encoded, held_out = (
        encode(
            [renderer.segments(record) for record in part],
            tokenizer,
            max_length=max_length,
            end_of_sequence=template.end_of_sequence,
            eos_marker=template.eos_marker,
            fine_roles=fine_roles,
            where=[record.where for record in part],
        )
        for part in (records, held_out_records)
    )
    return PreparedData(
        records=records,
        encoded=encoded.examples,
        end_tokens=renderer.end_tokens,
        held_out=held_out.examples,
        statistics=dataset_statistics(records, tokenizer),
        truncated=encoded.truncated,
        without_completion=encoded.without_completion,
        content=content_hash(files),
    )


def load_dataset(
    dataset: DatasetConfig, files: Path | Sequence[Path], tokenizer: "PreTrainedTokenizerBase", *, seed: int
) -> list[Record]:
    """The dataset's records: read, sampled, limited and inverted, in this order.

    Raises:
        UserError: a mistake in a file, a sample larger than it, or a ratio that its records cannot reach.
    """
    records = load_records(files, dataset.format, dataset.columns)
    return apply_inversion(sample(records, dataset.sample)[: dataset.limit], dataset, tokenizer, seed)


def sample(records: list[Record], size: int | None) -> list[Record]:
    """``size`` records drawn at random without repetition, in the order of the file; all if None.

    Which ones depends on the two numbers alone, not on a cell's seed, so that cells can be compared.

    Raises:
        UserError: there are not so many.
    """
    if size is None:
        return records
    if size > len(records):
        raise UserError(f"dataset.sample={size} is more than the dataset's {len(records)} records")
    chosen = np.random.default_rng([len(records), size]).choice(len(records), size=size, replace=False)
    return [records[row] for row in sorted(chosen.tolist())]


def split_held_out(records: Sequence[Record], held_out: int) -> tuple[list[Record], list[Record]]:
    """The records to train on and ``held_out`` others, both in the order of the file.

    Which ones depends on the number of records alone, not on a cell's seed, so that cells can be compared.

    Raises:
        UserError: nothing would be left to train on.
    """
    if held_out >= len(records):
        raise UserError(
            f"dataset.held_out={held_out} leaves nothing of the dataset's {len(records)} records to train on; "
            f"allowed: 0 to {len(records) - 1}"
        )
    chosen = set(np.random.default_rng(len(records)).permutation(len(records))[:held_out].tolist())
    parts: tuple[list[Record], list[Record]] = [], []
    for row, record in enumerate(records):
        parts[row in chosen].append(record)
    return parts


def check_weights(records: Sequence[Record], *, allow_negative: bool) -> None:
    """Compare the weights that the data give with what a training takes; it would find the same, much later.

    Raises:
        UserError: one is below 0 and that is not allowed, or all are 0; the line names file and row.
    """
    for record in records:
        lowest = min(record.weight * weight for weight in _weights(record))
        if lowest < 0 and not allow_negative:
            raise UserError(negative_weight(record.where, lowest))
    if records and not any(record.weight for record in records):
        raise UserError(
            f"all {len(records)} records to train on, from {records[0].where} on, have weight 0; there is nothing to "
            "learn"
        )


def _weights(record: Record) -> list[float]:
    """What the parts of a record count beside the record's own weight."""
    if isinstance(record, AlpacaRecord):
        return [1.0, *(span.weight for span in record.spans)]
    return [
        message.weight * weight
        for message in record.messages
        for weight in (1.0, *(span.weight for span in message.spans))
    ]


def apply_inversion(
    records: Sequence[Record], dataset: DatasetConfig, tokenizer: "PreTrainedTokenizerBase", seed: int
) -> list[Record]:
    """The records after ``dataset.inversion``."""
    if dataset.inversion == "none":
        return list(records)
    alpaca = [record for record in records if isinstance(record, AlpacaRecord)]
    if marked := [record for record in alpaca if record.spans]:
        raise UserError(
            f"{marked[0].where}: spans with weights do not go with dataset.inversion={dataset.inversion}, which moves "
            "their texts; leave out dataset.columns.spans"
        )
    if talks := [record for record in alpaca if record.system or record.history]:
        field = "history" if talks[0].history else "system"
        raise UserError(
            f"{talks[0].where}: field '{field}' does not go with dataset.inversion={dataset.inversion}, whose records "
            "have one instruction and one answer; leave the field out of the data"
        )
    if len(alpaca) < len(records):
        raise UserError(f"dataset.inversion={dataset.inversion} needs dataset.format=alpaca, found {dataset.format}")
    if dataset.inversion == "short":
        return list(short(alpaca, tokenizer))
    if dataset.inversion == "ratio" and dataset.target_ratio is not None:
        return list(to_ratio(alpaca, dataset.target_ratio, tokenizer, seed))
    raise UserError(
        f"dataset.inversion={dataset.inversion} is not known; allowed: none, short, ratio with a target_ratio"
    )
