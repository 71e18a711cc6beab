"""What the judge stage does: each set of answers compared with references, or graded, by the judge."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from plw.config.evaluation import MT_BENCH
from plw.files.writing import write_json_atomic
from plw.pipeline.context import CellContext, CheckLease
from plw.pipeline.dialogues import grade_answers
from plw.pipeline.stage import StageResult
from plw.results.items import ITEMS, ItemRow, write_items
from plw.results.score import Score

if TYPE_CHECKING:
    from plw.evaluate.judging.pairwise import Pair
    from plw.evaluate.judging.response_cache import ResponseCache

READ_ARE_KEPT = "replies that can be read are kept, the same command asks for the others again"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class _Judged:
    """What the judge said of one benchmark's answers."""

    scores: Sequence[Score]
    items: Sequence[ItemRow]
    verdicts: list[dict[str, Any]]
    """Rows of the file that the stage leaves."""
    counts: dict[str, Any]
    """How many there are, and of how many the judge said nothing that could be read; for the record."""


def judge_answers(context: CellContext, check_lease: CheckLease) -> StageResult:
    """Each set of answers that the judge knows a protocol for, against references; leaves every verdict.

    Killed, it goes on with the replies that it has; those that could not be read are asked for anew.
    """
    from plw.errors import UnreadableError
    from plw.evaluate.judging.response_cache import ResponseCache
    from plw.evaluate.judging.responses import served, words_of_kept

    folder, result = context.cell.stages["judge"].folder, StageResult()
    judge, counts = context.config.judge, dict[str, dict[str, Any]]()
    of_weights = judge.kind == "weights"
    items: list[ItemRow] = []
    for name, item in context.config.judged.items():
        with ResponseCache(folder / f"{name}.replies.jsonl") as replies:
            result.temp_files.append(replies.path)
            try:
                judged = (_graded if item.protocol == MT_BENCH else _compared)(context, name, replies, check_lease)
            except UnreadableError as error:
                replies.forget(error.replies, str if of_weights else words_of_kept)
                raise UnreadableError(f"{error}; {READ_ARE_KEPT}", error.replies) from None
            by_server = {} if of_weights else served(replies.replies())
        result.scores += judged.scores
        items += judged.items
        check_lease()
        write_json_atomic(folder / f"{name}.json", judged.verdicts)
        counts[name] = judged.counts | by_server
        if len(models := by_server.get("models", [])) > 1:
            logger.warning("%s: judge %s answered as several models: %s", name, judge.name, ", ".join(models))
    check_lease()
    write_items(folder / ITEMS, items)
    result.details["judged"] = counts
    return result


def _graded(context: CellContext, benchmark: str, replies: "ResponseCache", check_lease: CheckLease) -> _Judged:
    """Of dialogues: the judge's grade of every turn."""
    grading, verdicts, items = grade_answers(context, benchmark, replies, check_lease)
    return _Judged(
        scores=grading.scores(context.config.suite.name, benchmark, context.config.judge),
        items=items,
        verdicts=verdicts,
        counts={"turns": len(verdicts), "unparsed": grading.unparsed},
    )


def _compared(context: CellContext, benchmark: str, replies: "ResponseCache", check_lease: CheckLease) -> _Judged:
    """Of single answers: which of two the judge prefers."""
    from plw.pipeline.prompt_items import verdict_items

    config, protocol = context.config, context.config.judged[benchmark].protocol
    comparison = context.judge.compare(
        protocol,
        _pairs(context, benchmark),
        replies=replies,
        work=context.cell.stages["judge"].folder / "evaluator",
        progress=context.progress_for("judge", check_lease),
    )
    return _Judged(
        scores=comparison.scores(config.suite.name, benchmark, config.judge),
        items=list(verdict_items(benchmark, protocol, context.prompts(benchmark), comparison.verdicts)),
        verdicts=[
            {"points": verdict.points, "conflict": verdict.conflict, "replies": list(verdict.replies)}
            for verdict in comparison.verdicts
        ],
        counts={"pairs": comparison.n_total, "unparsed": comparison.unparsed, "conflicts": comparison.conflicts},
    )


def _pairs(context: CellContext, benchmark: str) -> "list[Pair]":
    """The prompts with the model's answers and those that they are compared with."""
    from plw.evaluate.judging.pairwise import Pair

    rows = zip(context.prompts(benchmark), context.answers(benchmark), context.references(benchmark), strict=True)
    return [
        Pair(
            instruction=prompt.asked,
            input=prompt.input,
            answer=answer["output"],
            reference=reference,
            where=f"suite.prompts.{benchmark}, row {number}",
        )
        for number, (prompt, answer, reference) in enumerate(rows, start=1)
    ]
