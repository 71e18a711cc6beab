"""AlpacaEval by the library itself: its pairing, order randomisation, parsing and win rate, at a server of our choice.

Preference 1 means that the reference wins, 2 that the model wins, 1.5 a draw; the order in which the judge sees a pair
is drawn by the library from a hash of the instruction, so it is the same in every run. The library drops verdicts that
its parser cannot read; here they are counted, and too many of them fail the stage.
"""

import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeGuard
from unittest import mock

import yaml

from plw.config.evaluation import JudgeConfig
from plw.errors import StageError, UserError
from plw.evaluate.judging.client import open_client
from plw.evaluate.judging.escaping import escape
from plw.evaluate.judging.evaluator_folder import read_evaluator
from plw.evaluate.judging.pairwise import Pair, PairwiseResult, Verdict, win_rate
from plw.evaluate.judging.response_cache import ResponseCache
from plw.evaluate.quiet import quiet, tqdm_adapter
from plw.files import write_text_atomic
from plw.progress import Progress, no_progress

CLIENT_CLASS = "plw.evaluate.judging.client.held_client"
SEED = 0
"""Seed of the library's order randomisation; fixed, because it is part of the protocol."""


def judge_alpaca_eval(
    pairs: Sequence[Pair],
    judge: JudgeConfig,
    base_url: str,
    *,
    evaluator: Path,
    work: Path,
    replies: ResponseCache | None = None,
    progress: Progress = no_progress,
) -> PairwiseResult:
    """Win rate of the answers against the references, AlpacaEval 1's metric (no length control).

    Args:
        pairs: What is compared; a pair's input follows its instruction after a blank line.
        judge: Model name, token limit, concurrency, and the share of unreadable verdicts that is allowed.
        base_url: OpenAI-compatible server, such as ``http://127.0.0.1:8000/v1``.
        evaluator: Folder of an alpaca_eval evaluator (``configs.yaml`` and the prompt that it names).
        work: Folder that receives the evaluator as it was used: its config and prompt, and no key.
        replies: Log of what the judge has said before; nothing in it is asked again.
        progress: Hears the requests done; equal answers are a draw without one.

    Raises:
        UserError: the evaluator's folder is not one.
        StageError: the server cannot be reached or refuses, or (``UnreadableError``) too many verdicts cannot be read.
    """
    import openai

    name, config, template = _load_evaluator(evaluator)
    rows = [
        {
            "instruction": escape(pair.task, template),
            "reference": escape(pair.reference, template),
            "answer": escape(pair.answer, template),
        }
        for pair in pairs
    ]
    with open_client(judge, base_url, replies) as (_, ticket), _quiet_library(progress) as library:
        folder = _write_evaluator(name, config, template, judge, ticket, work)
        try:
            annotations, metrics = _annotate(library, rows, folder) if rows else ([], {})
        except openai.OpenAIError as error:
            raise StageError(f"judge {judge.name} at {base_url}: {type(error).__name__}: {error}") from error
    verdicts = [_verdict(row) for row in annotations]
    result = win_rate(verdicts, judge, both_orders=False, library_version=f"alpaca_eval {library.__version__}")
    if metrics["n_total"] != result.n:
        raise StageError(f"alpaca_eval counted {metrics['n_total']} verdicts where {result.n} can be read")
    # The number is the library's own; ours differs from it by rounding at most.
    return replace(result, win_rate=float(metrics["win_rate"]))


