"""Mistakes in files and names, found before a grid's first hour of work and not after its last."""

from pathlib import Path

from plw.config import SuiteConfig
from plw.data.prompts import load_prompts
from plw.data.records import load_records
from plw.errors import UserError
from plw.inputs import WORLD_PREFIX
from plw.paths import task_folder
from plw.pipeline.cell import Cell


def check_inputs(cells: list[Cell]) -> None:
    """Read every dataset and prompt file once, and look every benchmark's task up; the world's own files are sound.

    Raises:
        UserError: the first mistake, with file, row and field, or with the benchmark and what is allowed.
    """
    for path, form in sorted({_dataset(cell) for cell in cells if _is_ours(cell.config.dataset.path)}):
        load_records(Path(path), form)
    for cell in cells:
        _check_fetched(cell)
    for path in sorted({path for cell in cells for path in _prompts(cell)}):
        load_prompts(Path(path))
    suites = {cell.config.suite.name: cell.config.suite for cell in cells if "harness" in cell.config.stages}
    offline = False
    if any(_hub_tasks(suite) for suite in suites.values()):
        from plw.evaluate.hub import go_offline_if_unreachable

        offline = go_offline_if_unreachable()
    if any(cell.config.suite.backend == "vllm" for cell in cells if {"harness", "generate"} & set(cell.config.stages)):
        from plw.evaluate.vllm import check_installed

        check_installed()
    for suite in suites.values():
        ours = all((task_folder() / f"{task.task}.yaml").is_file() for task in suite.tasks.values())
        if ours and not (offline and _hub_tasks(suite)):
            continue
        # lm-eval's own tasks take seconds to scan, so only where a suite uses them.
        from plw.evaluate.tasks import check_tasks

        check_tasks(suite, task_folder(), offline=offline)


def _hub_tasks(suite: SuiteConfig) -> list[str]:
    """Benchmarks whose data is not given as local files."""
    return [name for name, task in suite.tasks.items() if not task.files]


def _check_fetched(cell: Cell) -> None:
    if not {"generate", "judge"} & set(cell.config.stages):
        return
    for name, item in cell.prompts.items():
        if item.source is not None:
            raise UserError(
                f"suite.prompts.{name}.prompts: {item.location} is not there; fetch it from {item.source}, or leave "
                "generate and judge out of stages"
            )


def _is_ours(path: str) -> bool:
    return not path.startswith(WORLD_PREFIX)


def _dataset(cell: Cell) -> tuple[str, str]:
    return cell.dataset.location, cell.config.dataset.format


def _prompts(cell: Cell) -> list[str]:
    if not {"generate", "judge"} & set(cell.config.stages):
        return []
    return [cell.prompts[name].location for name, item in cell.config.suite.prompts.items() if _is_ours(item.prompts)]
