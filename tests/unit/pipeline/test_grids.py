"""A sweep over a union of grids: each grid's product once, the command line over all of them, recipes told apart."""

from collections.abc import Iterator
from importlib import import_module

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins

from plw.config import CellConfig
from plw.config.compose import register_schema, typed
from plw.errors import UserError
from plw.paths import conf_folder
from plw.pipeline import resolve_cell
from plw.sweep.grid import resolve_grid

GRIDS = [{"a": "x", "b": "1,2,3"}, {"a": "y,z", "b": "1"}]


def jobs(params: dict[str, str], grids: list[dict[str, str]], *given: str, batch: int | None = None) -> list[list[str]]:
    # Hydra imports plugins anew when it first looks for them; a class from before would not be one of its own.
    Plugins.instance()
    sweeper = import_module("hydra_plugins.plw_launchers").GridSweeper(batch, params, grids)
    parser = OverridesParser.create()
    sweeper._given = {item.get_key_element() for item in parser.parse_overrides(list(given))}
    overrides = parser.parse_overrides([*sweeper._parse_config(), *given])
    batches = sweeper.split_arguments(overrides, batch)
    assert batch is None or all(len(part) <= batch for part in batches)
    return [sorted(job) for part in batches for job in part]


def test_the_union_of_products() -> None:
    assert jobs({"c": "u,v"}, GRIDS) == [
        sorted([f"c={c}", f"a={a}", f"b={b}"])
        for cells in ([("x", 1), ("x", 2), ("x", 3)], [("y", 1), ("z", 1)])
        for c in "uv"
        for a, b in cells
    ]
    assert len(jobs({"c": "u,v"}, GRIDS, batch=3)) == 10


def test_the_command_line_holds_in_every_grid() -> None:
    assert jobs({}, GRIDS, "b=7", "d=8") == [sorted(["b=7", "d=8", f"a={a}"]) for a in "xyz"]


def test_without_grids_it_is_hydras_own() -> None:
    assert jobs({"a": "1,2", "b": "3"}, []) == [["a=1", "b=3"], ["a=2", "b=3"]]


@pytest.mark.parametrize("grids", [[], GRIDS])
def test_an_axis_without_values_is_named(grids: list[dict[str, str]]) -> None:
    with pytest.raises(UserError, match=r"seed=range\(4,1\): the axis has no values"):
        jobs({"c": "u,v"}, grids, "seed=range(4,1)")


@pytest.fixture
def ablation() -> Iterator[list[CellConfig]]:
    """The cells of the ablation study at scale mini, composed one by one as Hydra would."""
    register_schema()
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        full = compose("config", overrides=["study=plw-ablation"], return_hydra_config=True)
        node = full.hydra.sweeper
        lines = jobs(dict(node.params), [dict(grid) for grid in node.grids])
        yield [typed(compose("config", overrides=["study=plw-ablation", *job])) for job in lines[::3]]


def test_the_ablations_cells_differ_and_name_their_recipe(ablation: list[CellConfig]) -> None:
    cells = resolve_grid(ablation)
    assert len(cells) == len(ablation) == 12
    assert len({cell.folder for cell in cells}) == 12
    for cell in cells:
        regularised = cell.config.recipe.name != "mini"
        assert cell.row().recipe == cell.config.recipe.name
        assert not regularised or cell.config.loss.prompt_weight in (0, 1)
    plain = [config for config in ablation if config.recipe.name == "mini"]
    assert {resolve_cell(config).row().recipe for config in plain} == {"mini"}
