"""lm-eval's tasks as a suite asks for them: found by name, with its shots, read from local files where given."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plw.config.evaluation import SuiteConfig, TaskConfig
from plw.data.rows import task_rows
from plw.errors import UserError
from plw.evaluate.lm_eval.documents import check_documents
from plw.evaluate.lm_eval.patches import patched_task_loading
from plw.evaluate.lm_eval.requirements import check_nltk_data, missing_package, quiet_downloads
from plw.evaluate.lm_eval.task_index import names_near, task_manager
from plw.files.json_text import kind_of

if TYPE_CHECKING:
    from lm_eval.api.group import Group
    from lm_eval.api.task import Task
    from lm_eval.tasks import TaskManager

SPLIT_FIELDS = ("training_split", "validation_split", "test_split", "fewshot_split")
"""The fields of an lm-eval task that name a split of its dataset."""


@dataclass(frozen=True, kw_only=True)
class LoadedTask:
    """A benchmark ready to be evaluated: one task, or the tasks and groups of a group."""

    name_in_result: str
    """What the harness reports it as: a single task as the benchmark, a group as itself."""
    tasks: "dict[str, Task]"
    groups: "dict[str, Group]" = field(default_factory=dict)
    """The group and the groups inside it; empty for a single task."""

    @property
    def metrics(self) -> list[str]:
        """Names of the metrics that can be the headline."""
        if not self.groups:
            return sorted(self.tasks[self.name_in_result].higher_is_better())
        return sorted({item.metric for item in self.groups[self.name_in_result].aggregate_metric_list or ()})


def suite_tasks(suite: SuiteConfig, folders: tuple[Path, ...]) -> "TaskManager":
    """The index of a suite's tasks; ``folders`` have task files of one's own, as :func:`task_manager`."""
    names = {config.task for config in suite.tasks.values()}
    return task_manager(folders, builtin=suite.builtin_tasks, names=names)


def check_tasks(suite: SuiteConfig, folders: tuple[Path, ...], files: Mapping[str, Mapping[str, Path]]) -> None:
    """Look every task of a suite up, and load those whose documents are at hand as they will be scored.

    Args:
        suite: Benchmarks, their shots and headline metrics.
        folders: Task files of one's own, as :func:`task_manager`.
        files: Benchmark -> split -> local file, of those whose files are there already.

    Raises:
        UserError: an unknown task, with the names that come near; a task that lacks a package or data; documents that
            it cannot score.
    """
    names = {config.task for config in suite.tasks.values()}
    for benchmark, config in suite.tasks.items() if suite.builtin_tasks else ():
        if near := names_near(config.task, names, folders):
            raise _unknown(benchmark, config.task, f"did you mean {', '.join(near)}?")
    manager = suite_tasks(suite, folders)
    for benchmark, config in suite.tasks.items():
        _check_known(manager, benchmark, config.task)
    at_hand = [name for name, config in suite.tasks.items() if name in files or not config.files]
    if at_hand:
        with patched_task_loading():
            for name in at_hand:
                load_checked(manager, name, suite, files.get(name, {}))


def load_checked(manager: "TaskManager", benchmark: str, suite: SuiteConfig, files: Mapping[str, Path]) -> LoadedTask:
    """A benchmark of a suite, ready to be evaluated; ``files`` as :func:`load_task` takes them.

    Raises:
        UserError: as :func:`load_task`; a headline metric that the task does not report; a document that cannot be
            scored.
    """
    config = suite.tasks[benchmark]
    loaded = load_task(manager, benchmark, config, files, suite.bootstrap_seed)
    if config.metric is not None and config.metric.split(",")[0] not in loaded.metrics:
        raise UserError(
            f"suite.tasks.{benchmark}.metric={config.metric} is not reported by {config.task}; "
            f"allowed: {', '.join(loaded.metrics)}"
        )
    check_documents(benchmark, loaded.tasks.values(), files, suite.document_limit(benchmark))
    return loaded


def load_task(
    manager: "TaskManager", benchmark: str, config: TaskConfig, files: Mapping[str, Path], seed: int
) -> LoadedTask:
    """One task or group of tasks, ready to be evaluated.

    Args:
        manager: Where the task is looked up.
        benchmark: The suite's name for it, for messages.
        config: Task name and shots; a group's shots are those of its tasks, save those that are written without any.
        files: Split name -> JSON or JSONL file. Where there is one, the files replace the task's whole dataset: splits
            without a file do not exist.
        seed: Seed of the few-shot sampling.

    Raises:
        UserError: an unknown task, files for a group, a split that the task does not have or needs and has no file for,
            data that the task cannot read, or fewer tokens for a task that generates none.
    """
    _check_known(manager, benchmark, config.task)
    is_group = config.task in manager.all_groups
    overrides: dict[str, Any] = {"task": config.task, "num_fewshot": config.shots}
    if files:
        overrides |= _local_data(manager, benchmark, config, files)
    if config.max_new_tokens is not None:
        overrides |= _shorter_answers(manager, benchmark, config)
    source = None if is_group else manager.task_index[config.task].yaml_path
    try:
        # An inline group is the public way to load a registered task with overrides; a group inside it would get them
        # muddled with those of the outer one.
        with quiet_downloads(source):
            found = manager.load(config.task if is_group else {"group": f"suite::{benchmark}", "task": [overrides]})
    except UserError:
        raise
    except Exception as error:
        missing = missing_package(error, source)
        said = f"the task {config.task} {missing}" if missing else None
        said = said or _unreadable(benchmark, config.task, files, error, _hub_dataset(manager, config.task))
        raise UserError(f"suite.tasks.{benchmark}: {said}") from error
    for name in found["tasks"]:
        source = manager.task_index[name].yaml_path if name in manager.task_index else None
        check_nltk_data(benchmark, name, source)
    for task in found["tasks"].values():
        task.set_fewshot_seed(seed=seed)
    if not is_group:
        return LoadedTask(name_in_result=benchmark, tasks={benchmark: found["tasks"][config.task]})
    for task in found["tasks"].values():
        # As lm-eval's own entry point: a task that says 0 stays without examples.
        if task.get_config("num_fewshot") != 0:
            task.set_config(key="num_fewshot", value=config.shots)
    group = found["groups"][config.task]
    if not group.has_aggregation:
        raise UserError(
            f"suite.tasks.{benchmark}.task={config.task} is a group without a score of its own; give its tasks as "
            f"benchmarks: {', '.join(found['tasks'])}"
        )
    groups = {item.name: item for item in (group, *group.get_all_groups())}
    return LoadedTask(name_in_result=config.task, tasks=found["tasks"], groups=groups)


def reported_metrics(manager: "TaskManager", name: str) -> list[str]:
    """The metrics that a task's file lists, without loading its documents; none of a group or a task in Python."""
    from lm_eval.tasks._yaml_loader import load_yaml

    source = manager.task_index[name].yaml_path if name in manager.task_index else None
    fields = {} if source is None else load_yaml(source, resolve_func=False)
    return [str(item["metric"]) for item in fields.get("metric_list") or () if isinstance(item, dict)]


