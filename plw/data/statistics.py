"""Token statistics of a dataset: the row of the PLW paper's Table 1, and R_g, the generation ratio."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from plw.data.records import AlpacaRecord, ChatRecord, Record

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


OVERLAP_RECORDS = 5_000
"""Records that the overlap of prompt and completion is measured on, about; it is a mean."""


@dataclass(frozen=True, kw_only=True)
class FieldLengths:
    """Tokens of each field of each record, tokenised alone, without special tokens and without the template."""

    instruction_E: NDArray[np.int64]
    input_E: NDArray[np.int64]
    completion_E: NDArray[np.int64]

    @property
    def prompt_E(self) -> NDArray[np.int64]:
        """Instruction and input together."""
        prompt_E: NDArray[np.int64] = self.instruction_E + self.input_E
        return prompt_E


@dataclass(frozen=True, kw_only=True)
class DatasetStatistics:
    """A row of Table 1. Means and standard deviations (population) are in tokens; the template does not count."""

    records: int
    instruction_mean: float
    instruction_sd: float
    input_mean: float
    input_sd: float
    completion_mean: float
    completion_sd: float
    total_tokens: int
    generation_ratio: float | None
    """R_g as the paper defines it: completion tokens / (instruction + input tokens). None without prompt tokens."""
    mean_of_ratios: float | None
    """The mean of the records' own ratios, over records that have a prompt. None where no record has one."""

    def to_dict(self) -> dict[str, Any]:
        """Plain types, ready for a record or a row."""
        return asdict(self)


def token_counts(texts: Sequence[str], tokenizer: "PreTrainedTokenizerBase") -> NDArray[np.int64]:
    """Tokens of each text without special tokens; texts that repeat are tokenised once."""
    # Fields repeat a lot: empty inputs, and the one instruction of an inverted dataset.
    unique = list(dict.fromkeys(texts))
    token_lists = tokenizer(unique, add_special_tokens=False)["input_ids"] if unique else []
    length = {text: len(tokens) for text, tokens in zip(unique, token_lists, strict=True)}
    return np.array([length[text] for text in texts], dtype=np.int64)


def field_lengths(records: Sequence[Record], tokenizer: "PreTrainedTokenizerBase") -> FieldLengths:
    """Lengths of the fields; of a chat, the assistant's words are completion and all other words are instruction.

    A record's system message and earlier turns count likewise.
    """
    alpaca = [_as_alpaca(record) for record in records]
    return FieldLengths(
        instruction_E=token_counts([record.instruction for record in alpaca], tokenizer),
        input_E=token_counts([record.input for record in alpaca], tokenizer),
        completion_E=token_counts([record.output for record in alpaca], tokenizer),
    )


def dataset_statistics(records: Sequence[Record], tokenizer: "PreTrainedTokenizerBase") -> DatasetStatistics:
    """The row of Table 1 for at least one record."""
    return table_row(field_lengths(records, tokenizer))


def table_row(lengths: FieldLengths) -> DatasetStatistics:
    """The row of Table 1 from the lengths of at least one record."""
    prompts = int(lengths.prompt_E.sum())
    completions = int(lengths.completion_E.sum())
    prompted_E = lengths.prompt_E > 0
    ratio_N = lengths.completion_E[prompted_E] / lengths.prompt_E[prompted_E]
    return DatasetStatistics(
        records=len(lengths.completion_E),
        instruction_mean=float(lengths.instruction_E.mean()),
        instruction_sd=float(lengths.instruction_E.std()),
        input_mean=float(lengths.input_E.mean()),
        input_sd=float(lengths.input_E.std()),
        completion_mean=float(lengths.completion_E.mean()),
        completion_sd=float(lengths.completion_E.std()),
        total_tokens=prompts + completions,
        generation_ratio=completions / prompts if prompts else None,
        mean_of_ratios=float(ratio_N.mean()) if len(ratio_N) else None,
    )


def bigram_overlap(records: Sequence[Record]) -> float | None:
    """Share of a completion's pairs of successive words that stand in its prompt too, mean over records.

    Words are split at white space and compared in lower case, so the number is the data's and no tokenizer's. At most
    ``OVERLAP_RECORDS``, spread evenly, are read. None where no completion has two words.
    """
    step = max(1, len(records) // OVERLAP_RECORDS)
    shares = []
    for record in map(_as_alpaca, records[::step]):
        asked, answered = _bigrams(f"{record.instruction} {record.input}"), _bigrams(record.output)
        if answered:
            known = set(asked)
            shares.append(sum(pair in known for pair in answered) / len(answered))
    return float(np.mean(shares)) if shares else None


def _bigrams(text: str) -> list[tuple[str, str]]:
    words = text.lower().split()
    return list(pairwise(words))


def generation_ratio(records: Sequence[Record], tokenizer: "PreTrainedTokenizerBase") -> float | None:
    """R_g: mean completion tokens / mean instruction and input tokens (PLW paper, section 4.1)."""
    return dataset_statistics(records, tokenizer).generation_ratio


def _as_alpaca(record: Record) -> AlpacaRecord:
    if isinstance(record, ChatRecord):
        # A space between messages, so that no token joins the words of two.
        asked = " ".join(message.content for message in record.messages if message.role != "assistant")
        answered = " ".join(message.content for message in record.messages if message.role == "assistant")
        return AlpacaRecord(instruction=asked, output=answered)
    if record.system or record.history:
        asked = " ".join([*filter(None, [record.system]), *(turn[0] for turn in record.history), record.instruction])
        answered = " ".join([*(turn[1] for turn in record.history), record.output])
        return AlpacaRecord(instruction=asked, input=record.input, output=answered)
    return record
