"""What defines the result of each stage of a cell, as plain values: the payloads that are hashed and stored."""

from functools import lru_cache
from pathlib import Path
from typing import Any

from plw.config import CellConfig, identity_fields
from plw.config.evaluation import ALPACA_EVAL, MT_BENCH, PANDALM, REFERENCE
from plw.config.study import PREFERENCE
from plw.data.inputs import Input
from plw.evaluate.judging.evaluator_folder import evaluator_folder, evaluator_hash, is_own_evaluator
from plw.evaluate.lm_eval.definition import task_definitions, task_folders
from plw.files.hashing import folder_hash
from plw.paths import judge_prompt_folder
from plw.pipeline.cell_inputs import CellInputs
from plw.results.identity import fingerprint

SOURCE = ("name", "path", "revision", "file", "sha256")
"""Fields of a dataset that say where it lies; what lies there is in its content."""


def stage_payloads(config: CellConfig, inputs: CellInputs, world_fingerprint: str) -> dict[str, dict[str, Any]]:
    """Stage kind -> what defines its result; a later stage holds the fingerprint of the one it reads."""
    train = _train_payload(config, inputs)
    preference = {} if inputs.pairs is None else {PREFERENCE: _preference_payload(config, train, inputs.pairs)}
    model_of = {kind: fingerprint(payload) for kind, payload in (preference or {"train": train}).items()}
    generate = model_of | _generate_payload(config, inputs)
    return {
        "train": train,
        **preference,
        "diagnose": model_of | _diagnose_payload(config, inputs),
        "harness": model_of | _harness_payload(config, inputs),
        "generate": generate,
        "judge": {"generate": fingerprint(generate), **_judge_payload(config, inputs, world_fingerprint)},
    }


def _train_payload(config: CellConfig, inputs: CellInputs) -> dict[str, Any]:
    return {
        "model": {"revision": config.model.revision, "content": inputs.model.content},
        "dataset": {**_without(identity_fields(config.dataset), *SOURCE), "content": inputs.dataset.content},
        "template": _template(config),
        "loss": identity_fields(config.loss),
        "recipe": _without(identity_fields(config.recipe), "name"),
        "seed": config.seed,
    }


def _preference_payload(config: CellConfig, train: dict[str, Any], pairs: Input) -> dict[str, Any]:
    return {
        "train": fingerprint(train),
        "pairs": pairs.content,
        "template": _template(config),
        "preference": _without(identity_fields(config.preference), *SOURCE),
        "seed": config.seed,
    }


def _diagnose_payload(config: CellConfig, inputs: CellInputs) -> dict[str, Any]:
    payload = identity_fields(config.suite, "diagnostics", "sensitivity", "dtype")
    if inputs.sensitivity is not None:
        payload["sensitivity"] |= {"prompts": inputs.sensitivity.content}
        payload["template"] = _template(config)
    return payload


def _harness_payload(config: CellConfig, inputs: CellInputs) -> dict[str, Any]:
    definitions = task_definitions(task_folders(config.suite), {task.task for task in config.suite.tasks.values()})
    tasks = {
        name: {
            **_without(task, "files", "group"),
            "files": {split: item.content for split, item in inputs.files[name].items()},
            # lm-eval's own tasks carry a version instead.
            "definition": definitions[task["task"]],
        }
        for name, task in identity_fields(config.suite, "tasks")["tasks"].items()
    }
    how = identity_fields(config.suite, "limit", "bootstrap_iterations", "bootstrap_seed", "backend", "dtype")
    return {"tasks": tasks, **how}


def _generate_payload(config: CellConfig, inputs: CellInputs) -> dict[str, Any]:
    prompts = {
        name: {"limit": item.limit, "content": inputs.prompts[name].content}
        | ({"protocol": item.protocol} if item.protocol in (REFERENCE, MT_BENCH) else {})
        for name, item in config.suite.prompts.items()
    }
    how = identity_fields(config.suite, "decoding", "backend", "dtype")
    return {"prompts": prompts, "template": _template(config), **how}


def _judge_payload(config: CellConfig, inputs: CellInputs, world_fingerprint: str) -> dict[str, Any]:
    judge = identity_fields(config.judge)
    if is_own_evaluator(config.judge.evaluator):
        judge["evaluator"] = evaluator_folder(config.judge.evaluator).name
    payload = {
        "protocols": {name: item.protocol for name, item in config.judged.items()},
        "judge": judge,
        "asked_with": _judge_prompts(config) if inputs.prompts else {},
        "facts": world_fingerprint if config.judge.kind == "world" and inputs.prompts else None,
    }
    # What few judges have stands in the payloads of those alone, so that the fingerprints of the others stay.
    if inputs.judge_weights is not None:
        payload["weights"] = inputs.judge_weights.content
    if inputs.opponents:
        payload["opponents"] = {name: item.content for name, item in inputs.opponents.items()}
    graded = {
        name: {field: item.content for field, item in inputs.grading[name].items()}
        for name in config.judged
        if inputs.grading[name]
    }
    return payload | ({"graded_with": graded} if graded else {})


def _template(config: CellConfig) -> dict[str, Any]:
    return _without(identity_fields(config.template), "name")


def _evaluator_hash(name: str) -> str:
    folder = evaluator_folder(name)
    return _evaluator_hash_once(folder, folder_hash(folder))


@lru_cache(maxsize=64)
def _evaluator_hash_once(folder: Path, content: str) -> str:  # noqa: ARG001 - the cache goes by both
    """Read once a process for each state of the folder: a grid's cells share it."""
    return evaluator_hash(folder)


def _judge_prompts(config: CellConfig) -> dict[str, str]:
    """Protocol -> hash of the texts that the judge is asked with.

    Raises:
        UserError: the evaluator that the judge's config names is not there.
    """
    hashes = {
        ALPACA_EVAL: lambda: _evaluator_hash(config.judge.evaluator),
        PANDALM: lambda: folder_hash(judge_prompt_folder() / PANDALM),
    }
    asked = {item.protocol for item in config.judged.values()}
    return {protocol: hashes[protocol]() for protocol in sorted(asked & hashes.keys())}


def _without(fields: dict[str, Any], *names: str) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if key not in names}
