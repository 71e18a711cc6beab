"""What the preference stage does: DPO on the fine-tuned model, continued where it was killed."""

from dataclasses import asdict
from typing import Any

from plw.config.loss import LossConfig
from plw.paths import LOG
from plw.pipeline.context import CellContext, CheckLease
from plw.pipeline.stage import StageResult


def prefer(context: CellContext, check_lease: CheckLease) -> StageResult:
    """Train the cell's model on pairs, from the last checkpoint where there is one; leaves ``model/``, ``log.jsonl``.

    The frozen model of DPO is the fine-tuned one.
    """
    from plw.config.study import PREFERENCE
    from plw.data.tokenizer import load_tokenizer
    from plw.train.job import TrainingJob
    from plw.train.log import logged_steps
    from plw.train.trainer import train

    config, trained = context.config, context.trained_record()
    folder, preference, pairs = context.cell.stages[PREFERENCE].folder, config.preference, context.pairs
    model = context.fine_tuned_folder()
    job = TrainingJob(
        model=str(model),
        trust_remote_code=config.model.trust_remote_code,
        pad=config.model.pad,
        tokenizer=load_tokenizer(model, trust_remote_code=config.model.trust_remote_code),
        examples=pairs.examples,
        loss=LossConfig(),
        recipe=preference.recipe(),
        beta=preference.beta,
        seed=config.seed,
        folder=folder,
        execution=config.execution,
    )
    said, before = context.progress_for(PREFERENCE), trained["training"]["steps"]

    def on_step(row: dict[str, Any]) -> None:
        # Trackers count steps upwards: these go on where the fine-tuning ended.
        shown = {f"{PREFERENCE}/{key}": value for key, value in row.items() if key not in ("step", "steps")}
        context.tracker.step({"step": before + row["step"], **shown})
        context.state.measure(row["loss"], row["tokens_per_second"])
        said(row["step"], row["steps"], format_preference(row))

    summary = train(job, on_step=on_step, check_lease=check_lease, progress=said)
    rows = logged_steps(folder / LOG)
    about = {key: value for key, value in asdict(pairs).items() if key != "examples"}
    done = {key: value for key, value in summary.to_dict().items() if key not in ("examples", "empty_units")}
    ends = {f"{end}_loss": row["loss"] for end, row in (("first", rows[0]), ("last", rows[-1]))}
    return StageResult(
        details={PREFERENCE: {**about, **done, **ends}, "data": trained["data"]},
        cell_updates={"r_g": trained["data"]["r_g"]},
    )


def format_preference(row: dict[str, Any]) -> str:
    """Where the stage stands, in a few words: loss, mean difference of the two rewards, share of pairs in order."""
    words = [
        f"loss {row['loss']:.3f} (margin {row['margin']:+.3f}, {row['accuracy']:.0%} of pairs in order)",
        f"{row['tokens_per_second']:,.0f} tok/s",
    ]
    if row["peak_memory_gib"] is not None:
        words.append(f"{row['peak_memory_gib']:.1f} GiB")
    return ", ".join(words)
