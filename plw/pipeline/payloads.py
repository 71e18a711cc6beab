"""What defines the result of each stage of a cell, as plain values: the payloads that are hashed and stored."""

from functools import lru_cache
from pathlib import Path
from typing import Any

from plw.config import CellConfig, identity_fields
from plw.config.evaluation import MT_BENCH, REFERENCE
from plw.config.study import PREFERENCE
from plw.evaluate.judging.evaluator_folder import evaluator_folder, evaluator_hash
from plw.files import file_hash, folder_hash
from plw.identity import fingerprint
from plw.inputs import Input
from plw.paths import judge_prompt_folder, task_folder

SOURCE = ("name", "path", "revision", "file", "sha256")
"""Fields of a dataset that say where it lies; what lies there is in its content."""


def judge_contents(
    weights: Input | None, opponents: dict[str, Input], grading: dict[str, dict[str, Input]]
) -> dict[str, Any]:
    """What a judge stage's payload says of them, where the judge has any."""
    said: dict[str, Any] = {} if weights is None else {"weights": weights.content}
    if opponents:
        said["opponents"] = {name: item.content for name, item in opponents.items()}
    graded = {name: {field: item.content for field, item in of.items()} for name, of in grading.items() if of}
    return said | ({"graded_with": graded} if graded else {})


def stage_payloads(
    config: CellConfig,
    model: Input,
    dataset: Input,
    pairs: Input | None,
    files: dict[str, dict[str, Input]],
    prompts: dict[str, Input],
    world_fingerprint: str,
) -> dict[str, dict[str, Any]]:
    """Stage kind -> what defines its result; a later stage holds the fingerprint of the one it reads."""
    suite = identity_fields(config.suite)
    train = {
        "model": {"revision": config.model.revision, "content": model.content},
        "dataset": {**_without(identity_fields(config.dataset), *SOURCE), "content": dataset.content},
        "template": _without(identity_fields(config.template), "name"),
        "loss": identity_fields(config.loss),
        "recipe": _without(identity_fields(config.recipe), "name"),
        "seed": config.seed,
    }
    preference = {} if pairs is None else {PREFERENCE: _preference_payload(config, train, pairs)}
    model_of = {"train": fingerprint(train)} if pairs is None else {PREFERENCE: fingerprint(preference[PREFERENCE])}
    tasks = {
        name: {
            **_without(task, "files", "group"),
            "files": {split: item.content for split, item in files[name].items()},
            "definition": _task_definition(task["task"]),
        }
        for name, task in suite["tasks"].items()
    }
    generate = {
        **model_of,
        "prompts": {
            name: {"limit": item["limit"], "content": prompts[name].content}
            | ({"protocol": item["protocol"]} if item["protocol"] in (REFERENCE, MT_BENCH) else {})
            for name, item in suite["prompts"].items()
        },
        "template": train["template"],
        **identity_fields(config.suite, "decoding", "backend", "dtype"),
    }
    return {
        "train": train,
        **preference,
        "diagnose": {**model_of, **identity_fields(config.suite, "diagnostics", "sensitivity", "dtype")},
        "harness": {
            **model_of,
            "tasks": tasks,
            **identity_fields(config.suite, "limit", "bootstrap_iterations", "bootstrap_seed", "backend", "dtype"),
        },
        "generate": generate,
        "judge": {
            "generate": fingerprint(generate),
            "protocols": {name: item.protocol for name, item in config.judged.items()},
            "judge": identity_fields(config.judge),
            "asked_with": _judge_prompts(config) if prompts else {},
            "facts": world_fingerprint if config.judge.kind == "world" and prompts else None,
        },
    }


def _preference_payload(config: CellConfig, train: dict[str, Any], pairs: Input) -> dict[str, Any]:
    return {
        "train": fingerprint(train),
        "pairs": pairs.content,
        "template": train["template"],
        "preference": _without(identity_fields(config.preference), *SOURCE),
        "seed": config.seed,
    }


def _task_definition(task: str) -> str | None:
    """Hash of a task file of our own; lm-eval's own tasks carry a version instead."""
    path = task_folder() / f"{task}.yaml"
    return file_hash(path) if path.is_file() else None


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
        "alpaca_eval": lambda: _evaluator_hash(config.judge.evaluator),
        "pandalm": lambda: folder_hash(judge_prompt_folder() / "pandalm"),
    }
    asked = {item.protocol for item in config.judged.values()}
    return {protocol: hashes[protocol]() for protocol in sorted(asked & hashes.keys())}


def _without(fields: dict[str, Any], *names: str) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if key not in names}
