"""What a model has answered so far in a harness stage: a killed stage continues, to equal scores and items.

lm-eval makes the same batches of the same requests each time. A batch whose answers are in the log is not computed
again; every other one is computed in the company that it had, so that no digit depends on where the stage was cut.
Each process appends to a file of its own, ``answers-<rank>.jsonl``, and reads everyone's.
"""

import logging
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from plw.evaluate.append_log import IDENTITY, AppendLog, read_log
from plw.evaluate.lm_eval.random_state import has_streams, random_state, restore_random_state
from plw.progress import Progress, count

logger = logging.getLogger(__name__)
ANSWER_FILES = "answers-*.jsonl"
CONTINUES = "continues"
"""Note of the progress that tells how many answers of a kind were there already."""
HEARD_REQUESTS = ("loglikelihood", "generate_until")
"""What lm-eval's hook is told of one answer of a batch; ``loglikelihood_rolling`` is made of several batches."""


def answer_files(folder: Path) -> list[Path]:
    """The log's files in a stage's folder."""
    return sorted(folder.glob(ANSWER_FILES))


def check_answer_files(folder: Path, identity: Mapping[str, Any]) -> None:
    """Remove files that are of no use, and say in a line what is there and what is not.

    Args:
        folder: The stage's.
        identity: What the answers depend on beside their batch.
    """
    found = 0
    for path in answer_files(folder):
        content = read_log(path)
        if content.identity != identity:
            logger.warning("%s: not the log of this stage with these libraries; its batches are computed anew", path)
            path.unlink()
            continue
        if content.broken:
            logger.warning("%s: %s cannot be read; computed anew", path, count(content.broken, "batch"))
        found += sum(len(value["answers"]) for key, value in content.values.items() if key != IDENTITY)
    if found:
        logger.info("%s: continues; %s of the model there already", folder, count(found, "answer"))


class AnswerLog:
    """Answers by batch, of this process and of those before it; lm-eval's hook for each answer as it comes.

    Args:
        folder: The stage's.
        identity: What the answers depend on beside their batch; files of another one are not read.
        rank: This process's number among those that share out the batches.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any], rank: int = 0) -> None:
        self._known: dict[str, Any] = {}
        for path in answer_files(folder):
            content = read_log(path)
            if content.identity == identity:
                self._known |= content.values
        self._log = AppendLog(folder / ANSWER_FILES.replace("*", str(rank)), identity)
        self._seen: Counter[str] = Counter()
        self._heard: list[Any] = []
        self._recalled = 0
        self._progress: Progress | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._log.__exit__(kind, error, trace)

    def progress(self, progress: Progress) -> Progress:
        """Passes progress on, with the answers that were there already among those done."""
        self._progress = progress
        return lambda done, total, note="": progress(min(total, done + self._recalled), total, note)

    def begin(self, total: int, recalled: int) -> None:
        """A kind of request begins, of which the log has ``recalled`` among this process's part of ``total``."""
        self._recalled = recalled
        if self._progress is not None and 0 < recalled < total:
            self._progress(recalled, total, CONTINUES)

    def key(self, digest: str) -> str:
        """The key of the next batch with this digest: equal batches follow on each other (repeated sampling)."""
        self._seen[digest] += 1
        return f"{digest}-{self._seen[digest]}"

    def recall(self, key: str, size: int, *, sampled: bool) -> list[Any] | None:
        """The answers of a batch; None where the log lacks them.

        Args:
            key: From :meth:`key`.
            size: Answers of the batch.
            sampled: Whether the batch draws random numbers.
        """
        found = self._known.get(key)
        if found is None or len(found["answers"]) != size or (sampled and not has_streams(found.get("random", ()))):
            return None
        return [tuple(answer) if isinstance(answer, list) else answer for answer in found["answers"]]

    def follow(self, key: str) -> None:
        """Go to the place in the stream of random numbers where a recalled batch left it."""
        restore_random_state(self._known[key]["random"])

    def add_partial(self, attr: str, req: Any, res: Any) -> None:  # noqa: ARG002 - the names are lm-eval's
        """Lm-eval's hook (``lm_eval.api.model.CacheHook``): one answer."""
        if attr in HEARD_REQUESTS:
            self._heard.append(res)

    def heard(self) -> list[Any]:
        """The answers that the hook was told since the last call."""
        heard, self._heard = self._heard, []
        return heard

    def put(self, key: str, answers: Sequence[Any], *, sampled: bool) -> None:
        """Remember a batch's answers, unless a number among them is none: that may be another's fault.

        Raises:
            OSError: the disk takes no more.
        """
        if all(isinstance(answer, str) or math.isfinite(answer[0]) for answer in answers):
            self._log.put(key, {"answers": list(answers)} | ({"random": random_state()} if sampled else {}))
