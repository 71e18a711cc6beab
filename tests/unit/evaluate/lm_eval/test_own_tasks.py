"""A task file of one's own that lm-eval leaves out is told with its reason, a column of mixed types with its row."""

from pathlib import Path

import pytest

from plw.config.evaluation import SuiteConfig, TaskConfig
from plw.errors import UserError
from plw.evaluate.lm_eval.tasks import check_tasks, read_splits

GOOD = "task: mine\ndataset_path: json\noutput_type: multiple_choice\nvalidation_split: validation\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (GOOD + "doc_to_text: [\n", r"mine.yaml cannot be read \(line 6: "),
        (GOOD + "\tdoc_to_text: x\n", r"mine.yaml cannot be read \(line 5: found a tab character"),
        ("include: nosuch.yaml\ntask: mine\n", "mine.yaml cannot be read .*nosuch.yaml"),
        (GOOD.replace("task: mine", "task: other"), "mine.yaml names its task 'other'"),
        (GOOD.replace("task: mine\n", ""), "mine.yaml names no task; write task: NAME into it"),
        ("- mine\n", "mine.yaml cannot be read"),
    ],
)
def test_a_file_that_lm_eval_leaves_out(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    tasks = {"bench": TaskConfig(task="mine", group="multiple_choice")}
    suite = SuiteConfig(name="s", tasks=tasks, builtin_tasks=False)
    with pytest.raises(UserError, match=rf"suite\.tasks\.bench\.task=mine: .*{told}") as caught:
        check_tasks(suite, (tmp_path,), {})
    assert "\n" not in str(caught.value)


def test_a_function_whose_module_is_not_there_is_no_package(tmp_path: Path) -> None:
    """It was advised to install whatever the package index has under the name."""
    (tmp_path / "mine.yaml").write_text(GOOD + "doc_to_text: !function nosuchmodule.text\n")
    (tmp_path / "a.jsonl").write_text('{"q": "a"}\n')
    tasks = {"bench": TaskConfig(task="mine", group="multiple_choice")}
    suite = SuiteConfig(name="s", tasks=tasks, builtin_tasks=False)
    with pytest.raises(UserError, match=rf"names a function of nosuchmodule, and {tmp_path} holds no nosuchmodule.py"):
        check_tasks(suite, (tmp_path,), {"bench": {"validation": tmp_path / "a.jsonl"}})


def test_a_column_of_mixed_types_names_row_and_field(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"q": "a", "n": null}\n{"q": "a", "n": 1}\n{"q": 2, "n": true}\n')
    with pytest.raises(UserError, match=r"a.jsonl: row 3: field 'q' is a number, where it is text in row 1"):
        read_splits({"validation": str(tmp_path / "a.jsonl")})
