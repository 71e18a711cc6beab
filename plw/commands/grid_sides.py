"""A side of `plw compare` that is cells of a registry: all of them, or those that a field's value names."""

from pathlib import Path
from typing import TYPE_CHECKING

from plw.commands.choice import study_cells
from plw.paths import REGISTRY_FILE

if TYPE_CHECKING:
    from analysis.items.grid import GridSide
    from plw.config import CellConfig
    from plw.registry import CellRow


def grid_side(name: str, config: "CellConfig") -> "GridSide":
    """The cells of the config's study that a word of the command line names.

    Args:
        name: A registry's URL, a runs folder with a registry in it, or ``FIELD=VALUE`` (several with commas), which is
            looked up in the config's registry.
        config: Says which study and scale, and where the results of a server's registry lie.

    Raises:
        UserError: no registry there, or none of the study's cells in it has such values.
    """
    from analysis.items.grid import GridSide, read_fields, restricted
    from plw.registry import shown_address

    url, runs, words = config.registry.url, Path(config.execution.runs), []
    if "://" in name:
        url, runs = name, _results_of(name, runs)
        name = shown_address(url)
    elif (Path(name) / REGISTRY_FILE).is_file():
        url, runs = f"sqlite:///{Path(name) / REGISTRY_FILE}", Path(name)
    else:
        words = name.split(",")
    side = GridSide(label=name, runs=runs, cells=_cells(url, config), fields={})
    return restricted(side, read_fields(words))


def _results_of(url: str, runs: Path) -> Path:
    """Beside a SQLite file, else where the config has them."""
    from plw.registry.database import parse_url

    parsed = parse_url(url)
    return Path(str(parsed.database)).parent if parsed.get_backend_name() == "sqlite" else runs


def _cells(url: str, config: "CellConfig") -> "list[CellRow]":
    from plw.registry import Registry

    study, scale = config.study.name, config.scale.name
    with Registry.open(url, create=False) as registry:
        return study_cells(registry, url, study, scale)
