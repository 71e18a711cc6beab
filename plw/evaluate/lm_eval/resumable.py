"""The harness's batches of requests, those left out whose answers are in the log of an earlier, killed process."""

import hashlib
import json
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

from plw.evaluate.lm_eval.answer_log import AnswerLog
from plw.evaluate.lm_eval.patches import patched_collator


@dataclass(kw_only=True)
class _Batch:
    """A batch of this process, in the order in which the model takes them."""

    key: str
    requests: list[Any]
    """What is answered: more than the model reads where several requests differ in their last token alone."""
    places: list[int] | None
    """Of the requests in the call, where lm-eval notes them as they are answered."""
    sampled: bool
    answers: list[Any] | None
    """From the log; None where the model is to compute them."""
    kept: bool = False
    """Whether the log has the answers."""


@contextmanager
def resumable(log: AnswerLog) -> Iterator[None]:
    """lm-eval's transformers models compute only what the log lacks while the block runs, and fill it."""
    with patched_collator(partial(_collator, log)):
        yield


def is_sampled(batch: Sequence[Any]) -> bool:
    """Whether a batch of generations draws random numbers; a batch of (request, tokens, tokens) draws none."""
    how = batch[0][-1]
    return isinstance(how, dict) and bool(how.get("do_sample") or how.get("temperature"))


def _collator(log: AnswerLog, original: Any) -> Any:
    """lm-eval's maker of batches, which hands on those that are to be computed and puts all answers together."""

    class Collator(original):  # type: ignore[misc]
        def get_batched(self, *arguments: Any, **named: Any) -> Iterator[Any]:
            batches = list(super().get_batched(*arguments, **named))
            self._batches = [self._looked_up(batch) for batch in batches]
            there = sum(len(found.answers) for found in self._batches if found.answers is not None)
            log.begin(len(self), there)
            for batch, found in zip(batches, self._batches, strict=True):
                if found.answers is None:
                    log.heard()
                    yield batch
                    # Windows of a whole document are not told to the hook: those answers come with get_original.
                    self._keep(found, log.heard())
                elif found.sampled:
                    log.follow(found.key)

        def get_original(self, newarr: list[Any]) -> list[Any]:
            computed, answers = iter(newarr), []
            for found in self._batches:
                if found.answers is None:
                    found.answers = list(islice(computed, len(found.requests)))
                    if not found.kept:
                        self._keep(found, found.answers)
                answers += found.answers
            if self._group_by == "contexts":
                self._reorder_indices = [place for found in self._batches for place in found.places or ()]
            return super().get_original(answers)  # type: ignore[no-any-return]

        def _looked_up(self, batch: list[Any]) -> _Batch:
            requests, places = batch, None
            if self._group_by == "contexts":
                groups = [self._arr_with_indices[tuple(self._group_fn((0, request)))] for request in batch]
                places, requests = map(list, zip(*(pair for group in groups for pair in group), strict=True))
            key, sampled = log.key(_digest(requests)), is_sampled(batch)
            answers = log.recall(key, len(requests), sampled=sampled)
            return _Batch(key=key, requests=requests, places=places, sampled=sampled, answers=answers)

        def _keep(self, found: _Batch, answers: list[Any]) -> None:
            if len(answers) == len(found.requests):
                log.put(found.key, answers, sampled=found.sampled)
                found.kept = True

    return Collator


def _digest(requests: Sequence[Any]) -> str:
    """SHA-256 of what the model is asked: contexts and how to go on, or contexts and continuations in tokens."""
    digest = hashlib.sha256()
    for request in requests:
        if isinstance(request[-1], dict):
            digest.update(json.dumps(request, sort_keys=True, default=str).encode() + b"\n")
        else:
            _, context, continuation = request
            digest.update(array("q", [len(context), len(continuation), *context, *continuation]).tobytes())
    return digest.hexdigest()
