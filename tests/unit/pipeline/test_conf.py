"""The Hydra tree: every choice composes, says when to choose it, and means what its schema allows."""

import math
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from plw.config import CellConfig
from plw.config.compose import one_line_errors, register_schema, typed
from plw.errors import UserError
from plw.paths import conf_folder
from plw.world.base_model import base_names

GROUPS = ("study", "scale", "model", "dataset", "template", "loss", "recipe", "suite", "judge", "registry", "tracker")
CHOICES = {group: sorted(path.stem for path in (conf_folder() / group).glob("*.yaml")) for group in GROUPS}
APART = GROUPS[:2]
"""They set other groups' fields."""
TOGETHER = [
    [f"{group}={choice}" for group, choice in zip(GROUPS[2:], row, strict=True) if choice]
    for row in zip_longest(*(CHOICES[group] for group in GROUPS[2:]))
]
"""Every choice of the other groups once, one of each group at a time: composing takes a third of a second."""
GIVEN = {
    "model=folder": ["model.name=m", "model.path=owner/name"],
    "model=gguf": ["model.name=m", "model.path=m.gguf"],
    "dataset=file": ["dataset.name=d", "dataset.path=x.json"],
    "dataset=file-short": ["dataset.name=d", "dataset.path=x.json"],
    "dataset=hub": ["dataset.name=d", "dataset.path=hub:o/n", f"dataset.revision={'0' * 40}", "dataset.file=x.json"],
    "judge=openai": ["judge.name=j", "judge.model=m", "judge.endpoint=http://127.0.0.1:1/v1"],
    "suite=held-out": ["suite.prompts.held_out.prompts=x.json"],
    "registry=url": ["registry.url=sqlite:///x.sqlite"],
}

SHORT_FOR = {
    "study=plw-ratio": "plw",
    "model=world-wide": "world-wide-1",
    "model=world-deep": "world-deep-1",
    "judge=wit-mini": "world",
    "judge=wit-smol": "gpt4o-mini",
    "judge=wit-paper": "gpt4o-mini",
}
"""A file -> the study whose folder and registry rows it shares, or the base model or judge that it means."""


@pytest.fixture(autouse=True)
def hydra() -> Iterator[None]:
    register_schema()
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        yield
    GlobalHydra.instance().clear()


def config(*overrides: str) -> CellConfig:
    with one_line_errors():
        return typed(compose("config", overrides=list(overrides)))


@pytest.mark.parametrize(
    "choices", [*([f"{group}={choice}"] for group in APART for choice in CHOICES[group]), *TOGETHER], ids=" ".join
)
def test_every_choice_composes(choices: list[str]) -> None:
    words = [word for chosen in choices for word in GIVEN.get(chosen, [])]
    made, given = config(*choices, *words), dict(word.split("=", 1) for word in words)
    for chosen in choices:
        group, choice = chosen.split("=")
        name = getattr(getattr(made, group), "name", None)
        assert name in (None, given.get(f"{group}.name", SHORT_FOR.get(chosen, choice))), chosen


def test_every_file_says_when_to_choose_it() -> None:
    def remarks(path: Path) -> list[str]:
        lines = path.read_text().splitlines()
        return [line for line in lines if line.startswith("# ") and not line.startswith("# @package")]

    files = sorted(conf_folder().rglob("*.yaml"))
    assert len(files) > 100
    assert not [path for path in files if not remarks(path)]


def test_the_ratio_study_is_the_same_study_with_two_more_datasets() -> None:
    grids = {}
    for study in ("plw", "plw-ratio"):
        made = compose("config", overrides=[f"study={study}"], return_hydra_config=True)
        grids[study] = {name: str(axis).split(",") for name, axis in made.hydra.sweeper.params.items()}
    assert config("study=plw-ratio").runs_name == config("study=plw").runs_name
    assert grids["plw-ratio"]["dataset"] == [*grids["plw"]["dataset"], "world-medium", "world-tiny"]
    assert {**grids["plw-ratio"], "dataset": None} == {**grids["plw"], "dataset": None}
    assert [math.prod(map(len, grid.values())) for grid in grids.values()] == [54, 90]


def test_the_natural_study_has_the_weights_and_bases_of_plw_and_folders_of_its_own() -> None:
    grids = {}
    for study in ("plw", "plw-natural"):
        made = compose("config", overrides=[f"study={study}"], return_hydra_config=True)
        grids[study] = {name: str(axis).split(",") for name, axis in made.hydra.sweeper.params.items()}
    assert grids["plw-natural"]["dataset"] == ["world-short", "world-natural"]
    assert {**grids["plw-natural"], "dataset": None} == {**grids["plw"], "dataset": None}
    assert config("study=plw-natural").runs_name == "plw-natural-mini"


def test_the_mini_study_keeps_the_papers_ten_weights_on_request() -> None:
    def axes(*overrides: str) -> dict[str, list[str]]:
        made = compose("config", overrides=["study=plw", *overrides], return_hydra_config=True)
        return {name: str(axis).split(",") for name, axis in made.hydra.sweeper.params.items()}

    few, ten = axes("scale=mini"), axes("scale=mini", "study.axes.mini.weights=ten")
    weight = "loss.prompt_weight"
    assert ten[weight] == axes("scale=paper")[weight]
    assert len(ten[weight]) == 10
    assert set(few[weight]) < set(map(str, ten[weight]))
    assert {**few, weight: None} == {**ten, weight: None}