def _check_known(manager: "TaskManager", benchmark: str, name: str) -> None:
    known = [*manager.all_subtasks, *manager.all_groups]
    if name in known:
        return
    field_name = f"suite.tasks.{benchmark}.task={name}"
    if name in manager.all_tasks:
        raise UserError(f"{field_name} is a tag, a list of tasks; give them as benchmarks of their own")
    files = (Path(folder) / f"{name}.yaml" for folder in reversed(manager.include_path or []))
    if own := next((file for file in files if file.is_file()), None):
        raise UserError(f"{field_name}: {own} {_why_unknown(own)}")
    near = difflib.get_close_matches(name, known, n=5, cutoff=0.5)
    said = f"did you mean {', '.join(near)}?" if near else f"there are {len(known)} others."
    if len(known) <= 20:
        said = f"allowed: {', '.join(known)}."
    raise _unknown(benchmark, name, said)


def _unknown(benchmark: str, name: str, said: str) -> UserError:
    return UserError(
        f"suite.tasks.{benchmark}.task={name} is not a task that lm-eval knows; {said} Task files of yours are found "
        "in suite.task_folder"
    )


def _why_unknown(file: Path) -> str:
    """Why lm-eval, which leaves such files out, knows no task or group of the name that a file of ours has."""
    from lm_eval.tasks._yaml_loader import load_yaml

    try:
        fields = load_yaml(file, resolve_func=False)
    except Exception as error:  # YAML's, those of files that are included, and Python's own of what is no mapping.
        mark, reason = getattr(error, "problem_mark", None), " ".join(str(error).split()) or type(error).__name__
        if mark is not None:
            reason = f"line {mark.line + 1}: {getattr(error, 'problem', reason)}"
        return f"cannot be read ({reason})"
    found = fields.get("group") or fields.get("task")
    return f"names its task {found!r}" if isinstance(found, str) else "names no task; write task: NAME into it"


