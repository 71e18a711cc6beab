"""What each stage of a cell does: from the workbench through the rooms to scores and files in the stage's folder."""

from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from plw.data.template import record_segments, request_text
from plw.files import read_jsonl, write_json_atomic
from plw.paths import task_folder
from plw.pipeline.context import KeepGoing, Workbench
from plw.pipeline.stage import Product

if TYPE_CHECKING:
    from plw.data.prepare import PreparedData
    from plw.evaluate.judging.pairwise import Pair

CURVE_FIELDS = (
    "step", "epoch", "loss", "prompt_loss", "completion_loss", "grad_norm", "learning_rate", "tokens", "penalty",
    "held_out_prompt_loss", "held_out_completion_loss", "seconds", "tokens_per_second", "mfu",
)  # fmt: skip


def do_stage(kind: str, bench: Workbench, keep_going: KeepGoing) -> Product:
    """The work of one stage; its scores are shown on the tracker."""
    bench.build_world()
    if kind != "judge":
        bench.judges.put_away_weights()
    product = WORK[kind](bench, keep_going)
    bench.tracker.scores(product.scores)
    return product


def train_model(bench: Workbench, keep_going: KeepGoing) -> Product:
    """Fine-tune, from the last checkpoint where there is one; leaves ``model/`` and ``log.jsonl``."""
    from plw.train.trainer import LOG, TrainingJob, train

    config, data, folder = bench.config, bench.data, bench.cell.stages["train"].folder
    execution = config.execution
    job = TrainingJob(
        model=bench.cell.model.location,
        revision=config.model.revision,
        trust_remote_code=config.model.trust_remote_code,
        tokenizer=bench.tokenizer,
        examples=data.encoded,
        held_out=data.held_out,
        loss=config.loss,
        recipe=config.recipe,
        seed=config.seed,
        folder=folder,
        device=execution.device,
        threads=execution.threads,
        token_budget=execution.token_budget,
        layout=execution.layout,
        gradient_checkpointing=execution.gradient_checkpointing,
        compile=execution.compile,
        evaluate_every=execution.evaluate_every,
        processes=execution.processes,
        sharding=execution.sharding,
        nodes=execution.nodes,
        rendezvous=execution.rendezvous,
        checkpoint_seconds=execution.checkpoint_seconds,
        keep_checkpoints=execution.keep_checkpoints,
    )
    said = bench.hears("train")

    def on_step(row: dict[str, Any]) -> None:
        bench.tracker.step({key: value for key, value in row.items() if key != "steps"})
        said(row["step"], row["steps"], live_line(row))

    summary = train(job, on_step=on_step, keep_going=keep_going)
    curves = [{name: row[name] for name in CURVE_FIELDS} for row in read_jsonl(folder / LOG)]
    r_g = data.statistics.generation_ratio
    return Product(
        details={"training": summary.to_dict(), "data": _table_1_row(data), "curves": curves},
        about_cell={"r_g": r_g},
    )


def live_line(row: dict[str, Any]) -> str:
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


def diagnose(bench: Workbench, keep_going: KeepGoing) -> Product:
    """Loss stability, weight distance and memorisation (PLW paper, section 5.3)."""
    from plw.evaluate.diagnostics.measurements import loss_rsd, memorisation
    from plw.evaluate.diagnostics.weight_distance import weight_distance

    suite, diagnostics = bench.config.suite, bench.config.suite.diagnostics
    losses = [row["loss"] for row in bench.trained_record()["curves"]]
    scores = loss_rsd(losses, diagnostics.loss_window, suite.name)
    scores += weight_distance(bench.model_folder(), bench.base_folder(), suite.name)
    texts = [record_segments(record, bench.config.template) for record in bench.data.records]
    scores += memorisation(
        bench.loaded,
        [segments[0].text for segments in texts],
        [segments[1].text for segments in texts],
        diagnostics,
        suite=suite.name,
        seed=bench.config.seed,
        batch_size=suite.batch_size,
        progress=bench.hears("diagnose", keep_going),
    )
    return Product(scores=scores)


