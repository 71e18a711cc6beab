"""Parts of alpaca_eval that are replaced while it runs. Pairing, order, prompts, parsers and win rate stay its own."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any
from unittest import mock

from plw.evaluate.judging.request_pool import RequestPool
from plw.evaluate.quiet import quiet, tqdm_adapter
from plw.progress import Progress

Ask = Callable[[str | list[dict[str, str]], dict[str, Any]], dict[str, Any]]
"""(Prompt or chat messages, options of the request) -> the reply's choice, with ``text`` and ``total_tokens``."""

Replies = dict[tuple[str, str, str], str]
"""(Instruction, output 1, output 2) in the order of the pair, not of the prompt -> what the judge said."""

SWITCHED = "is_switched_outputs"
"""The library's column that says whether a prompt shows a pair's outputs in the other order."""
LIBRARY_OPTIONS = (
    "client_config_path", "client_kwargs", "n_retries", "sleep_time",
    "openai_api_keys", "openai_organization_ids", "openai_api_base",
)  # fmt: skip
"""Options of the library's own client, which are no part of a request."""


@contextmanager
def patched_alpaca_eval(ask: Ask, progress: Progress, replies: Replies) -> Iterator[Any]:
    """alpaca_eval, imported and running in silence, with five replacements; the block gets the library.

    - Requests go through ``ask``: the library's own sender counts a request without an answer as an empty one.
    - Its threads do not keep an interrupted process until their last reply.
    - The bar over the requests tells ``progress``.
    - A parser's 0 is a draw, as the library documents it, and other values outside [1, 2] are unreadable: the library
      ends in a bare AssertionError at both.
    - What the judge said of a pair is noted in ``replies``: of a verdict that cannot be read the library keeps none.
    """
    with ExitStack() as stack:
        stack.enter_context(_silent_root())
        stack.enter_context(quiet())
        root = logging.getLogger()
        level = root.level
        import alpaca_eval
        from alpaca_eval.annotators.base import SingleAnnotator
        from alpaca_eval.decoders import openai as decoder

        # Importing the library sets the root logger's level.
        root.setLevel(level)
        for owner, name, value in (
            (decoder, "_openai_completion_helper", _sender(ask)),
            (decoder, "ThreadPoolExecutor", RequestPool),
            (decoder, "tqdm", SimpleNamespace(tqdm=tqdm_adapter(progress))),
            (SingleAnnotator, "_parse_completions", _parsing(SingleAnnotator._parse_completions)),
            (SingleAnnotator, "_postprocess", _noting(SingleAnnotator._postprocess, replies)),
        ):
            stack.enter_context(mock.patch.object(owner, name, value))
        yield alpaca_eval


def _sender(ask: Ask) -> Callable[..., list[dict[str, Any]]]:
    def send(
        batch: tuple[Sequence[Any], int], *, is_chat: bool, top_p: float = 1.0, temperature: float = 0.7, **options: Any
    ) -> list[dict[str, Any]]:
        prompts, max_tokens = batch
        request = {key: value for key, value in options.items() if key not in LIBRARY_OPTIONS}
        request |= {"max_tokens": max_tokens, "top_p": top_p, "temperature": temperature}
        choices = [ask(prompt, request) for prompt in (prompts[:1] if is_chat else prompts)]
        # As the library: a parser refuses an empty text with an exception.
        return [{**choice, "text": choice["text"] or " "} for choice in choices]

    return send


def _parsing(original: Callable[..., Any]) -> Callable[..., Any]:
    def parse(annotator: Any, completions: list[Any]) -> tuple[list[Any], list[Any]]:
        values, texts = original(annotator, completions)
        return [preference_of(value) for value in values], texts

    return parse


def _noting(original: Callable[..., Any], replies: Replies) -> Callable[..., Any]:
    def postprocess(annotator: Any, annotated: Any) -> Any:
        columns = ["instruction", "output_1", "output_2", SWITCHED, annotator.completion_column]
        for instruction, one, two, switched, said in annotated.reindex(columns=columns).itertuples(index=False):
            # A parser of log-probabilities is handed the whole choice.
            text = said.get("text") if isinstance(said, dict) else said
            if isinstance(text, str):
                pair = (two, one) if switched is True else (one, two)
                replies[instruction, *pair] = text
        return original(annotator, annotated)

    return postprocess


def preference_of(value: Any) -> float | None:
    """A preference as the library counts it: 1 to 2, a draw 1.5, also where it was written 0; ``None``: no verdict."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if value == 0:
        return 1.5
    return value if 1 <= value <= 2 else None


@contextmanager
def _silent_root() -> Iterator[None]:
    """The library sets the root logger's level and logs to the root itself; both are undone."""
    root = logging.getLogger()
    level = root.level
    # A handler keeps logging.info() from installing one for good; a filter stops what is logged to the root directly.
    silence = logging.NullHandler()
    root.addHandler(silence)
    root.addFilter(_drop)
    try:
        yield
    finally:
        root.setLevel(level)
        root.removeFilter(_drop)
        root.removeHandler(silence)


def _drop(_: logging.LogRecord) -> bool:
    return False
