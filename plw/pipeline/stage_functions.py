"""What each stage of a cell does: from the cell's context to scores and files in the stage's folder."""

import logging
import shutil
from collections.abc import Callable
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from plw.config.study import PREFERENCE
from plw.data.inputs import check_unchanged
from plw.files.reading import read_rows
from plw.launch.job_folder import LAUNCH
from plw.paths import CHECKPOINTS, LOG
from plw.pipeline.context import SHARES, CellContext, CheckLease
from plw.pipeline.harness_stage import run_harness
from plw.pipeline.judge_stage import judge_answers
from plw.pipeline.preference_stage import prefer
from plw.pipeline.reuse import finished_training, take_over
from plw.pipeline.stage import Stage, StageResult
from plw.pipeline.together import run_part
from plw.registry import CurveRow

if TYPE_CHECKING:
    from plw.data.prepare import PreparedData

logger = logging.getLogger(__name__)

CURVE_FIELDS = tuple(field.name for field in fields(CurveRow))


def run_stage_function(kind: str, context: CellContext, check_lease: CheckLease) -> StageResult:
    """The work of one stage; its scores are shown on the tracker."""
    context.make_shared_inputs()
    check_unchanged(context.cell.read_by(kind))
    for left in (LAUNCH, SHARES):
        # Of an attempt in several processes that was killed; this one may be in one, which makes none.
        shutil.rmtree(context.cell.stages[kind].folder / left, ignore_errors=True)
    if kind != "judge":
        context.judges.release_weights()
    result = STAGE_FUNCTIONS[kind](context, check_lease)
    context.tracker.scores(result.scores)
    return result


def train_model(context: CellContext, check_lease: CheckLease) -> StageResult:
    """Fine-tune, from the last checkpoint where there is one; leaves ``model/`` and ``log.jsonl``.

    A cell with a preference stage takes a model that another cell has trained alike.
    """
    found = finished_training(context.cell)
    if found is not None:
        return _reuse_training(context, found)
    from plw.train.job import TrainingJob
    from plw.train.trainer import train

    config, data, folder = context.config, context.data, context.cell.stages["train"].folder
    job = TrainingJob(
        model=context.cell.model.location,
        revision=config.model.revision,
        trust_remote_code=config.model.trust_remote_code,
        pad=config.model.pad,
        tokenizer=context.tokenizer,
        examples=data.encoded,
        end_tokens=data.end_tokens,
        held_out=data.held_out,
        loss=config.loss,
        recipe=config.recipe,
        seed=config.seed,
        folder=folder,
        execution=config.execution,
    )
    said = context.progress_for("train")

    def on_step(row: dict[str, Any]) -> None:
        context.tracker.step({key: value for key, value in row.items() if key != "steps"})
        context.state.measure(row["loss"], row["tokens_per_second"])
        said(row["step"], row["steps"], format_progress(row))

    summary = train(job, on_step=on_step, check_lease=check_lease)
    curves = [{name: row[name] for name in CURVE_FIELDS} for _, row in read_rows(folder / LOG)]
    r_g = data.statistics.generation_ratio
    return StageResult(
        details={"training": summary.to_dict(), "data": _table_1_row(data), "curves": curves},
        cell_updates={"r_g": r_g},
    )


def _reuse_training(context: CellContext, found: Stage) -> StageResult:
    folder = context.cell.stages["train"].folder
    details = take_over(found, folder, always_verify=context.always_verify)
    shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)
    logger.info("%s: trained already in %s", context.cell.label, found.folder)
    return StageResult(
        details={**details, "reused": context.relative_path(found.folder)}, cell_updates={"r_g": details["data"]["r_g"]}
    )


def format_progress(row: dict[str, Any]) -> str:
    """Where training stands, in a few words: the weighted loss, and the two that weights do not change."""
    parts = {role: row[f"{role}_loss"] for role in ("prompt", "completion")}
    unweighted = ", ".join(f"{role} {loss:.3f}" for role, loss in parts.items() if loss is not None)
    words = [f"loss {row['loss']:.3f} ({unweighted})", f"{row['tokens_per_second']:,.0f} tok/s"]
    if row["held_out_completion_loss"] is not None:
        words.append(f"held-out {row['held_out_completion_loss']:.3f}")
    if row["mfu"] is not None:
        words.append(f"MFU {row['mfu']:.0%}")
    if row["peak_memory_gib"] is not None:
        words.append(f"{row['peak_memory_gib']:.1f} GiB")
    return ", ".join(words)


def diagnose(context: CellContext, check_lease: CheckLease) -> StageResult:
    """Loss stability, weight distance and memorisation (PLW paper, section 5.3); prompt sensitivity if asked for.

    Of a cell that was trained on preferences also how its pairs stand.
    """
    from plw.evaluate.diagnostics.measurements import loss_rsd, preference_fit
    from plw.evaluate.diagnostics.weight_distance import weight_distance
    from plw.train.log import logged_steps

    suite = context.config.suite
    losses = [row["loss"] for row in context.trained_record()["curves"]]
    scores = loss_rsd(losses, suite.diagnostics.loss_window, suite.name)
    scores += weight_distance(
        context.model_folder(),
        context.base_folder(),
        suite.name,
        trust_remote_code=context.config.model.trust_remote_code,
    )
    if context.cell.pairs is not None:
        log = context.cell.last_training.product(LOG, always=context.always_verify)
        scores += preference_fit(logged_steps(log), suite.name)
    return StageResult(scores=scores + run_part("diagnose", context, check_lease))


def generate_answers(context: CellContext, check_lease: CheckLease) -> StageResult:
    """Answers to the long-generation prompts, made once for every judge, and their length."""
    return StageResult(scores=run_part("generate", context, check_lease))


def _table_1_row(data: "PreparedData") -> dict[str, Any]:
    """The data's statistics as the record keeps them and Table 1 reads them."""
    from plw.data.statistics import bigram_overlap

    statistics = data.statistics.to_dict()
    return {
        "examples": statistics.pop("records"),
        "r_g": statistics.pop("generation_ratio"),
        "r_g_mean_of_ratios": statistics.pop("mean_of_ratios"),
        **statistics,
        "truncated": data.truncated,
        "without_completion": data.without_completion,
        "bigram_overlap": bigram_overlap(data.records),
        "content": data.content,
    }


STAGE_FUNCTIONS: dict[str, Callable[[CellContext, CheckLease], StageResult]] = {
    "train": train_model,
    PREFERENCE: prefer,
    "diagnose": diagnose,
    "harness": run_harness,
    "generate": generate_answers,
    "judge": judge_answers,
}
