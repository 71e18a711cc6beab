"""What no weight can be chosen by is refused before the first training."""

import json

import pytest

from plw.commands.choice import chosen_cell
from plw.commands.measurable import check_measurable
from plw.errors import UserError

TASK = "+suite.tasks.own={{task: {task}, group: multiple_choice, metric: '{metric}'}}"


def config(*words, suite="held-out", stages="train,harness"):
    prompts = ["suite.prompts.held_out.prompts=''"] if suite == "held-out" else []
    return chosen_cell(["study=tune", "scale=own", f"suite={suite}", *prompts, f"stages=[{stages}]", *words])


SERVE = [("ifeval", "inst_level_loose_acc"), ("mmlu", "acc"), ("plw_mmlu", "exact_match,flexible-extract")]


@pytest.mark.parametrize(("task", "metric"), SERVE)
def test_metrics_of_single_documents_pass(task, metric):
    check_measurable(config(TASK.format(task=task, metric=metric)))


@pytest.mark.parametrize(("task", "metric", "said"), [("cola", "mcc", "it has no other"), ("cb", "f1", "metric=acc;")])
def test_metrics_of_all_documents_together_are_refused_with_those_that_serve(task, metric, said):
    with pytest.raises(UserError, match=said):
        check_measurable(config(TASK.format(task=task, metric=metric)))


def test_the_projects_own_tasks_need_no_look_since_all_their_metrics_serve():
    from plw.evaluate.lm_eval.aggregations import BY_ITEMS, listed_aggregations
    from plw.evaluate.lm_eval.task_index import task_manager
    from plw.paths import task_folder

    own = [path.stem for path in task_folder().glob("*.yaml")]
    manager = task_manager((task_folder(),), builtin=True, names=own)
    found = {name: listed_aggregations(manager, name) for name in own}
    assert len(found) > 10
    for name, listed in found.items():
        for metric, made_by in listed.items():
            assert made_by <= set(BY_ITEMS), (name, metric)


def test_nothing_scored_and_single_items_are_refused(tmp_path):
    with pytest.raises(UserError, match="no headline score"):
        check_measurable(config(stages="train"))
    with pytest.raises(UserError, match="no headline score"):
        check_measurable(config(stages="train,harness"))
    check_measurable(config(stages="train,generate"))
    for words, stages in (
        (["suite=world", "suite.tasks.piqa.limit=1"], "train,harness"),
        (["suite=world", "suite.limit=1"], "train,harness"),
        (["suite=world", "suite.prompts.pandalm.limit=1"], "train,generate,judge"),
    ):
        with pytest.raises(UserError, match="2 items of"):
            check_measurable(config(*words[1:], suite="world", stages=stages))
    empty = tmp_path / "empty.json"
    empty.write_text(json.dumps([{"instruction": "Say a.", "output": output} for output in ("a", " ", "b")]))
    with pytest.raises(UserError, match="row 2 has an empty reference"):
        check_measurable(config(f"suite.prompts.held_out.prompts={empty}", stages="train,generate"))
    alone = tmp_path / "one.json"
    alone.write_text(json.dumps([{"instruction": "Say a.", "output": "a"}]))
    with pytest.raises(UserError, match=r"one\.json has a single row"):
        check_measurable(config(f"suite.prompts.held_out.prompts={alone}", stages="train,generate"))
