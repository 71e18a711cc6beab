"""The harness stage in a cell: continued after a failure in the middle, and lm-eval's samples on request."""

import logging
from pathlib import Path

import pytest

from plw.config import CellConfig
from plw.errors import UserError
from plw.files.hashing import file_hash
from plw.files.reading import read_json
from plw.pipeline import JudgeCache, resolve_cell, run_cell
from plw.results.items import ITEMS
from tests.unit.pipeline.conftest import OwnStudy, run

WORDS = ("stages=[train,harness]", "suite.batch_size=2")
PAGES = """
task: wikitext
dataset_path: json
dataset_kwargs: {{data_files: {{test: {folder}/pages.jsonl}}}}
output_type: loglikelihood_rolling
test_split: test
doc_to_text: ""
doc_to_target: "{{{{page}}}}"
metric_list: [{{metric: byte_perplexity}}, {{metric: bits_per_byte}}]
"""
"""A task file under the name of one of lm-eval's."""


def harness(config: CellConfig) -> Path:
    return resolve_cell(config).stages["harness"].folder


def test_continued_after_a_failure_in_the_middle_and_with_samples(
    own_study: OwnStudy, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The device fails at the ninth of sixteen requests; the second attempt continues at the eighth."""
    whole = own_study(*WORDS, f"execution.runs={tmp_path}/whole")
    cut = own_study(*WORDS, f"execution.runs={tmp_path}/cut", "suite.samples=true")
    run(whole)
    heard: list[tuple[int, int | None, str]] = []

    def report(label: str, stage: str, done: int, total: int | None, note: str) -> None:
        if stage == "harness":
            heard.append((done, total, note))
            if len(heard) == 9:
                raise RuntimeError("the device is gone")

    caplog.set_level(logging.INFO, "plw")
    with JudgeCache() as judges:
        outcome = run_cell(resolve_cell(cut), report, judges)

    assert {kind: stage.status for kind, stage in outcome.stages.items()} == {"train": "done", "harness": "done"}
    assert heard[9] == (8, 16, "continues at 8 of 16 requests")
    assert any("continues at 8 of 16 requests" in message for message in caplog.messages)
    folder = harness(cut)
    records = [read_json(stage / "record.json") for stage in (harness(whole), folder)]
    assert [record["attempts"] for record in records] == [1, 2]
    assert records[0]["scores"] == records[1]["scores"]
    products = [record["products"] for record in records]
    assert products[0].keys() == {ITEMS, "results.json"}
    assert all(products[1][name]["sha256"] == about["sha256"] for name, about in products[0].items())
    results, samples = sorted(products[1].keys() - products[0].keys())
    assert results.startswith("samples/results_")
    assert samples.startswith("samples/samples_piqa_")
    assert products[1][samples]["sha256"] == file_hash(folder / samples)
    assert len((folder / samples).read_text().splitlines()) == 8
    assert not list(folder.glob("answers*"))
    assert not (folder / ".samples").exists()

    caplog.clear()
    run(own_study(*WORDS, f"execution.runs={tmp_path}/whole", "suite.samples=true"))
    (line,) = [message for message in caplog.messages if "samples" in message]
    assert str(harness(whole)) in line
    assert "\n" not in line


def test_a_task_of_the_users_own_folder_goes_before_lm_evals_of_its_name(own_study: OwnStudy, tmp_path: Path) -> None:
    """lm-eval's ``--include_path``, with a kind of task that has no items of right and wrong: perplexity."""
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks/pages.yaml").write_text(PAGES.format(folder=tmp_path))
    (tmp_path / "pages.jsonl").write_text('{"page": "It is 1. It is 2."}\n{"page": "Say 3."}\n')
    (tmp_path / "conf/suite/pages.yaml").write_text(
        f"name: pages\ntask_folder: {tmp_path}/tasks\n"
        "tasks: {pages: {task: wikitext, group: multiple_choice, metric: null}}\n"
    )
    config = own_study(*WORDS, "suite=pages")
    run(config)
    scores = {row["metric"]: row for row in read_json(harness(config) / "record.json")["scores"]}
    assert not any(row["headline"] for row in scores.values()), "a perplexity has no highest value"
    assert not scores["bits_per_byte"]["higher_is_better"]
    assert scores["byte_perplexity"]["value"] == pytest.approx(2 ** scores["bits_per_byte"]["value"])
    assert scores["bits_per_byte"]["n"] == 2

    (tmp_path / "tasks/pages.yaml").write_text(PAGES.format(folder=tmp_path) + "metadata: {version: 2}\n")
    with pytest.raises(UserError, match=r"was made for another harness.* tasks\.pages\.definition: "):
        run(config)


@pytest.mark.parametrize(
    ("folder", "said"),
    [
        ("nosuch", "no such folder"),
        ("records.json", "no such folder"),
        ("model", r"no lm-eval task file \(NAME\.yaml\)"),
    ],
)
def test_a_folder_without_task_files_is_told(own_study: OwnStudy, tmp_path: Path, folder: str, said: str) -> None:
    with pytest.raises(UserError, match=rf"suite\.task_folder={tmp_path}/{folder}: {said}"):
        resolve_cell(own_study(*WORDS, f"suite.task_folder={tmp_path}/{folder}"))


def test_a_headline_without_a_highest_value_is_refused_before_the_first_cell(own_study: OwnStudy) -> None:
    with pytest.raises(
        UserError, match=r"suite\.tasks\.piqa\.metric=word_perplexity has no highest value.*metric=null"
    ):
        own_study(*WORDS, "suite.tasks.piqa.metric=word_perplexity")
