"""Words of a command line: any path can be given, entries can be added, and a mistake is one line with its word."""

import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from plw.cli import app
from plw.commands.choice import chosen_cell
from plw.config import CellConfig, PromptSetConfig, SuiteConfig, TaskConfig
from plw.config.overrides import check_overrides, quoted, tell_repeated
from plw.errors import UserError

OWN = (
    "study=own", "scale=own", "model=folder", "model.name=m", "model.path=x", "dataset=file", "dataset.name=d",
    "dataset.path=p", "suite=piqa",
)  # fmt: skip

PIQA = TaskConfig(task="piqa", group="multiple_choice")


@pytest.fixture(autouse=True)
def hydra() -> Iterator[None]:
    yield
    GlobalHydra.instance().clear()


def cell(*words: str) -> CellConfig:
    return chosen_cell([*OWN, *words])


def refused(*words: str) -> str:
    with pytest.raises(UserError) as caught:
        cell(*words)
    line = str(caught.value)
    assert "\n" not in line
    return line


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=30), st.sampled_from("'\""))
def test_a_quoted_text_is_itself(text: str, mark: str) -> None:
    value = OverridesParser.create().parse_override(f"key={quoted(text, mark)}").value()
    assert (value if isinstance(value, str) else value.text) == text


@pytest.mark.parametrize(
    "path", ["/tmp/a=b/data.json", "/tmp/x,y.json", "/tmp/x(1).json", "/tmp/[x]", "{x}", "it's", "é.json", "#1", "a\nb"]
)
def test_a_path_with_letters_of_the_grammar_is_told_with_what_to_type(path: str) -> None:
    line = refused(f"dataset.path={path}")
    assert line.startswith(f"dataset.path={path}".replace("\n", "\\n"))
    if "\n" not in path:
        # What it says can be pasted into a shell, and then means the path.
        typed = shlex.split(line[line.index(" quotes: ") + len(" quotes: ") :].partition("; a list")[0])
        assert cell(*typed).dataset.path == path


def test_a_comma_in_an_existing_path_is_no_sweep(tmp_path: Path) -> None:
    path = tmp_path / "x,y.json"
    path.write_text("[]")
    with pytest.raises(UserError, match=r"comma .* quotes"):
        check_overrides([f"dataset.path={path}"], sweep=True)
    check_overrides(["loss.prompt_weight=0,0.1", "dataset.path=" + ",".join("abc" * 200)], sweep=True)


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("out.csv", "out.csv is neither FIELD=VALUE nor GROUP=CHOICE"),
        ("/tmp/data.json", "/tmp/data.json is neither"),
        ("loss.prompt_weight=0,1", "plw run -m"),
        ("stages=train", "stages is a list; write it in brackets: stages=[VALUE,...]"),
        ("recipe.lora_targets=q_proj", "recipe.lora_targets=[VALUE,...]"),
        ("dataset.columns=context", "+dataset.columns.NAME=VALUE"),
        ("loss=0.1", "loss.FIELD=VALUE"),
        ("loss.prompt_wieght=1", "loss.prompt_wieght: no such field; allowed: prompt_weight"),
        ("loss.prompt_weight=1.5", "loss.prompt_weight=1.5 is out of range; allowed: 0 to 1"),
        ("loss.prompt_weight=half", "loss.prompt_weight=half is no number"),
        ("loss.prompt_weight=10%", "loss.prompt_weight=10% is no number"),
        ("loss.prompt_weight=[0,0.1]", "loss.prompt_weight=[0, 0.1] is no number; values of an axis stand without"),
        ("loss.prompt_weight=\u22120.1", "the value is no number"),
        ("loss.prompt_weight=0,0.1,", "the value is no number; no value stands behind its last comma"),
        ("seed=1.5", "seed=1.5 is no whole number"),
        ("prompt_weight=0.1", "prompt_weight: no such field; allowed: study, "),
        ("prompt_weight=0.1", "; there is loss.prompt_weight"),
        ("loss.prompt_weight =0.1", "no white space stands round =: loss.prompt_weight=0.1"),
        ("loss.normalizer=mean", "loss.normalizer=mean is not known; allowed: completion, nonzero"),
        ("stages=[train,dance]", "stages=dance is not known; allowed: train"),
        ("stages=[train,train]", "stages=train,train names train twice"),
        ("seed=4294967296", "seed=4294967296 is out of range; allowed: 0 to 4294967295"),
        ("execution.max_attempts=0", "execution.max_attempts=0 is too small; allowed: 1 or more"),
        ("dataset=/tmp/data.json", "dataset=file with dataset.path=/tmp/data.json"),
        ("model.path=null", "model.path=null is not allowed"),
        ("model=nosuch", "model/nosuch is not there; allowed: folder, "),
        ("task=nothing", "task: no such field; allowed: study, scale, model"),
        ("+task=nothing", "task: no such field; allowed: study, scale, model"),
        ("~nothing", "nothing: no such field; allowed: study, "),
        ("~loss.nothing", "loss.nothing: no such field; allowed: prompt_weight"),
        ("recipe@loss=mini", "recipe@loss: a group has one place here; choose by its name alone: recipe=CHOICE"),
        ("suite.tasks.arc.shots=1", "suite.tasks.arc: no such entry; there are: piqa; a new one"),
        ("a b=1", "'a b' before = is no field"),
        ("+loss.nonsense=1", "loss.nonsense: no such field; allowed: prompt_weight"),
        ("+suite.tasks.piqa.nonsense=1", "suite.tasks.piqa.nonsense=1: no such field; allowed: task"),
        ("suite.prompts.mine.protocol=pandalm", "+suite.prompts.mine.FIELD=VALUE"),
        ("+suite.prompts.mine.protocol=dance", "suite.prompts.mine.prompts is missing"),
        (f"seed={10**23}", "seed=1e+23 is out of range; allowed: 0 to"),
        (f"seed={10**400}", "seed="),
        ("seed=" + "1" * 5000, "seed="),
        (f"suite.bootstrap_seed={2**32}", "suite.bootstrap_seed"),
        (f"recipe.epochs={10**20}", "recipe.epochs=1e+20 is out of range"),
        (f"suite.limit={2**63}", "suite.limit"),
        ("recipe.learning_rate=inf", "recipe.learning_rate=inf"),
        ("recipe.learning_rate=nan", "recipe.learning_rate=nan"),
        ("recipe=null", "recipe=null: a group cannot be null"),
        ("hydra/launcher=null", "a group cannot be null"),
        ("hydra.sweeper.paramz=1", "hydra.sweeper.paramz: no such field; allowed: max_batch_size, params, grids"),
        ("hydra.sweeper.params.seed=1,2", "an axis is given by its field alone: seed=1,2; one value"),
        ("hydra.launcher=slurm", "a group is chosen with a slash: hydra/launcher=slurm"),
        ("registry=url", "registry.url is missing"),
        ("recipe.lora_targets=[q_proj]", "is read with recipe.lora_rank alone"),
        ("recipe.lora_alpha=3", "recipe.lora_alpha=3 is read with recipe.lora_rank alone"),
        ("recipe.lora_targets=[]", "names no layer"),
        ("execution.evaluate_every=1", "needs records that are held out; give dataset.held_out=NUMBER"),
        ("execution.runs=", "execution.runs is empty"),
        ("execution.runs='~/x'", "execution.runs=~/x: ~ means nothing here"),
        ("execution.threads=3000", "execution.threads=3000"),
    ],
)
def test_mistakes_are_one_line_with_their_word(word: str, told: str) -> None:
    assert told in refused(word)


