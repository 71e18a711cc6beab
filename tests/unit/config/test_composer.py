"""Jobs of a grid are composed as Hydra composes each alone, mistakes included; Hydra is asked once for each choice."""

import copy
from collections.abc import Callable, Iterator

import pytest
from hydra import initialize_config_dir
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from plw.config import CellConfig
from plw.config.compose import one_line_errors, register_schema, typed
from plw.config.composer import Composer
from plw.errors import UserError
from plw.paths import conf_folder

Loaded = tuple[ConfigLoader, DictConfig]

JOBS = {
    "seeds": [[f"seed={seed}", "model=world-wide"] for seed in (1, 2, 3)],
    "weights of two fields": [
        [f"loss.prompt_weight={p}", f"loss.response_weight={r}"] for p in (0, 0.1) for r in ("1", "0.5")
    ],
    "groups and values": [
        [f"model=world-{name}", "recipe.epochs=2", f"seed={seed}"] for seed in (1, 2) for name in ("wide", "deep")
    ],
    "groups with groups": [
        [f"loss.prompt_weight={p}", f"model=world-{name}", f"dataset=world-{data}", f"template={template}"]
        for template in ("alpaca", "wit")
        for name in ("wide", "deep")
        for p, data in enumerate(("short", "tiny"))
    ],
    "groups that touch the same parts": [
        [f"study={study}", f"scale={scale}", "loss.prompt_weight=0.5"]
        for study in ("plw", "wit")
        for scale in ("mini", "smol")
    ],
    "lists, nulls and quotes": [
        [f"stages=[{stage}]", "suite.limit=null", f"dataset.name='{stage} a'"] for stage in ("train", "harness")
    ],
    "what another field is made from": [[f"execution.runs=/tmp/{name}", "seed=3"] for name in "ab"],
    "set by force": [["++recipe.epochs=2", f"++seed={seed}"] for seed in (1, 2)],
    "one": [["seed=5"]],
}


@pytest.fixture(scope="module")
def loaded() -> Iterator[Loaded]:
    register_schema()
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        loader = hydra.config_loader
        yield loader, loader.load_configuration("config", overrides=[], run_mode=RunMode.MULTIRUN)


def alone(loaded: Loaded, job: list[str]) -> CellConfig:
    with one_line_errors():
        return typed(loaded[0].load_sweep_config(loaded[1], job))


@pytest.mark.parametrize("name", JOBS)
def test_the_same_configs_as_hydra_makes(loaded: Loaded, name: str) -> None:
    assert Composer(*loaded).compose(JOBS[name]) == [alone(loaded, job) for job in JOBS[name]]


@pytest.mark.parametrize(
    "jobs",
    [
        [["seed=1"], ["seed=-1"]],
        [["seed=1"], ["seed=much"]],
        [["loss.prompt_weight=0", "loss.response_weight=1"], ["loss.prompt_weight=0", "loss.response_weight=0"]],
        [["recipe.epochs=1"], ["recipe.epoch=1"]],
        [["recipe.epochs=1"], ["model=none-such"]],
        [["stages=[train]"], ["stages=[trains]"]],
        [["seed=1", "+foo=1"], ["seed=2", "+foo=1"]],
        [["seed=1", "suite.data=/no/such"], ["seed=2", "suite.data=/no/such"]],
    ],
)
def test_the_same_mistakes_as_hydra_tells(loaded: Loaded, jobs: list[list[str]]) -> None:
    with pytest.raises(UserError) as wanted:
        alone(loaded, jobs[-1])
    with pytest.raises(UserError) as found, one_line_errors():
        Composer(*loaded).compose(jobs)
    assert str(found.value) == str(wanted.value)


@pytest.mark.parametrize(
    "job",
    [
        lambda n: [f"seed={n}"],
        lambda n: [f"loss.prompt_weight={n / 1000}"],
        lambda n: [f"recipe.learning_rate={n + 1}e-6", f"seed={n % 7}"],
        lambda n: ["model=world-wide", "execution.runs=elsewhere", f"suite.decoding.max_new_tokens={n + 1}"],
    ],
)
def test_plain_values_never_ask_hydra_again(
    loaded: Loaded, monkeypatch: pytest.MonkeyPatch, job: Callable[[int], list[str]]
) -> None:
    configs, asked = compositions(loaded, monkeypatch, [job(n) for n in range(20)])
    assert len({repr(made) for made in configs}) == 20
    assert asked == 1


def test_hydra_is_asked_once_for_each_choice_not_each_combination(
    loaded: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [
        [f"loss.prompt_weight={weight}", f"model=world-{name}-{n}", f"dataset=world-{data}"]
        for weight in (0, 0.1, 1)
        for name in ("wide", "deep")
        for n in (1, 2)
        for data in ("data", "cleaned", "short")
    ]
    configs, asked = compositions(loaded, monkeypatch, jobs)
    assert len({repr(made) for made in configs}) == 36
    assert asked == 1 + 3 + 2


def test_hydra_copies_the_schema_where_it_takes_it_alone(loaded: Loaded) -> None:
    loader, config = loaded
    store = ConfigStore.instance()
    before = OmegaConf.to_yaml(store.load("schema.yaml").node)
    assert copy.deepcopy(store) is store
    loader.load_sweep_config(config, ["++recipe.epochs=2", "++recipe.other=3", "model=world-wide"])
    assert OmegaConf.to_yaml(store.load("schema.yaml").node) == before


def compositions(
    loaded: Loaded, monkeypatch: pytest.MonkeyPatch, jobs: list[list[str]]
) -> tuple[list[CellConfig], int]:
    """The jobs' configs, and how often Hydra was asked."""
    loader, config = loaded
    asked: list[list[str]] = []
    compose = loader.load_sweep_config

    def count(config: DictConfig, overrides: list[str]) -> DictConfig:
        asked.append(overrides)
        return compose(config, overrides)

    monkeypatch.setattr(loader, "load_sweep_config", count)
    return Composer(loader, config).compose(jobs), len(asked)
