"""How long the fields and the examples of a dataset are, and what a maximum length would cut off."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from plw.config.training import TemplateConfig
from plw.data.encoding import IS_COMPLETION_R, encode
from plw.data.records import Record
from plw.data.render import Renderer
from plw.data.statistics import DatasetStatistics, FieldLengths, field_lengths, table_row
from plw.progress import Progress, no_progress

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SLICE = 1000
"""Records tokenised between two words of progress."""
UNCUT = 1 << 40
QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """Lengths in tokens. Fields stand alone, without template; examples are whole, with template and special tokens."""

    fields: FieldLengths
    example_E: NDArray[np.int64]
    """Tokens of each example before anything is cut."""
    first_completion_E: NDArray[np.int64]
    """Place of each example's first completion token, from 0; the example's length where it has none."""
    max_length: int

    @property
    def statistics(self) -> DatasetStatistics:
        """The row of Table 1."""
        return table_row(self.fields)

    @property
    def truncated(self) -> int:
        """Examples that lose tokens to the maximum length."""
        return int((self.example_E > self.max_length).sum())

    @property
    def without_completion(self) -> int:
        """Examples that keep no completion token."""
        return int((self.first_completion_E >= np.minimum(self.example_E, self.max_length)).sum())

    def quantiles(self) -> dict[str, dict[str, float]]:
        """Lengths of prompts (instruction and input), completions and whole examples: quantile -> tokens."""
        lengths = {"prompt": self.fields.prompt_E, "completion": self.fields.completion_E, "example": self.example_E}
        return {
            name: {f"{q:g}": float(np.quantile(length_E, q)) for q in QUANTILES} for name, length_E in lengths.items()
        }

    def to_dict(self) -> dict[str, Any]:
        """Plain types; what does not exist is None."""
        return {
            **self.statistics.to_dict(),
            "max_length": self.max_length,
            "truncated": self.truncated,
            "without_completion": self.without_completion,
            "quantiles": self.quantiles(),
        }


def measure(
    records: Sequence[Record],
    template: TemplateConfig,
    tokenizer: "PreTrainedTokenizerBase",
    *,
    max_length: int,
    progress: Progress = no_progress,
) -> Measurement:
    """Measure at least one record.

    Args:
        records: after sampling and inversion.
        template: texts around the fields of an example.
        tokenizer: counts.
        max_length: tokens of an example in training.
        progress: is told the records done.
    """
    fields: list[FieldLengths] = []
    renderer = Renderer(template, tokenizer)
    example_E, first_E = [], []
    for start in range(0, len(records), SLICE):
        part = records[start : start + SLICE]
        fields.append(field_lengths(part, tokenizer))
        segments = [renderer.segments(record) for record in part]
        encoded = encode(
            segments,
            tokenizer,
            max_length=UNCUT,
            end_of_sequence=template.end_of_sequence,
            eos_marker=template.eos_marker,
        )
        for example in encoded.examples:
            completion_N = np.flatnonzero(IS_COMPLETION_R[example.role_T])
            example_E.append(len(example.token_T))
            first_E.append(int(completion_N[0]) if len(completion_N) else len(example.token_T))
        progress(min(start + SLICE, len(records)), len(records), "tokenising")
    return Measurement(
        fields=FieldLengths(
            instruction_E=np.concatenate([part.instruction_E for part in fields]),
            input_E=np.concatenate([part.input_E for part in fields]),
            completion_E=np.concatenate([part.completion_E for part in fields]),
        ),
        example_E=np.array(example_E, dtype=np.int64),
        first_completion_E=np.array(first_E, dtype=np.int64),
        max_length=max_length,
    )
