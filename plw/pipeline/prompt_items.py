"""Items of long generations: the length of each answer, and what a judge said of it."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from plw.data.prompts import PromptRecord
from plw.items import ItemRow, document_hash

if TYPE_CHECKING:
    from plw.evaluate.judging.pairwise import Verdict
    from plw.evaluate.models.protocol import Generation

PERCENT = 100.0


def answer_items(
    benchmark: str, protocol: str, prompts: Sequence[PromptRecord], answers: "Sequence[Generation]"
) -> Iterator[ItemRow]:
    """Tokens and words of each answer, and whether the model ended it."""
    measured = (
        ("tokens", [float(answer.tokens) for answer in answers]),
        ("words", [float(len(answer.text.split())) for answer in answers]),
        ("finished", [float(answer.finished) for answer in answers]),
    )
    for metric, values in measured:
        for number, (digest, value) in enumerate(zip(_hashes(prompts), values, strict=True)):
            yield ItemRow(benchmark=benchmark, task=protocol, item=number, item_hash=digest, metric=metric, value=value)


def verdict_items(
    benchmark: str, protocol: str, prompts: Sequence[PromptRecord], verdicts: "Sequence[Verdict]"
) -> Iterator[ItemRow]:
    """The points of each prompt as the win rate counts them; null where the verdict could not be read."""
    for number, (digest, verdict) in enumerate(zip(_hashes(prompts), verdicts, strict=True)):
        yield ItemRow(
            benchmark=benchmark,
            task=protocol,
            item=number,
            item_hash=digest,
            metric="win_rate",
            headline=True,
            value=None if verdict.points is None else PERCENT * verdict.points,
            higher_is_better=True,
        )


def _hashes(prompts: Sequence[PromptRecord]) -> list[str]:
    return [document_hash({"instruction": prompt.instruction, "input": prompt.input}) for prompt in prompts]
