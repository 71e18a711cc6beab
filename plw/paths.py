"""Names of the files that stages leave; where the project's own are: beside the package, or in a wheel inside it."""

from functools import cache
from pathlib import Path

RECORD = "record.json"
"""What a finished stage leaves in its folder, renamed into place last: its presence means done."""
PAYLOAD = "payload.json"
"""What stands in a stage's folder from its beginning: what was asked for."""
FAILURE = "failure.json"
"""The error of a stage's last attempt, where that failed."""
MODEL = "model"
"""Folder of a trained model, in a training's."""
LOG = "log.jsonl"
"""A training's measurements, a line a step; with the seconds of each, so no two trainings leave the same."""
CHECKPOINTS = "checkpoints"
"""Folder of what a training under way continues from; removed at its end."""
REGISTRY_FILE = "registry.sqlite"
"""Name of the registry's database where it lies in the folder of the results, as ``conf/registry/sqlite.yaml`` says."""

_PACKAGE = Path(__file__).parent


@cache
def conf_folder() -> Path:
    """The Hydra tree."""
    inside = _PACKAGE / "conf"
    return inside if inside.is_dir() else _PACKAGE.parent / "conf"


def task_folder() -> Path:
    """lm-eval task files of our own."""
    return conf_folder() / "task"


def judge_prompt_folder() -> Path:
    """Prompts that judges are asked with, a folder each."""
    return conf_folder() / "judge_prompts"
