"""The study's tables `by_dataset` and `by_model`: that each entry is of something there is, and is looked up."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from plw.config.cell import CellConfig
from plw.config.overrides import split_override
from plw.errors import UserError, printable

OWN_NAME = re.compile(r"^name:\s*[\"']?([^\s\"'?#]+)", re.MULTILINE)
"""In a file of the groups `dataset` and `model`."""


def check_study_tables(configs: Sequence[CellConfig], words: Sequence[str], folders: Sequence[Path]) -> None:
    """Refuse entries of `study.by_dataset` and `study.by_model` that would do nothing without a word.

    A name that no cell of the command has may be that of other cells of the study, if a dataset or model is so named.

    Args:
        configs: Of the command's cells.
        words: What sets or sweeps fields, as ``field=values``: the command line's, and the study's own axes.
        folders: Trees of groups, as ``conf``.

    Raises:
        UserError: an entry whose name no dataset or model has, or of a cell whose recipe does not look it up.
    """
    fields = [split_override(word) for word in words]
    for group in ("dataset", "model"):
        tables = {repr(table): table for config in configs if (table := getattr(config.study, f"by_{group}"))}
        if not tables:
            continue
        known = _known(group, folders) | {getattr(config, group).name for config in configs}
        known |= {
            name.strip(" \"'") for field, names in fields if field == f"{group}.name" for name in names.split(",")
        }
        for table in tables.values():
            _check_names(f"study.by_{group}", table, group, known)
    for config in configs:
        _check_looked_up(config, {field for field, _ in fields})


def check_hydra_tables(configs: Sequence[CellConfig], hydra: DictConfig) -> None:
    """``check_study_tables`` of cells that Hydra composed.

    Args:
        configs: Of the cells.
        hydra: Hydra's own node, which has the command line, the study's axes and the trees of groups.

    Raises:
        UserError: as ``check_study_tables``.
    """
    # As written: an axis may refer to parts of the config beside Hydra's.
    sweeper: Any = OmegaConf.to_container(hydra.sweeper, resolve=False)
    axes = [sweeper.get("params") or {}, *(sweeper.get("grids") or [])]
    words = [*hydra.overrides.task, *(f"{field}={values}" for axis in axes for field, values in axis.items())]
    sources = [Path(source.path) for source in hydra.runtime.config_sources if source.schema == "file"]
    check_study_tables(configs, words, sources)


def _known(group: str, folders: Sequence[Path]) -> set[str]:
    """The names that the files of a group give; a choice may have another name than its file."""
    files = sorted({file for folder in folders for file in (folder / group).rglob("*.yaml")})
    return {found[1] for file in files if (found := OWN_NAME.search(file.read_text(encoding="utf-8")))}


def _check_names(place: str, table: dict[str, dict[str, Any]], group: str, known: set[str]) -> None:
    for field, values in table.items():
        for name in values:
            if name not in known:
                raise UserError(
                    f"{place}.{field}.{printable(name)}: no {group} has that name, so it sets nothing; allowed: "
                    f"{', '.join(sorted(known))}"
                )


def _check_looked_up(config: CellConfig, given: set[str]) -> None:
    for group in ("dataset", "model"):
        name = getattr(config, group).name
        for field, values in getattr(config.study, f"by_{group}").items():
            used = getattr(config.recipe, field)
            if name not in values or f"recipe.{field}" in given or _is_same(values[name], used):
                continue
            raise UserError(
                f"study.by_{group}.{field}.{name}={values[name]} does nothing: recipe {config.recipe.name} does not "
                f"look it up and has {field}={used}; set recipe.{field}, or take a recipe that does, as recipe=wit"
            )


def _is_same(asked: Any, used: Any) -> bool:
    """Whether a field has the value, which a table may write as text."""
    if asked == used or str(asked) == str(used):
        return True
    try:
        return float(asked) == float(used)
    except (TypeError, ValueError):
        return False
