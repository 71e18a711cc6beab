"""A very small world, built once for the tests of its folder."""

from pathlib import Path

import pytest

from plw.config.world import BaseModelConfig, PretrainingConfig, WorldConfig
from plw.world import build, folder
from plw.world.facts import World, make_world
from tests.made_once import made_once

TINY = WorldConfig(
    seed=3,
    people=12,
    cities=4,
    tools=8,
    myths=8,
    records=40,
    documents=20,
    long_prompts=[12, 8],
    bases=1,
    pretraining=PretrainingConfig(steps=6, rows=2),
    wide=BaseModelConfig(layers=1, hidden=32),
    deep=BaseModelConfig(layers=2, hidden=16, heads=2),
    thresholds={"facts": 0.0},
)


@pytest.fixture(scope="session")
def tiny_config() -> WorldConfig:
    return TINY


@pytest.fixture(scope="session")
def tiny_world(tiny_config: WorldConfig) -> World:
    return make_world(tiny_config)


@pytest.fixture(scope="session")
def full_world() -> World:
    """The world of the default config; its facts take milliseconds, only its base models take minutes."""
    return make_world(WorldConfig())


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory, tiny_config: WorldConfig) -> Path:
    """The built world, base models included. Shared by all tests of the run: read it, never write."""

    def make(worlds: Path) -> None:
        build(tiny_config, worlds)

    return folder(tiny_config, made_once(tmp_path_factory, "worlds", make))