def _local_data(
    manager: "TaskManager", benchmark: str, config: TaskConfig, files: Mapping[str, Path]
) -> dict[str, Any]:
    """Overrides that make a task read local files; splits without a file are switched off."""
    from lm_eval.tasks._yaml_loader import load_yaml

    if config.task in manager.all_groups:
        raise UserError(
            f"suite.tasks.{benchmark}.files: {config.task} is a group; give its tasks as benchmarks with files"
        )
    source = manager.task_index[config.task].yaml_path
    if source is None:
        raise UserError(
            f"suite.tasks.{benchmark}.files: the task {config.task} is written in Python and reads no files"
        )
    fields = load_yaml(source, resolve_func=False)
    splits: dict[str, str] = {field: fields[field] for field in SPLIT_FIELDS if fields.get(field)}
    known = sorted(set(splits.values()))
    for split in files:
        if split not in known:
            raise UserError(f"suite.tasks.{benchmark}.files.{split}: {config.task} has no such split; allowed: {known}")
    scored = splits.get("test_split") or splits.get("validation_split")
    needed = {scored: "is scored on"} if scored else {}
    if config.shots and not fields.get("fewshot_config"):
        shot_field = next(name for name in ("fewshot_split", *SPLIT_FIELDS) if name in splits)
        needed.setdefault(splits[shot_field], "draws its examples from")
    for split, use in needed.items():
        if split not in files:
            raise UserError(
                f"suite.tasks.{benchmark}.files has no {split}, which {config.task} {use}; found: {sorted(files)}"
            )
    overrides: dict[str, Any] = {field: split if split in files else None for field, split in splits.items()}
    data_files = {split: str(path) for split, path in files.items()}
    if fields.get("custom_dataset"):
        # A loader of the task's own knows what to do with the splits.
        return overrides | {"dataset_kwargs": {**(fields.get("dataset_kwargs") or {}), "data_files": data_files}}
    return overrides | {
        "dataset_path": "json",
        "dataset_name": None,
        "dataset_kwargs": {"data_files": data_files},
        # Rows go to the task from memory: lm-eval's default would copy them into a cache shared by all processes.
        "custom_dataset": read_splits,
    }


def _shorter_answers(manager: "TaskManager", benchmark: str, config: TaskConfig) -> dict[str, Any]:
    """Override that cuts a task's answers after so many tokens."""
    from lm_eval.tasks._yaml_loader import load_yaml

    source = None if config.task in manager.all_groups else manager.task_index[config.task].yaml_path
    fields = {} if source is None else load_yaml(source, resolve_func=False)
    if fields.get("output_type") != "generate_until":
        raise UserError(
            f"suite.tasks.{benchmark}.max_new_tokens={config.max_new_tokens}: {config.task} is no single task that "
            "generates answers; leave it out"
        )
    return {"generation_kwargs": {**(fields.get("generation_kwargs") or {}), "max_gen_toks": config.max_new_tokens}}


def read_splits(data_files: Mapping[str, str], **_: Any) -> Any:
    """The splits as a ``datasets.DatasetDict``; a column that a row lacks is null there, as in the datasets library."""
    import datasets

    splits = datasets.DatasetDict()
    for split, name in data_files.items():
        rows = task_rows(Path(name))
        columns = dict.fromkeys(key for row in rows for key in row)
        try:
            splits[split] = datasets.Dataset.from_dict({key: [row.get(key) for row in rows] for key in columns})
        except (ValueError, TypeError) as error:  # the bases of pyarrow's errors
            raise UserError(f"{name}: {_mixed_column(rows, columns) or f'a column mixes types ({error})'}") from None
    return splits


def _mixed_column(rows: Sequence[Mapping[str, Any]], columns: Iterable[str]) -> str:
    """The first value of another type than those before it in its column, which datasets does not take."""
    for name in columns:
        kinds = [(number, kind_of(row[name])) for number, row in enumerate(rows, start=1) if row.get(name) is not None]
        for number, kind in kinds:
            if kind != kinds[0][1]:
                return (
                    f"row {number}: field '{name}' is {kind}, where it is {kinds[0][1]} in row {kinds[0][0]}; give all "
                    "rows values of one type"
                )
    return ""


def _hub_dataset(manager: "TaskManager", task: str) -> str | None:
    """The hub dataset that a task reads, for messages."""
    from lm_eval.tasks._yaml_loader import load_yaml

    source = manager.task_index[task].yaml_path
    fields = {} if source is None else load_yaml(source, resolve_func=False)
    path, name = fields.get("dataset_path"), fields.get("dataset_name")
    return None if path in (None, "json") else f"{path} ({name})" if name else str(path)


def _unreadable(benchmark: str, task: str, files: Mapping[str, Path], error: Exception, hub_dataset: str | None) -> str:
    reason = (str(error).splitlines() or [""])[0]
    reason = f"{type(error).__name__}: {reason}" if reason else type(error).__name__
    if files:
        named = ", ".join(str(path) for path in files.values())
        return (
            f"the task {task} cannot read {named} ({reason}); see that each row, the first above all, has the fields "
            "and the label that the task reads"
        )
    wanted = f"fetch {hub_dataset} from the hub" if hub_dataset else "fetch it"
    return (
        f"the data of the task {task} cannot be loaded ({reason}); {wanted} where there is a network, or point the "
        f"task at local files with +suite.tasks.{benchmark}.files.SPLIT=FILE"
    )
