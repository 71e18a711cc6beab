"""How the items of a task make its scores, by the names that the item table has for it."""

from typing import TYPE_CHECKING, Any

from plw.results.corpus_metrics import COUNTED, SHARE
from plw.results.items import MEAN

if TYPE_CHECKING:
    from lm_eval.tasks import TaskManager

INSTRUCTION_SHARES = ("agg_inst_level_acc", "mean_over_instructions")
"""Functions that make a score of the parts of all items: IFEval's and the embedded world's."""
BY_ITEMS = (MEAN, *COUNTED)
"""What trainings can be compared by item by item."""


def aggregation_name(function: Any) -> str:
    """The name of a function that makes a score, or of one that a task's file writes as ``FOLDER/MODULE.FUNCTION``."""
    from lm_eval.api import metrics

    known = {metrics.mean: MEAN, metrics.nanmean: MEAN, metrics.chrfpp: "chrf++"}
    name = function.rpartition(".")[2] if isinstance(function, str) else str(getattr(function, "__name__", function))
    return SHARE if name in INSTRUCTION_SHARES else known.get(function, name)


def listed_aggregations(manager: "TaskManager", name: str) -> dict[str, set[str]]:
    """Metric -> what makes its score, as the files of a task, or of a group's tasks, list it; no document is loaded.

    Of tasks in Python, and of metrics that a file leaves to lm-eval, nothing is known here.
    """
    from lm_eval.api import registry
    from lm_eval.tasks._yaml_loader import load_yaml

    entry = manager.task_index.get(name)
    if entry is None or entry.yaml_path is None:
        return {}
    fields = load_yaml(entry.yaml_path, resolve_func=False)
    found: dict[str, set[str]] = {}
    if name in manager.all_groups:
        members = fields.get("task")
        for member in members if isinstance(members, list) else ():
            inner = listed_aggregations(manager, member) if isinstance(member, str) else {}
            for metric, names in inner.items():
                found.setdefault(metric, set()).update(names)
        return found
    for item in fields.get("metric_list") or ():
        if not isinstance(item, dict):
            continue
        # A function of the task's own is written as FOLDER/MODULE.FUNCTION, and goes by its name.
        metric = str(item["metric"]).rpartition("/")[2]
        metric = metric.rpartition(".")[2] if metric != item["metric"] else metric
        given = item.get("aggregation")
        usual = registry.metric_agg_registry if given is None else registry.aggregation_registry
        key = metric if given is None else given
        function = usual.get(key) if key in usual else given
        if function is not None:
            found[metric] = {aggregation_name(function)}
    return found
