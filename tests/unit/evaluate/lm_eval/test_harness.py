"""The harness in process: the same numbers as lm-eval called by itself, every metric kept, mistakes told in a line."""

import json
import logging
import random
from pathlib import Path
from typing import Any

import lm_eval
import numpy as np
import pytest
from lm_eval.api import metrics as lm_eval_metrics

from plw.config.evaluation import SuiteConfig, TaskConfig
from plw.errors import UserError
from plw.evaluate.lm_eval.bootstrap import bootstrap_stderr
from plw.evaluate.lm_eval.harness import run_tasks
from plw.evaluate.models.hf import EvalModel
from plw.evaluate.quiet import quiet

LM_EVAL_PIQA = Path(lm_eval.__file__).parent / "tasks" / "piqa"

WORDS = ["the", "weather", "market", "sells", "rope", "knife", "river", "valley", "salt", "who", "lives", "there"]

TRANSLATION = """
task: toy_translation
dataset_path: json
dataset_kwargs: {data_files: {test: given-at-run-time.jsonl}}
test_split: test
output_type: generate_until
doc_to_text: "A: {{a}}\\nB:"
doc_to_target: " {{b}}"
generation_kwargs: {until: ["\\n"], max_gen_toks: 6, do_sample: false}
metric_list:
  - {metric: bleu, aggregation: bleu, higher_is_better: true}
  - {metric: chrf, aggregation: chrf, higher_is_better: true}
metadata: {version: 3.0}
"""


def sentence(rng: random.Random, words: int) -> str:
    return " ".join(rng.choices(WORDS, k=words))


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def piqa(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = random.Random(1)
    rows = [
        {"goal": sentence(rng, 5), "sol1": sentence(rng, 4), "sol2": sentence(rng, 7), "label": rng.randrange(2)}
        for _ in range(40)
    ]
    return write_rows(tmp_path_factory.mktemp("piqa") / "piqa.jsonl", rows)


def suite(**tasks: TaskConfig) -> SuiteConfig:
    return SuiteConfig(name="test", tasks=tasks, builtin_tasks=False, batch_size=8)


def piqa_task(**fields: Any) -> TaskConfig:
    return TaskConfig(**{"task": "piqa", "group": "multiple_choice", "metric": "acc_norm", **fields})


def lm_eval_alone(
    tiny_folder: Path, data: Path, work: Path, monkeypatch: pytest.MonkeyPatch, limit: int | None = None
) -> dict[str, Any]:
    """lm-eval's own entry point on the same model folder, the file given as its documentation says."""
    import datasets
    from lm_eval.tasks import TaskManager

    (work / "piqa_local.yaml").write_text(
        f"include: {LM_EVAL_PIQA}/piqa.yaml\ntask: piqa\ndataset_path: json\ndataset_name: null\ntraining_split: null\n"
        f"dataset_kwargs: {{data_files: {{validation: {data}}}}}\n"
    )
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(work / "cache"))
    with quiet("lm_eval", "datasets", "transformers"):
        result = lm_eval.simple_evaluate(
            model="hf",
            model_args={"pretrained": str(tiny_folder), "dtype": "float32"},
            tasks=["piqa"],
            task_manager=TaskManager(include_path=str(work), include_defaults=False),
            batch_size=8,
            device="cpu",
            limit=limit,
        )
    assert result is not None
    found: dict[str, Any] = result["results"]["piqa"]
    return found