def test_the_short_names_of_base_models_are_the_first_ones() -> None:
    for kind in ("wide", "deep"):
        assert config(f"model=world-{kind}").model == config(f"model=world-{kind}-1").model


def test_every_base_model_of_the_world_has_a_choice_and_stands_on_the_axis() -> None:
    made = compose("config", overrides=["study=plw", "scale=mini"], return_hydra_config=True)
    names = [f"world-{name}" for name in base_names(config().world)]
    assert str(made.hydra.sweeper.params["model"]).split(",") == names
    for name in names:
        assert config(f"model={name}").model.path == f"world:models/{name.removeprefix('world-')}"


def test_the_alpaca_prompt_is_the_papers() -> None:
    template = config().template
    assert template.with_input.endswith("### Input:\n{input}\n\n### Response:")
    assert template.without_input.endswith("### Instruction:\n{instruction}\n\n### Response:")
    assert "\n\n### Instruction:\n" in template.with_input


def test_the_alpaca_recipe_is_the_papers() -> None:
    recipe = config("recipe=alpaca").recipe
    assert (recipe.epochs, recipe.learning_rate, recipe.batch_size, recipe.max_length) == (3, 2e-5, 128, 512)
    assert (recipe.schedule, recipe.warmup_ratio, recipe.weight_decay, recipe.clip_norm) == ("cosine", 0.03, 0, 1.0)


def test_the_wit_recipe_goes_with_dataset_and_model() -> None:
    """The paper's table of epochs, rates and precisions, by names with dots and dashes in them."""

    def found(model: str, dataset: str) -> tuple[int, float, str]:
        recipe = config("study=wit", "scale=paper", f"model={model}", f"dataset={dataset}").recipe
        assert (recipe.decay, recipe.weight_decay, recipe.clip_norm, recipe.batch_size) == ("all", 0.1, None, 64)
        assert (recipe.warmup_ratio, recipe.max_length, recipe.schedule) == (0.01, 4096, "cosine")
        return recipe.epochs, recipe.learning_rate, recipe.precision

    assert found("llama-3.2-1b", "lima") == (5, 2e-5, "bf16")
    assert found("mistral-7b", "alpaca-cleaned") == (2, 5e-6, "bf16-mixed")
    assert found("llama-3-8b", "tulu-v2-150k") == (1, 2e-5, "bf16-mixed")
    own = config("study=own", "scale=own", "recipe=wit", "template=wit")
    assert (own.recipe.epochs, own.recipe.learning_rate) == (2, 2e-5)
    assert not own.template.end_of_sequence, "WIT's code puts no EOS of its own"


def test_the_wit_study_has_its_own_template_loss_and_seed_at_every_scale() -> None:
    for scale in ("mini", "smol", "paper"):
        made = config("study=wit", f"scale={scale}")
        assert (made.template.name, made.loss.normalizer, made.loss.scope, made.seed) == ("wit", "nonzero", "batch", 23)
        assert made.recipe.name == f"wit-{scale}"
        assert made.judge.name == ("world" if scale == "mini" else "gpt4o-mini")
        assert set(made.judged) == ({"alpaca_eval", "mt_bench"} if scale == "mini" else {"alpaca_eval"})
    assert set(config("study=wit", "scale=paper", "judge=llama-3.3-70b").judged) == {"mt_bench"}
    assert config("study=plw", "scale=paper").judge.name == "mixtral"
    assert config("study=plw", "scale=paper").recipe.name == "alpaca"


def test_a_list_of_tasks_can_be_changed_from_the_command_line() -> None:
    assert config("suite.tasks.arc.shots=5").suite.tasks["arc"].shots == 5


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("recipe.learning_rate=0", "above 0"),
        ("recipe.schedule=step", "cosine"),
        ("dataset.target_ratio=1", "inversion=ratio"),
        ("suite.tasks.arc.shots=-1", "0 or more"),
        ("template.without_input=hello", "{instruction}"),
        ("model.path=''", "model.path is empty"),
    ],
)
def test_mistakes_are_one_line(override: str, words: str) -> None:
    with pytest.raises(UserError, match=words.replace("{", r"\{")) as caught:
        config(override)
    assert "\n" not in str(caught.value)


def test_what_is_made_once_goes_where_the_results_go() -> None:
    assert config("execution.runs=/data/runs").execution.cache == "/data/runs/cache"
    assert config("execution.runs=/data/runs", "execution.cache=/fast").execution.cache == "/fast"


@pytest.mark.parametrize("table", ["by_dataset", "by_model"])
def test_a_study_sets_fields_of_the_recipe_by_dataset_and_model_and_no_others(table: str) -> None:
    """A name that no recipe can look up would do nothing."""
    assert config("study=wit", f"+study.{table}.batch_size.world-few=5")
    with pytest.raises(UserError, match=rf"study\.{table}\.epoch is no field of the recipe; allowed: name, epochs"):
        config("study=wit", f"+study.{table}.epoch.world-few=5")