def _annotate(library: Any, rows: list[dict[str, str]], folder: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The annotated rows, in the order given, and the library's metrics (n_total alone where nothing could be read)."""

    def metric(annotations: list[dict[str, Any]]) -> dict[str, Any]:
        if not any(_is_preference(row.get("preference")) for row in annotations):
            return {"win_rate": math.nan, "standard_error": math.nan, "n_total": 0}
        measured: dict[str, Any] = library.metrics.get_winrate(annotations)
        return measured

    board, annotations = library.evaluate(
        model_outputs=[{"instruction": row["instruction"], "output": row["answer"]} for row in rows],
        reference_outputs=[{"instruction": row["instruction"], "output": row["reference"]} for row in rows],
        annotators_config=str(folder),
        name="model",
        output_path=None,
        precomputed_leaderboard=None,
        is_return_instead_of_print=True,
        is_cache_leaderboard=False,
        fn_metric=metric,
        sort_by="win_rate",
        # In the order given: instructions that occur twice would otherwise be paired crosswise.
        annotation_kwargs={"is_ordered": True, "chunksize": None},
        caching_path=None,
        seed=SEED,
    )
    if len(annotations) != len(rows):
        raise StageError(f"alpaca_eval returned {len(annotations)} verdicts for {len(rows)} pairs")
    return list(annotations), board.loc["model"].to_dict()


def _verdict(row: dict[str, Any]) -> Verdict:
    """The library's row; its preference is missing (None or NaN) where it could not read the reply."""
    preference = row.get("preference")
    reply = row.get("preference_raw_completion")
    return Verdict(
        points=float(preference) - 1 if _is_preference(preference) else None,
        replies=(reply,) if isinstance(reply, str) else (),
    )


def _is_preference(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and 1 <= value <= 2


def _load_evaluator(folder: Path) -> tuple[str, dict[str, Any], str]:
    """Name, config in alpaca_eval's own keys, and prompt of an evaluator.

    ``prompt_change`` is a key of ours: the part of the prompt between ``after`` and ``before`` is put into the chat
    form ``form``, at ``{request}``.
    """
    name, config, path = read_evaluator(folder)
    prompt = path.read_text(encoding="utf-8").rstrip("\n")
    change = config.get("prompt_change")
    if change is not None:
        _, found, rest = prompt.partition(change["after"])
        request, ending, _ = rest.rpartition(change["before"])
        if not (found and ending):
            raise UserError(f"{folder}: {path.name} has no part between {change['after']!r} and {change['before']!r}")
        prompt = change["form"].replace("{request}", request.strip())
    return name, {key: value for key, value in config.items() if key != "prompt_change"}, prompt


def _write_evaluator(
    name: str, config: dict[str, Any], template: str, judge: JudgeConfig, ticket: str, work: Path
) -> Path:
    """The evaluator as used, without keys: config, prompt, and where the library finds its client."""
    folder = work.absolute()
    prompt, clients = folder / "prompt.txt", folder / "clients.yaml"
    completions = {
        **config.get("completions_kwargs", {}),
        "model_name": judge.model,
        "max_tokens": judge.max_tokens,
        "num_procs": judge.concurrency,
        "client_config_path": str(clients),
    }
    filled = {**config, "prompt_template": str(prompt), "completions_kwargs": completions}
    write_text_atomic(prompt, template)
    write_text_atomic(clients, yaml.safe_dump({"default": [{"client_class": CLIENT_CLASS, "ticket": ticket}]}))
    write_text_atomic(folder / "configs.yaml", yaml.safe_dump({name: filled}, sort_keys=False))
    return folder


@contextmanager
def _quiet_library(progress: Progress) -> Iterator[Any]:
    """alpaca_eval, imported and running in silence: it sets the root logger's level and logs to the root itself.

    The bar over its requests tells ``progress``.
    """
    root = logging.getLogger()
    level = root.level
    # A handler keeps logging.info() from installing one for good; a filter stops what is logged to the root directly.
    silence = logging.NullHandler()
    root.addHandler(silence)
    root.addFilter(_drop)
    try:
        with quiet("httpx", "openai"):
            import alpaca_eval
            from alpaca_eval.decoders import openai as requests

            root.setLevel(level)
            with mock.patch.object(requests, "tqdm", SimpleNamespace(tqdm=tqdm_adapter(progress))):
                yield alpaca_eval
    finally:
        root.setLevel(level)
        root.removeFilter(_drop)
        root.removeHandler(silence)


def _drop(_: logging.LogRecord) -> bool:
    return False