def test_own_task_on_a_local_file_equals_lm_eval_alone(
    loaded: EvalModel, tiny_folder: Path, piqa: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = lm_eval_alone(tiny_folder, piqa, tmp_path, monkeypatch)

    result = run_tasks(loaded, suite(PIQA=piqa_task()), {"PIQA": {"validation": piqa}}, (LM_EVAL_PIQA,))

    *scores, cut = result.scores
    assert (cut.metric, cut.value, cut.n, cut.headline) == ("cut", 0.0, 40, False)
    assert {(score.metric, score.value, score.stderr) for score in scores} == {
        (metric, expected[f"{metric},none"], expected[f"{metric}_stderr,none"]) for metric in ("acc", "acc_norm")
    }
    assert [score.metric for score in result.scores if score.headline] == ["acc_norm"]
    for score in scores:
        assert (score.suite, score.benchmark, score.n, score.higher_is_better) == ("test", "PIQA", 40, True)
        assert score.task_version == "1.0"
        assert score.library_version == f"lm-eval {lm_eval.__version__}"
    assert json.loads(json.dumps(result.raw)) == result.raw


def test_real_piqa_equals_lm_eval_alone(
    loaded: EvalModel, tiny_folder: Path, shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = (shared_data / "tasks" / "piqa_validation.jsonl").read_text().splitlines()
    # A character-level model of 512 positions: the longest solutions do not fit.
    data = tmp_path / "piqa.jsonl"
    data.write_text("".join(row + "\n" for row in rows if len(row) < 300))
    expected = lm_eval_alone(tiny_folder, data, tmp_path, monkeypatch, limit=60)

    limited = SuiteConfig(name="test", tasks={"piqa": piqa_task()}, builtin_tasks=False, batch_size=8, limit=60)
    scores = run_tasks(loaded, limited, {"piqa": {"validation": data}}, (LM_EVAL_PIQA,)).scores

    assert {score.metric: score.value for score in scores} == {
        "acc": expected["acc,none"],
        "acc_norm": expected["acc_norm,none"],
        "cut": 0,
    }


def test_benchmarks_of_different_limits_score_as_each_would_alone(loaded: EvalModel, piqa: Path) -> None:
    """A benchmark's own limit and the suite's: the smaller counts, whatever stands beside it."""
    together = SuiteConfig(
        name="test",
        tasks={"few": piqa_task(limit=7), "most": piqa_task(limit=99), "all": piqa_task()},
        builtin_tasks=False,
        batch_size=8,
        limit=30,
    )
    files = {name: {"validation": piqa} for name in together.tasks}

    def scores_of(suite: SuiteConfig) -> dict[str, list[tuple[str, float, int]]]:
        found: dict[str, list[tuple[str, float, int]]] = {}
        for score in run_tasks(loaded, suite, files, (LM_EVAL_PIQA,)).scores:
            found.setdefault(score.benchmark, []).append((score.metric, score.value, score.n))
        return found

    found = scores_of(together)
    for name, limit in {"few": 7, "most": 30, "all": 30}.items():
        alone = SuiteConfig(name="test", tasks={name: piqa_task()}, builtin_tasks=False, batch_size=8, limit=limit)
        assert found[name] == scores_of(alone)[name]
        assert {n for _, _, n in found[name]} == {limit}


def test_two_benchmarks_of_one_task_and_a_changed_file_are_read_anew(
    loaded: EvalModel, piqa: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data.jsonl"
    rows = [json.loads(line) for line in piqa.read_text().splitlines()]
    write_rows(data, rows)
    tasks = suite(plain=piqa_task(metric="acc"), shots=piqa_task(metric="acc", shots=2))
    files = {"plain": {"validation": data}, "shots": {"train": piqa, "validation": data}}

    before = run_tasks(loaded, tasks, files, (LM_EVAL_PIQA,))
    again = run_tasks(loaded, tasks, files, (LM_EVAL_PIQA,))
    write_rows(data, [{**row, "label": 1 - row["label"]} for row in rows])
    after = run_tasks(loaded, tasks, files, (LM_EVAL_PIQA,))

    assert before == again
    assert before.raw["n-shot"] == {"plain": 0, "shots": 2}
    first, second = before.scores[0], after.scores[0]
    assert first.metric == second.metric == "acc"
    assert first.value == pytest.approx(1 - second.value)


def test_generation_metrics_have_the_stderr_that_lm_eval_gives(loaded: EvalModel, tmp_path: Path) -> None:
    rng = random.Random(2)
    (tmp_path / "toy.yaml").write_text(TRANSLATION)
    data = write_rows(tmp_path / "toy.jsonl", [{"a": sentence(rng, 4), "b": sentence(rng, 4)} for _ in range(12)])
    task = TaskConfig(task="toy_translation", group="translation", metric="bleu")
    heard: list[tuple[int, int, str]] = []

    result = run_tasks(
        loaded,
        suite(toy=task),
        {"toy": {"test": data}},
        (tmp_path,),
        lambda done, total, note="": heard.append((done, total, note)),
    )

    assert [score.metric for score in result.scores] == ["bleu", "chrf", "cut"]
    assert all(score.stderr is not None and score.n == 12 for score in result.scores[:2])
    assert heard[-1] == (12, 12, "Running generate_until requests")


def test_answers_are_cut_where_the_suite_says_and_only_where_there_are_answers(
    loaded: EvalModel, piqa: Path, tmp_path: Path
) -> None:
    (tmp_path / "toy.yaml").write_text(TRANSLATION)
    data = write_rows(tmp_path / "toy.jsonl", [{"a": "the river", "b": "salt"}, {"a": "rope", "b": "knife"}])

    def answers(max_new_tokens: int | None) -> list[str]:
        task = TaskConfig(task="toy_translation", group="translation", metric="bleu", max_new_tokens=max_new_tokens)
        folder = tmp_path / f"samples-{max_new_tokens}"
        run_tasks(loaded, suite(toy=task), {"toy": {"test": data}}, (tmp_path,), samples=folder)
        (file,) = folder.glob("*.jsonl")
        return [json.loads(line)["resps"][0][0] for line in file.read_text().splitlines()]

    for short, own, six in zip(answers(2), answers(None), answers(6), strict=True):
        assert own == six, "the task itself says 6"
        assert own.startswith(short)
        assert own != short
    with pytest.raises(UserError, match=r"max_new_tokens=3: piqa is no single task that generates answers"):
        run_tasks(loaded, suite(piqa=piqa_task(max_new_tokens=3)), {"piqa": {"validation": piqa}}, (LM_EVAL_PIQA,))


@pytest.mark.parametrize("name", ["bleu", "chrf", "chrfpp", "ter", "median"])
@pytest.mark.parametrize("iters", [7, 100])
def test_resampling_equals_lm_evals_to_the_last_digit(name: str, iters: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(3)
    statistic = getattr(lm_eval_metrics, name)
    items: list[Any] = [(sentence(rng, 8), sentence(rng, 8) + " .") for _ in range(9)]
    if name == "median":
        items = [rng.random() for _ in range(9)]
    monkeypatch.setenv("DISABLE_MULTIPROC", "1")
    with quiet():
        expected = lm_eval_metrics.bootstrap_stderr(statistic, items, iters)

    assert bootstrap_stderr(statistic, items, iters) == expected


def test_resampling_of_several_references_equals_lm_evals(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(4)
    items = [([sentence(rng, 6), sentence(rng, 6)], [sentence(rng, 6)]) for _ in range(6)]
    monkeypatch.setenv("DISABLE_MULTIPROC", "1")
    with quiet():
        expected = lm_eval_metrics.bootstrap_stderr(lm_eval_metrics.bleu, items, 5)

    assert bootstrap_stderr(lm_eval_metrics.bleu, items, 5) == expected


def test_nothing_is_printed(loaded: EvalModel, piqa: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run_tasks(loaded, suite(PIQA=piqa_task()), {"PIQA": {"validation": piqa}}, (LM_EVAL_PIQA,))

    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("task", "files", "said"),
    [
        ({"task": "piqqa"}, {"validation": "good"}, r"suite\.tasks\.bench\.task=piqqa is not a task.*piqa"),
        ({"metric": "bleu"}, {"validation": "good"}, r"suite\.tasks\.bench\.metric=bleu .* allowed: acc, acc_norm"),
        ({"metric": "acc,strict"}, {"validation": "good"}, r"metric=acc,strict .* allowed: acc, acc_norm"),
        ({}, {"test": "good"}, r"files\.test: piqa has no such split; allowed: \['train', 'validation'\]"),
        ({}, {"train": "good"}, r"files has no validation, which piqa is scored on"),
        ({"shots": 3}, {"validation": "good"}, r"files has no train, which piqa draws its examples from"),
        ({}, {"validation": "other"}, r"bench: the task piqa cannot read .*other\.jsonl \(UndefinedError"),
        (
            {},
            {"validation": "mixed"},
            r"mixed\.jsonl: row 2: field 'label' is text, where it is a number in row 1; give",
        ),
        ({}, {"validation": "broken"}, r"broken\.jsonl: row 2 is not valid JSON"),
        ({}, {"validation": "empty"}, r"empty\.jsonl: holds no rows"),
        ({}, {"validation": "gap"}, r"suite\.tasks\.bench: .*gap\.jsonl: row 2 has no text for choice 1; found None"),
        ({}, {"validation": "missing"}, r"missing\.jsonl: no such file"),
        ({}, {"validation": "long"}, r"longer than the model's context of 512 tokens"),
    ],
)
def test_mistakes_are_told_in_a_line(
    loaded: EvalModel, piqa: Path, tmp_path: Path, task: dict[str, Any], files: dict[str, str], said: str
) -> None:
    row = {"goal": "a", "sol1": "b", "sol2": "c", "label": 0}
    write_rows(tmp_path / "good.jsonl", [row])
    write_rows(tmp_path / "other.jsonl", [{"question": "a"}])
    write_rows(tmp_path / "mixed.jsonl", [row, {**row, "label": "x"}])
    (tmp_path / "broken.jsonl").write_text(json.dumps(row) + "\n{\n")
    (tmp_path / "empty.jsonl").write_text("")
    write_rows(tmp_path / "gap.jsonl", [row, {"goal": "a", "sol1": "b", "label": 0}])
    write_rows(tmp_path / "long.jsonl", [{**row, "sol1": "zq" * 600}])
    paths = {split: tmp_path / f"{name}.jsonl" for split, name in files.items()}

    with pytest.raises(UserError, match=said) as caught:
        run_tasks(loaded, suite(bench=piqa_task(**task)), {"bench": paths}, (LM_EVAL_PIQA,))

    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("label", "said"),
    [
        ("0", r"row 5 has the label '0' \(text\), which is none of its 2 choices; allowed: a number from 0 to 1"),
        (2, r"row 5 has the label 2 \(int\)"),
        (-1, r"row 5 has the label -1 \(int\)"),
        (1.0, r"row 5 has the label 1\.0 \(float\)"),
        (None, r"row 5 has the label None \(NoneType\)"),
    ],
)
@pytest.mark.parametrize("split", ["validation", "train"])
def test_labels_that_are_none_of_the_choices_are_refused(
    loaded: EvalModel, piqa: Path, tmp_path: Path, label: Any, said: str, split: str
) -> None:
    """lm-eval calls every answer to such a question wrong; as an example it shows the label in place of the answer."""
    rows: list[dict[str, Any]] = [json.loads(line) for line in piqa.read_text().splitlines()[:8]]
    kind = type(label) if label is not None else int
    rows = [{**row, "label": row["label"] if kind is int else row["sol1"] if kind is str else 0.0} for row in rows]
    if kind is float:
        said = said.replace("row 5", "row 1").replace("1\\.0", "0\\.0")
    rows[4] = {**rows[4], "label": label}
    wrong = write_rows(tmp_path / "wrong.jsonl", rows)
    files = {"train": piqa, "validation": piqa, split: wrong}

    with pytest.raises(UserError, match=r"suite\.tasks\.bench: .*wrong\.jsonl: " + said):
        run_tasks(loaded, suite(bench=piqa_task(shots=2)), {"bench": files}, (LM_EVAL_PIQA,))


def test_a_label_may_be_the_text_of_a_choice(loaded: EvalModel, piqa: Path, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in piqa.read_text().splitlines()]
    words = [{**row, "label": row["sol2" if row["label"] else "sol1"]} for row in rows]
    files = {name: write_rows(tmp_path / f"{name}.jsonl", content) for name, content in (("a", rows), ("b", words))}
    a, b = (
        run_tasks(loaded, suite(bench=piqa_task()), {"bench": {"validation": path}}, (LM_EVAL_PIQA,)).scores
        for path in files.values()
    )
    assert a == b


def test_documents_whose_prompt_was_cut_are_counted_and_warned_of_once(
    loaded: EvalModel, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Of twelve questions three and of ten translations two are longer than the context of 512 tokens."""
    rng = random.Random(6)
    questions = [
        {"goal": sentence(rng, 400 if n % 4 == 0 else 5), "sol1": "rope", "sol2": "salt", "label": n % 2}
        for n in range(12)
    ]
    phrases = [{"a": sentence(rng, 400 if n % 5 == 0 else 5), "b": sentence(rng, 4)} for n in range(10)]
    (tmp_path / "toy.yaml").write_text(TRANSLATION)
    (tmp_path / "piqa.yaml").write_text(f"include: {LM_EVAL_PIQA}/piqa.yaml\ntask: piqa\n")
    files = {
        "piqa": {"validation": write_rows(tmp_path / "questions.jsonl", questions)},
        "toy": {"test": write_rows(tmp_path / "phrases.jsonl", phrases)},
    }
    toy = TaskConfig(task="toy_translation", group="translation", metric="bleu")

    with caplog.at_level(logging.WARNING):
        scores = run_tasks(loaded, suite(piqa=piqa_task(), toy=toy), files, (tmp_path,)).scores

    found = {score.benchmark: (score.value, score.n) for score in scores if score.metric == "cut"}
    assert found == {"piqa": (3.0, 12), "toy": (2.0, 10)}
    lines = [record.getMessage() for record in caplog.records if record.name == "plw.evaluate.lm_eval.patches"]
    assert len(lines) == 2
    assert any("lm-eval warned 6 times" in line and "exceeds model's maximum length" in line for line in lines)


GROUPED = """
task: toy_{name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{goal}}}}"
doc_to_target: label
doc_to_choice: "{{{{[sol1, sol2]}}}}"
metric_list:
  - {{metric: acc, aggregation: mean, higher_is_better: true}}
  - {{metric: acc_norm, aggregation: mean, higher_is_better: true}}
metadata: {{version: 2.0}}
"""


@pytest.fixture
def toy_group(tmp_path: Path, piqa: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A group of a task and an inner group, of unequal sizes; the members' files are their own."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "group"
    folder.mkdir()
    rows = piqa.read_text().splitlines(keepends=True)
    for name, count in (("few", 8), ("many", 30)):
        data = tmp_path / f"{name}.jsonl"
        data.write_text("".join(rows[:count]))
        (folder / f"toy_{name}.yaml").write_text(GROUPED.format(name=name, data=data))
    means = "aggregate_metric_list: [{metric: acc, weight_by_size: true}]\nmetadata: {version: 7}\n"
    (folder / "inner.yaml").write_text(f"group: toy_inner\ntask: [toy_many]\n{means}")
    (folder / "outer.yaml").write_text(f"group: toy_group\ntask: [toy_few, toy_inner]\n{means}")
    (folder / "loose.yaml").write_text("group: toy_loose\ntask: [toy_few]\n")
    return folder


def test_a_group_is_a_benchmark_with_its_own_headline_and_rows_of_its_members(
    loaded: EvalModel, tiny_folder: Path, toy_group: Path, piqa: Path
) -> None:
    from lm_eval.tasks import TaskManager

    task = TaskConfig(task="toy_group", group="multiple_choice", metric="acc", shots=2)
    # A benchmark beside the group bears the name of one of its tasks.
    beside = TaskConfig(task="toy_few", group="multiple_choice", metric="acc")
    scores = run_tasks(loaded, suite(grouped=task, toy_few=beside), {}, (toy_group,)).scores
    with quiet("lm_eval", "datasets", "transformers"):
        result = lm_eval.simple_evaluate(
            model="hf",
            model_args={"pretrained": str(tiny_folder), "dtype": "float32"},
            tasks=["toy_group"],
            task_manager=TaskManager(include_path=str(toy_group), include_defaults=False),
            num_fewshot=2,
            batch_size=8,
            device="cpu",
        )
    assert result is not None
    theirs = result["results"]

    found = {(score.benchmark, score.metric): score for score in scores}
    assert [(score.benchmark, score.metric) for score in scores if score.headline] == [
        ("grouped", "acc"), ("toy_few", "acc"),
    ]  # fmt: skip
    for benchmark, name in (
        ("grouped", "toy_group"), ("grouped/toy_few", "toy_few"), ("grouped/toy_inner", "toy_inner"),
        ("grouped/toy_many", "toy_many"),
    ):  # fmt: skip
        score = found[benchmark, "acc"]
        assert (score.value, score.stderr) == (theirs[name]["acc,none"], theirs[name]["acc_stderr,none"])
    assert (found["grouped", "acc"].n, found["grouped/toy_many", "acc_norm"].n) == (38, 30)
    assert (found["grouped", "acc"].task_version, found["grouped/toy_few", "acc"].task_version) == ("7", "2.0")
    assert found["grouped", "acc"].higher_is_better


@pytest.mark.parametrize(
    ("fields", "files", "said"),
    [
        ({"task": "toy_group"}, True, "is a group; give its tasks as benchmarks with files"),
        ({"task": "toy_loose"}, False, "a group without a score of its own.*toy_few"),
        ({"task": "toy_group", "metric": "acc_norm"}, False, "is not reported by toy_group; allowed: acc$"),
    ],
)
def test_mistakes_with_groups(
    loaded: EvalModel, toy_group: Path, piqa: Path, fields: dict[str, Any], files: bool, said: str
) -> None:
    tasks = suite(bench=TaskConfig(**{"group": "multiple_choice", "metric": "acc", **fields}))
    with pytest.raises(UserError, match=said):
        run_tasks(loaded, tasks, {"bench": {"test": piqa}} if files else {}, (toy_group,))


def test_a_resample_of_one_answer_is_that_answer() -> None:
    from rouge_score import rouge_scorer, scoring

    from plw.evaluate.lm_eval.patches import patched_lm_eval

    rng = random.Random(5)
    scorer = rouge_scorer.RougeScorer(["rouge1", "rouge2", "rougeLsum"])
    pairs = [scorer.score(sentence(rng, 5), sentence(rng, 7)) for _ in range(4)]

    def aggregated(scores: list[Any]) -> Any:
        aggregator = scoring.BootstrapAggregator()
        for score in scores:
            aggregator.add_scores(score)
        return aggregator.aggregate()

    expected = [aggregated([pair]) for pair in pairs]
    np.random.seed(0)
    several = aggregated(pairs)
    with patched_lm_eval(lambda *_: None):
        assert [aggregated([pair]) for pair in pairs] == expected
        np.random.seed(0)
        assert aggregated(pairs) == several
    assert isinstance(scoring.BootstrapAggregator, type)
