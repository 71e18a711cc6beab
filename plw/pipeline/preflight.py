"""Mistakes in files and names, found before a grid's first hour of work and not after its last."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from plw.config import SuiteConfig
from plw.config.evaluation import MT_BENCH, REFERENCE
from plw.config.fields import HUB_PREFIX
from plw.data.inputs import in_world
from plw.data.prompts import load_prompts, reference_answers
from plw.data.tokenizer import check_vocabulary, load_tokenizer
from plw.errors import UserError
from plw.evaluate.lm_eval.definition import has_own_tasks_alone, task_folders
from plw.files.reading import read_json
from plw.pipeline.cell import Cell
from plw.pipeline.data_check import check_records, check_requests
from plw.pipeline.hub import go_offline_if_unreachable
from plw.pipeline.judge_cache import JudgeCache
from plw.pipeline.judge_check import ask_judges, check_judge, check_judge_weights, hub_judge
from plw.progress import Progress, no_progress

CONTEXT_FIELDS = ("n_positions", "max_position_embeddings", "n_ctx")
"""Of config.json, as lm-eval looks them up."""


def check_inputs(cells: list[Cell], progress: Progress = no_progress) -> None:
    """Fetch what lies elsewhere, read every input file and tokenizer once, and look every benchmark's task up.

    The world's own files are sound. ``progress`` is told the bytes of downloads.

    Raises:
        UserError: the first mistake, with file, row and field, or with the benchmark and what is allowed; or a file
            that cannot be fetched.
    """
    for cell in cells:
        _check_fetched(cell)
    suites = {cell.config.suite.name: cell.config.suite for cell in cells if "harness" in cell.config.stages}
    offline = (_needs_hub(cells, suites.values()) or any(map(hub_judge, cells))) and go_offline_if_unreachable()
    if offline:
        for cell in cells:
            _check_model_is_here(cell)
    _check_answer_room(cells)
    check_records(cells, progress)
    for path in sorted({path for cell in cells for path in _prompts(cell)}):
        load_prompts(Path(path))
    for cell in cells:
        check_judge(cell)
    for cell in {cell.config.suite.name: cell for cell in cells}.values():
        _check_wordings(cell)
    ask_judges(cells)
    if any(cell.config.execution.device == "cuda" for cell in cells):
        # Before documents are fetched from the hub.
        from plw.launch.device import device_of

        device_of("cuda")
    for cell in {cell.config.suite.name: cell for cell in cells if "harness" in cell.config.stages}.values():
        _check_tasks(cell)
    _check_models(cells)


def check_benchmarks_at_hand(cells: list[Cell]) -> None:
    """What :func:`check_inputs` says of prompts and benchmarks whose files are on this machine; fetches nothing.

    Raises:
        UserError: the first mistake, as there.
    """
    for path in sorted({path for cell in cells for path in _prompts(cell) if Path(path).is_file()}):
        load_prompts(Path(path))
    for cell in {cell.config.suite.name: cell for cell in cells if cell.is_left("harness")}.values():
        files = {name: own for name, own in _own_files(cell).items() if all(path.is_file() for path in own.values())}
        if files:
            from plw.evaluate.lm_eval.tasks import check_tasks

            suite = cell.config.suite
            check_tasks(replace(suite, tasks={name: suite.tasks[name] for name in files}), task_folders(suite), files)


def _check_models(cells: list[Cell]) -> None:
    """What loads models and tokenizers: after the files, since torch takes seconds to import."""
    _check_compiler(cells)
    for cell in {cell.model.location: cell for cell in cells if _local_model(cell)}.values():
        _check_tokenizer(cell)
    limits = _probe_models(cells)
    _check_positions(cells, limits)
    check_requests(cells)
    check_judge_weights(cells)
    if any(cell.config.suite.backend == "vllm" for cell in cells if {"harness", "generate"} & set(cell.config.stages)):
        from plw.evaluate.models.vllm import check_installed

        check_installed()


def _check_compiler(cells: list[Cell]) -> None:
    """What compiles has a compiler."""
    for name in {cell.config.execution.device for cell in cells if _compiles(cell)}:
        from plw.launch.device import device_of
        from plw.train.compiler import check_compiler

        check_compiler(device_of(name))


def _compiles(cell: Cell) -> bool:
    return cell.config.execution.compile and any(cell.is_left(kind) for kind in ("train", "preference"))


def _probe_models(cells: list[Cell]) -> dict[str, int]:
    """Each base model that is still to be trained, once; the world's own are sound.

    Returns:
        Location of a model -> tokens of an example at most, for models with a table of positions.
    """
    limits: dict[str, int] = {}
    todo = {
        (cell.model.content, repr(cell.config.model), repr(cell.config.recipe.lora_targets)): cell
        for cell in cells
        if cell.is_left("train") and not in_world(cell.config.model.path)
    }
    for cell in todo.values():
        from plw.train.probe import probe_model

        limit = probe_model(cell.model.location, cell.config.model, cell.config.recipe.lora_targets or ())
        if limit is not None:
            limits[cell.model.location] = limit
    return limits


def _check_positions(cells: list[Cell], limits: dict[str, int]) -> None:
    """Examples that may be longer than a model's table of positions are encoded and counted, once a dataset."""
    seen = set()
    for cell in cells:
        limit, config = limits.get(cell.model.location), cell.config
        what = (cell.model.location, cell.dataset.location, repr(config.dataset), repr(config.template))
        if limit is None or config.recipe.max_length <= limit or in_world(config.dataset.path) or what in seen:
            continue
        seen.add(what)
        from plw.pipeline.context import CellContext
        from plw.train.model.check import check_positions

        with JudgeCache() as judges, CellContext(cell, lambda *_: None, judges) as context:
            check_positions([*context.data.encoded, *context.data.held_out], limit)


