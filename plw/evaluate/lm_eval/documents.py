"""Documents of a benchmark that cannot be scored, told with their row before the model is asked for anything."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plw.errors import UserError

if TYPE_CHECKING:
    from lm_eval.api.task import Task


def check_documents(
    benchmark: str, tasks: "Iterable[Task]", files: Mapping[str, Path], limit: int | None = None
) -> None:
    """Check that each question of multiple choice has texts to choose from and an answer among them.

    lm-eval scores a label that is none of the choices as a wrong answer, whatever the model says. Tasks that read their
    labels with code of their own are left to it.

    Args:
        benchmark: The suite's name for it, for messages.
        tasks: Its tasks.
        files: Split name -> local file, for messages.
        limit: Documents of each task that are scored; all if None.

    Raises:
        UserError: the first document that cannot be scored, with benchmark, file and row.
    """
    for task in tasks:
        if task.OUTPUT_TYPE != "multiple_choice" or callable(getattr(task.config, "process_results", None)):
            continue
        for where, document in _read_documents(task, files, limit):
            problem = _problem(task, document)
            if problem:
                raise UserError(f"suite.tasks.{benchmark}: {where} {problem}")


def _read_documents(task: "Task", files: Mapping[str, Path], limit: int | None) -> Iterator[tuple[str, Any]]:
    """("<file or data>: row <number from 1>", document) of those that are scored, and of those given as examples."""
    config = task.config
    scored = config.test_split if task.has_test_docs() else config.validation_split
    yield from _numbered(task, islice(task.eval_docs, limit), scored, files)
    if config.num_fewshot:
        shown = next((split for split in (config.fewshot_split, config.training_split) if split), None)
        yield from _numbered(task, task.fewshot_docs(), shown, files)


def _numbered(
    task: "Task", documents: Iterable[Any], split: str | None, files: Mapping[str, Path]
) -> Iterator[tuple[str, Any]]:
    place = files.get(split or "") or f"{task.config.task}, {split}"
    # A task may leave rows of its data out.
    word = "document" if task.config.process_docs is not None else "row"
    for number, document in enumerate(documents, start=1):
        yield f"{place}: {word} {number}", document


def _problem(task: "Task", document: Any) -> str | None:
    from jinja2 import TemplateError

    try:
        choices = task.doc_to_choice(document)
        label = task.doc_to_text(document) if task.multiple_input else task.doc_to_target(document)
    except (TemplateError, TypeError, KeyError, IndexError, ValueError, SyntaxError) as error:
        said = " ".join(str(error).split())
        return f"does not fit the task that reads it ({type(error).__name__}: {said})"
    missing = next((number for number, choice in enumerate(choices) if not isinstance(choice, str)), None)
    if missing is not None:
        return f"has no text for choice {missing}; found {choices[missing]!r}"
    for one in label if isinstance(label, list) else [label]:
        if not (isinstance(one, int) and 0 <= one < len(choices)) and not (isinstance(one, str) and one in choices):
            kind = "text" if isinstance(one, str) else type(one).__name__
            return (
                f"has the label {one!r} ({kind}), which is none of its {len(choices)} choices; "
                f"allowed: a number from 0 to {len(choices) - 1}, or the text of a choice"
            )
    return None
