"""One face for every judge: a server or weights of one's own, asked to compare pairs by a protocol."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from plw.config.judge import JudgeConfig
from plw.evaluate.judging.alpaca_eval import judge_alpaca_eval
from plw.evaluate.judging.evaluator_folder import evaluator_folder
from plw.evaluate.judging.mt_bench import Grading, grade_dialogues
from plw.evaluate.judging.mt_bench_files import Dialogue, GradingPrompts
from plw.evaluate.judging.pairwise import Pair, PairwiseResult
from plw.evaluate.judging.pandalm import judge_pandalm
from plw.evaluate.judging.response_cache import ResponseCache
from plw.paths import judge_prompt_folder
from plw.progress import Progress


class Judge(Protocol):
    """Compares answers with references."""

    def compare(
        self, protocol: str, pairs: Sequence[Pair], *, replies: ResponseCache, work: Path, progress: Progress
    ) -> PairwiseResult:
        """The verdicts on all pairs and the win rate.

        Args:
            protocol: ``alpaca_eval`` or ``pandalm``.
            pairs: What is compared.
            replies: Log of what the judge has said before.
            work: Folder for the evaluator as it was used.
            progress: Called with how far it is.

        Raises:
            UserError: the judge does not know the protocol, or its prompt is missing.
            StageError: the server cannot be reached or refuses, or (``UnreadableError``) too many verdicts cannot be
                read.
        """

    def grade(
        self, dialogues: Sequence[Dialogue], *, prompts: GradingPrompts, replies: ResponseCache, progress: Progress
    ) -> Grading:
        """A score of every turn, by the protocol ``mt_bench``.

        Args:
            dialogues: What is graded.
            prompts: What the judge is asked with.
            replies: Log of what the judge has said before.
            progress: Called with how far it is.

        Raises:
            UserError: the judge does not know the protocol.
            StageError: as ``compare``.
        """


class ServedJudge:
    """A judge behind an OpenAI-compatible address."""

    def __init__(self, judge: JudgeConfig, base_url: str) -> None:
        self._judge = judge
        self._base_url = base_url

    def compare(
        self, protocol: str, pairs: Sequence[Pair], *, replies: ResponseCache, work: Path, progress: Progress
    ) -> PairwiseResult:
        """As ``Judge`` says."""
        if protocol == "pandalm":
            prompts = judge_prompt_folder() / "pandalm"
            return judge_pandalm(
                pairs, self._judge, self._base_url, prompts=prompts, replies=replies, progress=progress
            )
        return judge_alpaca_eval(
            pairs,
            self._judge,
            self._base_url,
            evaluator=evaluator_folder(self._judge.evaluator),
            work=work,
            replies=replies,
            progress=progress,
        )

    def grade(
        self, dialogues: Sequence[Dialogue], *, prompts: GradingPrompts, replies: ResponseCache, progress: Progress
    ) -> Grading:
        """As ``Judge`` says."""
        return grade_dialogues(
            dialogues, self._judge, self._base_url, prompts=prompts, replies=replies, progress=progress
        )
