"""The PandaLM protocol: each pair judged in both orders, by the prompt that PandaLM-7B was trained on.

The first line of a reply is ``1``, ``2`` or ``tie``; anything else is no verdict (PandaLM's own code counts it as a
tie). Two replies become one verdict by the rule of the PandaLM paper (arXiv 2306.05087; its code asks in one order):
tie where both say tie, tie where both name the same position (a conflict), and otherwise the reply of the first order.
In the first order the evaluated model's answer is response 1, the reference response 2 (our choice; the paper does not
say).

:func:`combine_orders` and :func:`parse` are pure: stored verdicts of any judge can be fed through the same rule.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from plw.config.judge import JudgeConfig
from plw.errors import UserError
from plw.evaluate.judging.client import JudgeClient
from plw.evaluate.judging.escaping import escape
from plw.evaluate.judging.pairwise import DRAW, LOSS, WIN, Pair, PairwiseResult, Verdict, win_rate
from plw.evaluate.judging.response_cache import ResponseCache
from plw.progress import Progress, no_progress

TIE = 0
"""The label of a tie, as PandaLM's own files write it; 1 and 2 name the better response."""

_LABELS = {"1": 1, "2": 2, "tie": TIE}
_POINTS = {1: WIN, TIE: DRAW, 2: LOSS}


@dataclass(frozen=True, kw_only=True)
class PandaPrompt:
    """PandaLM's two prompt templates."""

    with_input: str
    without_input: str

    @classmethod
    def load(cls, folder: Path) -> "PandaPrompt":
        """Read ``with_input.txt`` and ``without_input.txt``.

        Raises:
            UserError: one of them is missing.
        """
        texts = {}
        for name in ("with_input", "without_input"):
            path = folder / f"{name}.txt"
            if not path.is_file():
                raise UserError(f"{path}: no such file; it holds a prompt of the PandaLM judge")
            texts[name] = path.read_text(encoding="utf-8")
        return cls(**texts)

    def build(self, pair: Pair, *, swapped: bool) -> str:
        """The judge's prompt; ``swapped`` shows the reference first."""
        template = self.with_input if pair.input else self.without_input
        first, second = (pair.reference, pair.answer) if swapped else (pair.answer, pair.reference)
        fields = {
            "instruction": pair.instruction,
            "input": pair.input,
            "response_1": first.strip(),
            "response_2": second.strip(),
        }
        # No template slot survives in a field, so the order of the replacements does not matter.
        for name, text in fields.items():
            template = template.replace(f"{{{name}}}", escape(text, self.with_input))
        return template


def parse(reply: str) -> int | None:
    """The label in a reply's first line: 1, 2 or ``TIE``; ``None`` for anything else."""
    first = reply.strip().split("\n", 1)[0].strip().lower()
    return _LABELS.get(first)


def combine_orders(first: int | None, swapped: int | None) -> tuple[int | None, bool]:
    """One label from the two orders, in terms of the first order, and whether they were in conflict.

    A pair with an unreadable reply in either order has no label.
    """
    if first is None or swapped is None:
        return None, False
    if first == swapped:
        return TIE, first != TIE
    return first, False


def verdict(first_reply: str, swapped_reply: str) -> Verdict:
    """The verdict on one pair from the judge's two replies."""
    label, conflict = combine_orders(parse(first_reply), parse(swapped_reply))
    replies = (first_reply, swapped_reply)
    return Verdict(
        points=None if label is None else _POINTS[label],
        replies=replies,
        unread=tuple(reply for reply in replies if parse(reply) is None),
        conflict=conflict,
    )


Answers = Callable[[Sequence[str], Progress], list[str]]
"""A judge's replies to prompts, in their order."""


def judge_pandalm(
    pairs: Sequence[Pair],
    judge: JudgeConfig,
    base_url: str,
    *,
    prompts: Path,
    replies: ResponseCache | None = None,
    progress: Progress = no_progress,
) -> PairwiseResult:
    """Win rate of the answers against the references by the judge of a server; see :func:`judge_both_orders`.

    Args:
        pairs: What is compared.
        judge: Model name, token limit, concurrency, and the share of unreadable verdicts that is allowed.
        base_url: OpenAI-compatible server, such as ``http://127.0.0.1:8000/v1``.
        prompts: Folder of the two prompt templates.
        replies: Log of what the judge has said before; nothing in it is asked again.
        progress: Called with the requests done.

    Raises:
        UserError: a prompt template is missing.
        StageError: the server cannot be reached or refuses, or (``UnreadableError``) too many verdicts cannot be read.
    """
    with JudgeClient(judge, base_url, replies) as client, client.telling_why():

        def ask_all(texts: Sequence[str], progress: Progress) -> list[str]:
            # Two prompts a pair, one after the other.
            names = [pair.where or f"pair {number}" for number, pair in enumerate(pairs, start=1) for _ in range(2)]
            return client.chat_all([[{"role": "user", "content": text}] for text in texts], names, progress, "PandaLM")

        library = f"httpx {version('httpx')}"
        return judge_both_orders(pairs, judge, ask_all, prompts=prompts, library_version=library, progress=progress)


def judge_both_orders(
    pairs: Sequence[Pair],
    judge: JudgeConfig,
    answers: Answers,
    *,
    prompts: Path,
    library_version: str,
    cut: Callable[[Sequence[str]], int] | None = None,
    progress: Progress = no_progress,
) -> PairwiseResult:
    """Win rate of the answers against the references, ties as half, each pair seen in both orders.

    Args:
        pairs: What is compared.
        judge: The share of unreadable verdicts that is allowed.
        answers: Who replies to the prompts.
        prompts: Folder of the two prompt templates.
        library_version: For the scores.
        cut: How many of the prompts do not fit the judge's context; ``None`` where that is not known.
        progress: Called with the requests done.

    Raises:
        UserError: a prompt template is missing.
        UnreadableError: too many verdicts cannot be read.
    """
    template = PandaPrompt.load(prompts)
    texts = [template.build(pair, swapped=swapped) for pair in pairs for swapped in (False, True)]
    replies = answers(texts, progress)
    verdicts = [verdict(first, swapped) for first, swapped in zip(replies[::2], replies[1::2], strict=True)]
    return win_rate(
        verdicts,
        judge,
        both_orders=True,
        cut=None if cut is None else cut(texts),
        library_version=library_version,
    )