@pytest.mark.parametrize(
    "words", [["loss.prompt_weight=", "0.1"], ["loss.prompt_weight", "=0.1"], ["loss.prompt_weight=0,", "0.1"]]
)
def test_a_word_that_white_space_has_cut_is_told(words: list[str]) -> None:
    assert "white space stands neither round = nor between the values of an axis" in refused(*words)


def test_a_field_given_twice_is_told(caplog: pytest.LogCaptureFixture) -> None:
    tell_repeated(["study=own", "study=own", "dataset=a", "loss.prompt_weight=0,1", "dataset=b"])
    assert [record.getMessage() for record in caplog.records] == [
        "dataset is given twice: b holds and a does nothing; several values are an axis: dataset=a,b"
    ]


def test_a_zero_below_zero_is_no_weight_of_its_own() -> None:
    below, zero = cell("loss.prompt_weight=-0.0"), cell("loss.prompt_weight=0")
    assert str(below.loss.prompt_weight) == "0.0"
    assert below.loss.weights_text == zero.loss.weights_text


def test_what_a_choice_leaves_to_the_user_has_no_default() -> None:
    """Every ``???`` of the groups: the schema's own default would be a name or a database that nobody chose."""
    for group, choice, others, missing in (
        ("judge", "openai", ["judge.name=n", "judge.endpoint=http://h/v1"], "judge.model"),
        ("judge", "openai", ["judge.model=n", "judge.endpoint=http://h/v1"], "judge.name"),
        ("preference", "file", ["preference.path=x"], "preference.name"),
        ("registry", "url", [], "registry.url"),
    ):
        assert refused(f"{group}={choice}", *others).startswith(f"{missing} is missing")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("defaults: [mine, _self_]", "a config file names itself among its defaults"),
        ("defaults: 5", "defaults must be a list"),
    ],
)
def test_a_file_with_wrong_defaults_is_one_line(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "recipe").mkdir()
    (tmp_path / "recipe/mine.yaml").write_text(f"{text}\nname: mine\n")
    with pytest.raises(UserError, match=told):
        chosen_cell([*OWN, "recipe=mine"], tmp_path)


def test_an_interval_is_no_sweep_of_values() -> None:
    for sweeper in ([], ["hydra/sweeper=adaptive"], ["hydra/sweeper=grid"]):
        with pytest.raises(UserError, match="an interval has no values to try"):
            check_overrides(["loss.prompt_weight=interval(0,1)", *sweeper], sweep=True)
    check_overrides(["loss.prompt_weight=interval(0,1)", "hydra/sweeper=other"], sweep=True)


