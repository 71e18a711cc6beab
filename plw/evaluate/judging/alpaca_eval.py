"""AlpacaEval by the library itself: its pairing, order randomisation, parsing and win rate, at a server of our choice.

Preference 1 means that the reference wins, 2 that the model wins, 1.5 a draw; the order in which the judge sees a pair
is drawn by the library from a hash of the instruction, so it is the same in every run. The library drops verdicts that
its parser cannot read; here they are counted, and too many of them fail the stage.
"""

import math
import traceback
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from plw.config.judge import JudgeConfig
from plw.errors import PermanentError, StageError, UserError
from plw.evaluate.judging.alpaca_eval_patches import Replies, patched_alpaca_eval, preference_of
from plw.evaluate.judging.client import CHAT, COMPLETIONS, JudgeClient
from plw.evaluate.judging.escaping import escape
from plw.evaluate.judging.evaluator_folder import read_evaluator
from plw.evaluate.judging.pairwise import Pair, PairwiseResult, Verdict, win_rate
from plw.evaluate.judging.response_cache import ResponseCache
from plw.files.writing import write_text_atomic
from plw.progress import Progress, no_progress

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
        progress: Called with the requests done; equal answers are a draw without one.

    Raises:
        UserError: the evaluator's folder is not one.
        StageError: the server cannot be reached or refuses, or (``UnreadableError``) too many verdicts cannot be read.
    """
    name, config, template = _load_evaluator(evaluator)
    if not pairs:
        raise StageError(f"judge {judge.name}: no pairs to judge")
    rows = [
        {
            "instruction": escape(pair.task, template),
            "reference": escape(pair.reference, template),
            "answer": escape(pair.answer, template),
        }
        for pair in pairs
    ]
    folder = _write_evaluator(name, config, template, judge, work)
    said: Replies = {}
    with JudgeClient(judge, base_url, replies) as client:

        def ask(prompt: str | list[dict[str, str]], options: dict[str, Any]) -> dict[str, Any]:
            shown = _rows_of(rows, prompt if isinstance(prompt, str) else "\n".join(part["content"] for part in prompt))
            path, asked = (COMPLETIONS, {"prompt": prompt}) if isinstance(prompt, str) else (CHAT, {"messages": prompt})
            where = " or ".join(pairs[index].where or f"pair {index + 1}" for index in shown) or "a prompt"
            return client.ask(path, {**asked, **options}, where)

        with patched_alpaca_eval(ask, client.stop_on_error(progress), said) as library:
            annotations, metrics = _annotate(library, rows, folder, judge)
    verdicts = [_verdict(row, said) for row in annotations]
    with client.telling_why():
        result = win_rate(verdicts, judge, both_orders=False, library_version=f"alpaca_eval {library.__version__}")
    if metrics["n_total"] != result.n:
        raise StageError(f"alpaca_eval counted {metrics['n_total']} verdicts where {result.n} can be read")
    # The number is the library's own; ours differs from it by rounding at most.
    return replace(result, win_rate=float(metrics["win_rate"]))


def _rows_of(rows: list[dict[str, str]], prompt: str) -> list[int]:
    """Which rows a prompt may show, for messages: of those whose texts all stand in it, the ones with the most text.

    They are several where pairs are equal, or the same with the answers exchanged.
    """
    parts = [[text.strip() for text in row.values()] for row in rows]
    fitting = [index for index, texts in enumerate(parts) if all(text in prompt for text in texts)]
    most = max((sum(map(len, parts[index])) for index in fitting), default=0)
    return [index for index in fitting if sum(map(len, parts[index])) == most]


def _annotate(
    library: Any, rows: list[dict[str, str]], folder: Path, judge: JudgeConfig
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The annotated rows, in the order given, and the library's metrics (n_total alone where nothing could be read)."""

    def metric(annotations: list[dict[str, Any]]) -> dict[str, Any]:
        if not any(preference_of(row.get("preference")) for row in annotations):
            return {"win_rate": math.nan, "standard_error": math.nan, "n_total": 0}
        measured: dict[str, Any] = library.metrics.get_winrate(annotations)
        return measured

    try:
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
    except AssertionError as error:
        # The library's own checks, which say nothing.
        place = traceback.extract_tb(error.__traceback__)[-1]
        said = f"{Path(place.filename).name}, line {place.lineno}: {place.line}"
        raise PermanentError(f"judge {judge.name}: alpaca_eval cannot work with judge.evaluator ({said})") from error
    if len(annotations) != len(rows):
        raise StageError(f"alpaca_eval returned {len(annotations)} verdicts for {len(rows)} pairs")
    return list(annotations), board.loc["model"].to_dict()


def _verdict(row: dict[str, Any], said: Replies) -> Verdict:
    """The library's row with the judge's words; the preference is missing where the library could not read them.

    Equal answers have no words: the library does not ask about them.
    """
    preference = preference_of(row.get("preference"))
    reply = said.get((row["instruction"], row["output_1"], row["output_2"]))
    replies = () if reply is None else (reply,)
    return Verdict(
        points=None if preference is None else preference - 1,
        replies=replies,
        unread=replies if preference is None else (),
    )


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


def _write_evaluator(name: str, config: dict[str, Any], template: str, judge: JudgeConfig, work: Path) -> Path:
    """The evaluator as used: its config and its prompt."""
    folder = work.absolute()
    prompt = folder / "prompt.txt"
    completions = {
        **config.get("completions_kwargs", {}),
        "model_name": judge.model,
        "max_tokens": judge.max_tokens,
        "num_procs": judge.concurrency,
    }
    filled = {**config, "prompt_template": str(prompt), "completions_kwargs": completions}
    write_text_atomic(prompt, template)
    write_text_atomic(folder / "configs.yaml", yaml.safe_dump({name: filled}, sort_keys=False))
    return folder
