"""Evaluators of the AlpacaEval protocol: where a judge's prompt and chat form lie, and the hash that identifies them.

An evaluator is a folder with alpaca_eval's ``configs.yaml``: one of ``conf/judge_prompts``, one that comes with the
installed alpaca_eval, or the user's own. One of ours may use a prompt of theirs (``prompt_template:
package:<evaluator>/<file>``), so that what is their text is not copied.
"""

import re
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from plw.errors import UserError
from plw.files.hashing import file_hash, folder_hash
from plw.files.reading import read_text
from plw.paths import judge_prompt_folder
from plw.results.identity import fingerprint

PACKAGE = "package:"
CONFIG = "configs.yaml"
FILLED = re.compile(r"{[^ \s]+?}")
"""What alpaca_eval takes for a slot in a prompt."""
SLOTS = ("{instruction}", "{output_1}", "{output_2}")
"""What a prompt shows."""
ASKED_BY = "openai_completions"
"""alpaca_eval's way of asking that goes to an OpenAI-compatible address; its others bring clients of their own, or load
a model."""


def is_own_evaluator(name: str) -> bool:
    """Whether ``judge.evaluator`` is a path to a folder of the user's."""
    return not name.startswith(PACKAGE) and ("/" in name or name.startswith("~"))


def evaluator_folder(name: str) -> Path:
    """The folder of ``judge.evaluator``: a name in ``conf/judge_prompts``, ``package:NAME``, or a path.

    Raises:
        UserError: there is no such evaluator; the line says which there are.
    """
    if is_own_evaluator(name):
        folder = Path(name).expanduser().absolute()
        if not folder.is_dir():
            raise UserError(f"judge.evaluator={name}: no such folder")
        return folder
    root = package_folder() if name.startswith(PACKAGE) else judge_prompt_folder()
    folder = root / name.removeprefix(PACKAGE)
    if not (folder / CONFIG).is_file():
        known = sorted(path.parent.name for path in root.glob(f"*/{CONFIG}"))
        own = "" if name.startswith(PACKAGE) else ", or a path to a folder of yours (./NAME)"
        raise UserError(f"judge.evaluator={name} is not there; allowed: {', '.join(known)}{own}")
    return folder


def package_folder() -> Path:
    """The evaluators of the installed alpaca_eval, found without importing it (that takes seconds)."""
    spec = find_spec("alpaca_eval")
    if spec is None or not spec.submodule_search_locations:
        raise UserError("alpaca_eval is not installed; pip install alpaca-eval")
    return Path(next(iter(spec.submodule_search_locations))) / "evaluators_configs"


def read_evaluator(folder: Path) -> tuple[str, dict[str, Any], Path]:
    """Name, config and prompt file of an evaluator.

    Raises:
        UserError: the folder is not that of an evaluator, its prompt is not there or does not show what is compared,
            or it asks elsewhere than at ``judge.endpoint``.
    """
    path = folder / CONFIG
    if not path.is_file():
        raise UserError(f"{folder}: no {CONFIG}; this is not the folder of an alpaca_eval evaluator")
    try:
        configs = yaml.safe_load(read_text(path))
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not valid YAML ({' '.join(str(error).split())})") from None
    if not isinstance(configs, dict) or len(configs) != 1:
        raise UserError(f"{path}: one evaluator is expected at the top level")
    ((name, config),) = configs.items()
    if not isinstance(config, dict) or config.get("fn_completions") != ASKED_BY:
        found = config.get("fn_completions") if isinstance(config, dict) else None
        raise UserError(
            f"{path}: fn_completions={found} does not ask at judge.endpoint; allowed is an evaluator with "
            f"fn_completions: {ASKED_BY}"
        )
    template = str(config.get("prompt_template"))
    if template.startswith(PACKAGE):
        places = [package_folder() / template.removeprefix(PACKAGE)]
    else:
        # alpaca_eval's own evaluators name their prompt from the folder above.
        places = [folder / template, folder.parent / template]
    prompt = next((place for place in places if place.is_file()), None)
    if prompt is None:
        raise UserError(f"{path}: prompt_template={template}: no such file in {places[0].parent}")
    _check_slots(prompt, config.get("batch_size", 1))
    return str(name), config, prompt


def _check_slots(prompt: Path, batch_size: Any) -> None:
    """That a prompt shows what is compared, and has nothing else that alpaca_eval would fill in and fail at."""
    found = Counter(FILLED.findall(read_text(prompt)))
    needed = f"needed: {', '.join(SLOTS)}"
    for slot in SLOTS:
        if slot not in found:
            raise UserError(f"{prompt}: has no {slot}, so the judge would not see it; {needed}")
    for slot, times in found.items():
        if slot not in SLOTS:
            raise UserError(f"{prompt}: has {slot}, which alpaca_eval would fill in and cannot; {needed}")
        if times != batch_size:
            raise UserError(f"{prompt}: has {slot} {times} times, and {CONFIG} says batch_size={batch_size}")


def check_reasoning(name: str) -> None:
    """Refuse an evaluator that a reasoning model cannot be asked by.

    Raises:
        UserError: ``judge.evaluator`` reads log-probabilities, or sends its prompt without a chat's form.
    """
    options = read_evaluator(evaluator_folder(name))[1].get("completions_kwargs", {})
    is_chat = options.get("is_chat", options.get("requires_chatml", True))
    problem = "reads log-probabilities" if options.get("logprobs") else "" if is_chat else "sends no chats"
    if problem:
        raise UserError(
            f"judge.reasoning=true does not go with judge.evaluator={name}, which {problem}; choose another evaluator"
        )


def evaluator_hash(folder: Path) -> str:
    """What identifies an evaluator: the files of its folder, and its prompt where that lies elsewhere."""
    _, _, prompt = read_evaluator(folder)
    inside = folder_hash(folder)
    return inside if prompt.parent == folder else fingerprint([inside, file_hash(prompt)])