def run_harness(bench: Workbench, keep_going: KeepGoing) -> Product:
    """The lm-eval benchmarks, over the cell's processes; leaves the harness's own ``results.json``."""
    files = {name: {split: item.path for split, item in of.items()} for name, of in bench.cell.files.items()}
    suite, execution, folder = bench.config.suite, bench.config.execution, bench.cell.stages["harness"].folder
    if execution.processes > 1 and suite.backend == "hf" and suite.tasks:
        from plw.evaluate.lm_eval.launch import HarnessJob, run_tasks_together

        job = HarnessJob(
            model=bench.model_folder(),
            device=execution.device,
            threads=execution.threads,
            processes=execution.processes,
            suite=suite,
            files=files,
            task_folder=task_folder(),
        )
        bench.put_away_model()
        result = run_tasks_together(job, folder, progress=bench.hears("harness"), keep_going=keep_going)
    else:
        from plw.evaluate.lm_eval.harness import run_tasks

        result = run_tasks(bench.scored, suite, files, task_folder(), bench.hears("harness", keep_going))
    write_json_atomic(folder / "results.json", result.raw)
    return Product(scores=result.scores)


def generate_answers(bench: Workbench, keep_going: KeepGoing) -> Product:
    """Answers to the long-generation prompts, made once for every judge, and their length."""
    from plw.evaluate.diagnostics.measurements import generation_length

    suite, scores = bench.config.suite, []
    template, form = bench.config.template, bench.config.dataset.format
    for name, item in suite.prompts.items():
        prompts = bench.prompts(name)
        answers = bench.scored.answer(
            [request_text(prompt.instruction, prompt.input, template, form) for prompt in prompts],
            max_new_tokens=suite.decoding.max_new_tokens,
            temperature=suite.decoding.temperature,
            top_p=suite.decoding.top_p,
            seed=suite.decoding.seed,
            batch_size=suite.batch_size,
            progress=bench.hears("generate", keep_going),
        )
        if item.protocol == "alpaca_eval":
            scores += generation_length(answers, suite.name)
        rows = [
            {"instruction": prompt.instruction, "input": prompt.input, "output": answer.text}
            | {name: value for name, value in asdict(answer).items() if name != "text"}
            for prompt, answer in zip(prompts, answers, strict=True)
        ]
        write_json_atomic(bench.answers_file(name), rows)
    return Product(scores=scores)


def judge_answers(bench: Workbench, keep_going: KeepGoing) -> Product:
    """Each set of answers that the judge knows a protocol for, against references; leaves every verdict.

    Killed, it goes on with the verdicts that it has; those that could not be read are asked for anew.
    """
    from plw.errors import UnreadableError
    from plw.evaluate.judging.response_cache import ReplyLog

    config, folder = bench.config, bench.cell.stages["judge"].folder
    product, counts = Product(), {}
    for name, item in config.judged.items():
        with ReplyLog(folder / f"{name}.replies.jsonl") as replies:
            product.scratch.append(replies.path)
            try:
                result = bench.judge.compare(
                    item.protocol,
                    _pairs(bench, name),
                    replies=replies,
                    work=folder / "evaluator",
                    progress=bench.hears("judge", keep_going),
                )
            except UnreadableError:
                replies.forget()
                raise
        product.scores += result.scores(config.suite.name, name, config.judge)
        verdicts = [
            {"points": verdict.points, "conflict": verdict.conflict, "replies": list(verdict.replies)}
            for verdict in result.verdicts
        ]
        write_json_atomic(folder / f"{name}.json", verdicts)
        counts[name] = {"pairs": result.n_total, "unparsed": result.unparsed, "conflicts": result.conflicts}
    product.details["judged"] = counts
    return product


def _pairs(bench: Workbench, benchmark: str) -> "list[Pair]":
    """The prompts with the model's answers and those that they are compared with."""
    from plw.evaluate.judging.pairwise import Pair

    rows = zip(bench.prompts(benchmark), bench.answers(benchmark), bench.references(benchmark), strict=True)
    return [
        Pair(instruction=prompt.instruction, input=prompt.input, answer=answer["output"], reference=reference)
        for prompt, answer, reference in rows
    ]


def _table_1_row(data: "PreparedData") -> dict[str, Any]:
    """The data's statistics as the record keeps them and Table 1 reads them."""
    statistics = data.statistics.to_dict()
    return {
        "examples": statistics.pop("records"),
        "r_g": statistics.pop("generation_ratio"),
        "r_g_mean_of_ratios": statistics.pop("mean_of_ratios"),
        **statistics,
        "truncated": data.truncated,
        "without_completion": data.without_completion,
        "content": data.content,
    }


WORK: dict[str, Callable[[Workbench, KeepGoing], Product]] = {
    "train": train_model,
    "diagnose": diagnose,
    "harness": run_harness,
    "generate": generate_answers,
    "judge": judge_answers,
}