def _needs_hub(cells: list[Cell], suites: Iterable[SuiteConfig]) -> bool:
    """Whether a model, a dataset or a benchmark lies on the hub."""
    paths = [path for cell in cells for path in (cell.config.dataset.path, cell.config.preference.path)]
    ours = any(map(_hub_model, cells)) or any(path.startswith(HUB_PREFIX) for path in paths)
    return ours or any(_hub_tasks(suite) for suite in suites)


def _hub_model(cell: Cell) -> bool:
    return "train" in cell.config.stages and cell.model.content.startswith(HUB_PREFIX)


def _check_model_is_here(cell: Cell) -> None:
    """Without the hub's server its model has to be in the hub's cache."""
    if not _hub_model(cell):
        return
    from huggingface_hub import try_to_load_from_cache

    name, revision = cell.config.model.path, cell.config.model.revision
    if not isinstance(try_to_load_from_cache(name, "config.json", revision=revision), str):
        at = f" --revision {revision}" if revision else ""
        raise UserError(
            f"model.path={name}: not in the hub's cache, and the hub cannot be reached; fetch it elsewhere "
            f"(hf download {name}{at} --local-dir DIR) and give model.path=DIR"
        )


def _local_model(cell: Cell) -> bool:
    """Whether a base model is read from a folder of the user's."""
    return "train" in cell.config.stages and not in_world(cell.config.model.path) and cell.model.path.is_dir()


def _check_tokenizer(cell: Cell) -> None:
    """It can be loaded, and it is the model's."""
    model = cell.config.model
    tokenizer = load_tokenizer(cell.model.location, trust_remote_code=model.trust_remote_code)
    rows = _text_config(cell).get("vocab_size")
    if isinstance(rows, int):
        check_vocabulary(tokenizer, rows, f"model.path={model.path}")


def _text_config(cell: Cell) -> dict[str, Any]:
    """A base model's config, of one that sees as well its language model's; empty where it is no mapping."""
    config = read_json(cell.model.path / "config.json")
    inner = config.get("text_config") if isinstance(config, dict) else None
    return next((found for found in (inner, config) if isinstance(found, dict)), {})


def _check_answer_room(cells: list[Cell]) -> None:
    """An answer of the length that is asked for fits into the context that a base model's config.json names."""
    from plw.evaluate.models.protocol import room_for_prompt

    for cell in filter(_local_model, cells):
        text, suite = _text_config(cell), cell.config.suite
        length = next((text[name] for name in CONTEXT_FIELDS if isinstance(text.get(name), int)), None)
        if length is None:
            continue
        if "generate" in cell.config.stages and suite.prompts:
            room_for_prompt(length, suite.decoding.max_new_tokens, "suite.decoding.max_new_tokens")
        if "diagnose" in cell.config.stages:
            asked = suite.diagnostics.memorisation_max_new_tokens
            room_for_prompt(length, asked, "suite.diagnostics.memorisation_max_new_tokens")


def _hub_tasks(suite: SuiteConfig) -> list[str]:
    """Benchmarks whose data is not given as local files."""
    return [name for name, task in suite.tasks.items() if not task.files]


def _check_wordings(cell: Cell) -> None:
    """The prompts whose wordings are compared are there and can be read."""
    asked, found = cell.config.suite.sensitivity, cell.sensitivity
    if asked is None or found is None or "diagnose" not in cell.config.stages:
        return
    if found.source is not None:
        raise UserError(
            f"suite.sensitivity.prompts: {found.location} is not there; fetch it from {found.source}, or set "
            "suite.sensitivity=null"
        )
    if not in_world(asked.prompts):
        from plw.evaluate.sensitivity.variants import load_wordings

        load_wordings(found.path, asked)


def _check_fetched(cell: Cell) -> None:
    if not {"generate", "judge"} & set(cell.config.stages):
        return
    for name, item in cell.prompts.items():
        asked = cell.config.suite.prompts[name]
        if item.source is None and asked.protocol == REFERENCE and not in_world(asked.prompts):
            remedy = f"give another suite.prompts.{name}.prompts"
            reference_answers(load_prompts(item.path)[: asked.limit], item.path, remedy)
        if item.source is not None:
            raise UserError(
                f"suite.prompts.{name}.prompts: {item.location} is not there; fetch it from {item.source}, or leave "
                "generate and judge out of stages"
            )
        for field, found in cell.grading[name].items():
            if found.source is not None:
                raise UserError(
                    f"suite.prompts.{name}.{field}: {found.location} is not there; fetch it from {found.source}, or "
                    "leave generate and judge out of stages"
                )


def _check_tasks(cell: Cell) -> None:
    """Every benchmark's task is known, has what it needs, and can score its documents.

    The world's files and our tasks fit each other; lm-eval takes seconds to load, so only where there is more to check.
    """
    suite, files = cell.config.suite, _own_files(cell)
    if has_own_tasks_alone(suite) and not files and not _hub_tasks(suite):
        return
    from plw.evaluate.lm_eval.tasks import check_tasks

    check_tasks(suite, task_folders(suite), files)


def _own_files(cell: Cell) -> dict[str, dict[str, Path]]:
    """Benchmark -> split -> file, of the benchmarks whose files are the user's."""
    return {
        name: {split: item.path for split, item in cell.files[name].items()}
        for name, task in cell.config.suite.tasks.items()
        if task.files and not any(map(in_world, task.files.values()))
    }


def _prompts(cell: Cell) -> list[str]:
    if not {"generate", "judge"} & set(cell.config.stages):
        return []
    return [
        cell.prompts[name].location
        for name, item in cell.config.suite.prompts.items()
        if not in_world(item.prompts) and item.protocol != MT_BENCH
    ]
