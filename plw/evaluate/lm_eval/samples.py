"""Every document with what the model was asked and answered, in the files that ``lm_eval --log_samples`` writes."""

import json
from collections.abc import Collection, Mapping
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plw.files.writing import open_atomic, write_text_atomic

if TYPE_CHECKING:
    from plw.evaluate.lm_eval.tasks import LoadedTask

LISTS_OF_NAMES = "group_subtasks"
"""The part of lm-eval's results whose values name tasks."""


def write_samples(folder: Path, loaded: Mapping[str, "LoadedTask"], results: Collection[Mapping[str, Any]]) -> None:
    """Write ``samples_<task>_<time>.jsonl`` of each task, and ``results_<time>.json``, with lm-eval's own fields.

    Tasks bear lm-eval's names. Where two benchmarks of a suite are one task (with other shots), every task bears the
    suite's name of its benchmark instead.

    Args:
        folder: Where they are written.
        loaded: Benchmark -> its tasks.
        results: What lm-eval returned, one of each call, with samples.

    Raises:
        OSError: they cannot be written.
    """
    import lm_eval
    from lm_eval.utils import handle_non_serializable, hash_string

    time = datetime.now().isoformat().replace(":", "-")
    names = _file_names(loaded)
    merged: dict[str, Any] = {}
    hashes = {}
    for result in results:
        renamed = {name: names.get(name, name) for name in chain(result["samples"], result["results"])}
        for task, samples in result["samples"].items():
            hashes[renamed[task]] = hash_string(
                "".join(sample["doc_hash"] + sample["prompt_hash"] + sample["target_hash"] for sample in samples)
            )
            with open_atomic(folder / f"samples_{renamed[task]}_{time}.jsonl") as file:
                for sample in samples:
                    line = json.dumps(_as_logged(sample), default=handle_non_serializable, ensure_ascii=False)
                    # An answer may hold half of a surrogate pair, which is no UTF-8.
                    file.write(line.encode(errors="backslashreplace") + b"\n")
        for part, value in result.items():
            if part != "samples" and isinstance(value, Mapping):
                merged[part] = merged.get(part, {}) | _renamed(part, value, renamed)
    merged |= {"lm_eval_version": lm_eval.__version__, "task_hashes": hashes}
    text = json.dumps(merged, indent=2, default=handle_non_serializable, ensure_ascii=False)
    write_text_atomic(folder / f"results_{time}.json", text + "\n")


def _file_names(loaded: Mapping[str, "LoadedTask"]) -> dict[str, str]:
    """The name in lm-eval's result of each single task, as the suite called it -> the task's own."""
    single = {name: str(found.tasks[name].config.task) for name, found in loaded.items() if not found.groups}
    in_groups = [name for found in loaded.values() if found.groups for name in found.tasks]
    own = [*single.values(), *in_groups]
    return single if len(set(own)) == len(own) else {}


def _renamed(part: str, value: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    found = {names.get(name, name): about for name, about in value.items()}
    if part == LISTS_OF_NAMES:
        return {name: [names.get(inner, inner) for inner in about] for name, about in found.items()}
    return found


def _as_logged(sample: Mapping[str, Any]) -> dict[str, Any]:
    """A sample as lm-eval's ``EvaluationTracker.save_results_samples`` has it, which says nothing of a full disk."""
    from lm_eval.utils import sanitize_list

    arguments = {
        f"gen_args_{number}": {f"arg_{place}": value for place, value in enumerate(asked)}
        for number, asked in enumerate(sample["arguments"])
    }
    return {
        **sample,
        "arguments": arguments,
        "resps": sanitize_list(sample["resps"]),
        "filtered_resps": sanitize_list(sample["filtered_resps"]),
        "target": str(sample["target"]),
    }
