"""MT-Bench by single-answer grading: each turn of a dialogue gets a score from 1 to 10 (arXiv 2306.05685).

Prompts, the files' forms and the patterns of a score are those of its authors' code (lm-sys/FastChat): questions of
maths, reasoning and coding are graded beside a reference answer; the second turn is graded with the first in sight;
scores that cannot be read drop out of the means, which pool both turns. :func:`parse_score` is pure.
"""

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from plw.config.judge import JudgeConfig
from plw.errors import StageError, UnreadableError
from plw.evaluate.judging.client import JudgeClient
from plw.evaluate.judging.mt_bench_files import TURN_SCORES, Dialogue, GradingPrompts
from plw.evaluate.judging.response_cache import ResponseCache
from plw.progress import Progress, no_progress
from plw.results.score import Score, clustered_mean_and_error

SCORE_PATTERNS = (re.compile(r"\[\[(\d+\.?\d*)\]\]"), re.compile(r"\[(\d+\.?\d*)\]"))
"""Of a score, in the order in which they are tried."""
HIGHEST = 10.0
HIGHEST_PERCENT = 100.0
GRADE_METRIC = "mt_bench"


def parse_score(reply: str) -> float | None:
    """The score in a judge's words: the first in double brackets, else the first in single ones; None where none is.

    Scores are not checked against the scale. Digits that are no number in Python's eyes, as ``[[07]]``, are none, nor
    are those of which no float can be made.
    """
    for pattern in SCORE_PATTERNS:
        if match := pattern.search(reply):
            try:
                return float(ast.literal_eval(match[1]))
            except (SyntaxError, ValueError, OverflowError):
                return None
    return None


@dataclass(frozen=True, kw_only=True)
class TurnGrade:
    """What the judge said of one turn."""

    question: int
    """Place of the dialogue, from 0."""
    turn: int
    """From 1."""
    category: str
    score: float | None
    """None where the words hold no score from 0 to 10."""
    reply: str


@dataclass(frozen=True, kw_only=True)
class Grading:
    """The grades of all turns."""

    grades: list[TurnGrade]
    library_version: str

    @property
    def unparsed(self) -> int:
        """Turns without a score."""
        return sum(grade.score is None for grade in self.grades)

    def scores(self, suite: str, benchmark: str, judge: JudgeConfig) -> list[Score]:
        """Ten times the mean score (headline), then the means from 1 to 10: of all, by turn, by category.

        Standard errors are over questions, whose turns hang together.
        """
        shared: dict[str, Any] = {
            "suite": suite,
            "benchmark": benchmark,
            "judge": judge.name,
            "judge_version": judge.version,
            "library_version": self.library_version,
        }
        parts = {"score": self.grades}
        for grade in self.grades:
            for name in (f"score_{TURN_SCORES[grade.turn - 1]}", f"score_{grade.category}"):
                parts[name] = [*parts.get(name, []), grade]
        made = []
        for name, grades in parts.items():
            found = [(grade.score, grade.question) for grade in grades if grade.score is not None]
            if found:
                # The turns of a question are graded alike; as if independent their error would be too small.
                mean, stderr = clustered_mean_and_error(*zip(*found, strict=True))
                made.append(
                    Score(metric=name, value=mean, stderr=stderr, n=len(found), higher_is_better=True, **shared)
                )
        overall = made[0]
        scale = HIGHEST_PERCENT / HIGHEST
        headline = Score(
            metric=GRADE_METRIC,
            value=scale * overall.value,
            stderr=None if overall.stderr is None else scale * overall.stderr,
            n=overall.n,
            headline=True,
            higher_is_better=True,
            **shared,
        )
        unparsed = Score(metric="unparsed", value=float(self.unparsed), n=len(self.grades), **shared)
        return [headline, *made, unparsed]


def grade_dialogues(
    dialogues: Sequence[Dialogue],
    judge: JudgeConfig,
    base_url: str,
    *,
    prompts: GradingPrompts,
    replies: ResponseCache | None = None,
    progress: Progress = no_progress,
) -> Grading:
    """Ask the judge for a score of every turn.

    Args:
        dialogues: Questions with the model's answers.
        judge: Model name, token limit, concurrency, and the share of unreadable scores that is allowed.
        base_url: OpenAI-compatible server, such as ``http://127.0.0.1:8000/v1``.
        prompts: What the judge is asked with.
        replies: Log of what the judge has said before; nothing in it is asked again.
        progress: Called with the requests done.

    Raises:
        StageError: there is nothing to grade, the server cannot be reached or refuses, or (``UnreadableError``) too
            many scores cannot be read.
    """
    turns = [
        (place, turn, dialogue)
        for place, dialogue in enumerate(dialogues)
        for turn in range(1, len(dialogue.answers) + 1)
    ]
    if not turns:
        raise StageError(f"judge {judge.name}: no dialogues to grade")
    chats = [prompts.messages(dialogue, turn) for _, turn, dialogue in turns]
    names = [f"{dialogue.where}, turn {turn}" for _, turn, dialogue in turns]
    with JudgeClient(judge, base_url, replies) as client:
        said = client.chat_all(chats, names, progress, "MT-Bench")
    grades = [
        TurnGrade(question=place, turn=turn, category=dialogue.category, score=_on_scale(reply), reply=reply)
        for (place, turn, dialogue), reply in zip(turns, said, strict=True)
    ]
    with client.telling_why():
        _check_readable(grades, judge)
    return Grading(grades=grades, library_version=f"httpx {version('httpx')}")


def _on_scale(reply: str) -> float | None:
    score = parse_score(reply)
    return score if score is not None and 0 <= score <= HIGHEST else None


def _check_readable(grades: Sequence[TurnGrade], judge: JudgeConfig) -> None:
    unread = [grade for grade in grades if grade.score is None]
    share = len(unread) / len(grades)
    if len(unread) == len(grades) or share > judge.max_unparsed:
        raise UnreadableError.quoting(
            f"judge {judge.name}: {len(unread)} of {len(grades)} scores cannot be read ({share:.1%}, allowed "
            f"{judge.max_unparsed:.1%})",
            [grade.reply for grade in unread],
        )