@pytest.mark.parametrize("command", [["registry", "export"], ["report"]])
def test_a_file_to_write_is_named_by_its_option(command: list[str]) -> None:
    result = CliRunner().invoke(app, [*command, "out.csv"])
    assert isinstance(result.exception, UserError)
    assert "--out out.csv" in str(result.exception)


@pytest.mark.parametrize(
    "words",
    [
        ["+suite.prompts.mine.protocol=pandalm", "+suite.prompts.mine.prompts=a.json", "+suite.prompts.mine.limit=3"],
        ["+suite.prompts.mine={protocol:pandalm,prompts:a.json,limit:3}"],
        ["++suite.prompts.mine.protocol=pandalm", "suite.prompts.mine.prompts=a.json", "++suite.prompts.mine.limit=3"],
    ],
)
def test_prompts_can_be_added_to_a_suite(words: list[str]) -> None:
    config = cell(*words)
    assert config.suite.prompts == {"mine": PromptSetConfig(protocol="pandalm", prompts="a.json", limit=3)}
    assert list(config.suite.tasks) == ["piqa"]


def test_a_benchmark_can_be_added_to_a_suite_and_one_that_is_there_gets_its_files() -> None:
    before = cell().suite.tasks["piqa"]
    config = cell(
        "+suite.tasks.easy.task=arc_easy", "+suite.tasks.easy.group=multiple_choice", "+suite.tasks.easy.shots=5",
        "+suite.tasks.piqa.files.validation=v.jsonl",
    )  # fmt: skip
    assert config.suite.tasks["easy"] == TaskConfig(task="arc_easy", group="multiple_choice", shots=5)
    assert config.suite.tasks["piqa"] == TaskConfig(**{**vars(before), "files": {"validation": "v.jsonl"}})
    assert cell().suite.tasks.keys() == {"piqa"}, "the next command starts afresh"


def test_a_name_that_no_folder_can_have_is_refused(tiny_llama: Path, tmp_path: Path) -> None:
    from plw.pipeline.cell import resolve_cell

    data = tmp_path / "data.json"
    data.write_text('[{"instruction": "a", "output": "b"}]')
    config = cell(f"model.path={tiny_llama}", f"dataset.path={data}", "stages=[train]")
    for group in ("study", "scale", "dataset", "model", "suite", "judge", "recipe"):
        given = getattr(config, group)
        resolve_cell(replace(config, **{group: replace(given, name="plain-Näme_1.0")}))
        for name in ("a/b", "..", "a\tb", "x" * 200, "é" * 60, ".hidden", "a b", "\x1b[31m"):
            with pytest.raises(UserError) as caught:
                resolve_cell(replace(config, **{group: replace(given, name=name)}))
            line = str(caught.value)
            assert line.startswith(f"{group}.name=")
            assert line.isprintable()
            assert len(line) < 200


@pytest.mark.parametrize(
    "fields",
    [
        {"prompts": {"a/../b": PromptSetConfig(protocol="pandalm", prompts="p")}},
        {"tasks": {"a b": PIQA}},
        {"tasks": {"": PIQA}},
    ],
)
def test_a_benchmarks_name_is_a_files_name(fields: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="benchmark's name in suite"):
        SuiteConfig(name="s", **fields)


@pytest.mark.parametrize(
    ("word", "field"),
    [
        ("suite.tasks.piqa.shots=-1", "suite.tasks.piqa.shots"),
        ("+suite.tasks.easy={task: arc_easy, group: words}", "suite.tasks.easy.group"),
        ("+suite.prompts.mine={protocol: nosuch, prompts: a.json}", "suite.prompts.mine.protocol"),
        ("+suite.prompts.mine={protocol: mt_bench, prompts: a.json}", "suite.prompts.mine.judge_prompts"),
        ("+execution.cost.datasets.d={examples: 0, tokens: 5}", "execution.cost.datasets.d.examples"),
    ],
)
def test_a_mistake_in_an_entry_names_the_entrys_field(word: str, field: str) -> None:
    assert refused(word).startswith(f"{field}=")


@pytest.mark.parametrize(
    ("word", "advice", "taken"),
    [
        ("suite.tasks=x", "+suite.tasks.NAME.FIELD=VALUE", "+suite.tasks.easy.task=arc_easy"),
        ("judge.opponents=x", "+judge.opponents.NAME=VALUE", "+judge.opponents.alpaca_eval=x.json"),
        ("dataset.columns=x", "+dataset.columns.NAME=VALUE", "+dataset.columns.instruction=question"),
    ],
)
def test_the_advice_for_entries_by_name_is_taken(word: str, advice: str, taken: str) -> None:
    assert refused(word).endswith(advice)
    group = ["+suite.tasks.easy.group=multiple_choice"] * taken.startswith("+suite")
    cell(taken, *group)


def test_a_group_of_ones_own_is_told_with_its_plus_sign(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment/mine.yaml").write_text("# @package _global_\nseed: 7\n")
    with pytest.raises(UserError, match=r"added with a plus sign: \+experiment=CHOICE$"):
        chosen_cell([*OWN, "experiment=mine"], tmp_path)
    assert chosen_cell([*OWN, "+experiment=mine"], tmp_path).seed == 7
