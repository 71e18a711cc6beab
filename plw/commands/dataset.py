"""A dataset named on the command line: a file, its address, or one of conf/dataset."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from plw.commands.choice import chosen_cell, group_choices
from plw.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from plw.config import CellConfig
    from plw.data.records import Record
    from plw.progress import Progress

Data = Annotated[
    str,
    typer.Argument(
        metavar="DATA", help="A file (JSON, JSONL, parquet, CSV), its https address, or a dataset's config."
    ),
]
Fields = Annotated[
    list[str] | None,
    typer.Argument(metavar="FIELD=VALUE", help="Fields of the dataset and others, as `plw run` takes them."),
]
Tokens = Annotated[str, typer.Option("--tokenizer", help="A folder, a hub name or a SentencePiece .model file.")]


def dataset_choice(data: str, overrides: list[str], config_dir: Path | None = None) -> "CellConfig":
    """The config of a cell whose dataset ``data`` is: a file, an address, or a choice of the group ``dataset``.

    Args:
        data: as the user wrote it.
        overrides: further fields, as Hydra takes them.
        config_dir: a folder of further groups.

    Raises:
        UserError: empty, none of the three, or a mistake in the overrides.
    """
    from plw.config.overrides import check_bytes, split_override
    from plw.data.inputs import ADDRESS

    check_bytes(data)
    if not data.strip():
        raise UserError("DATA is empty; give a file, its https address, or a dataset's config")
    if is_choice(data, config_dir):
        return chosen_cell([f"dataset={data}", *overrides], config_dir)
    given = Path(data).expanduser()
    if not given.exists() and not ADDRESS.match(data):
        choices = ", ".join(group_choices("dataset", config_dir))
        raise UserError(f"{data}: no such file, and no dataset's config; allowed there: {choices}")
    for word in overrides:
        if split_override(word)[0] in ("dataset", "dataset.path"):
            raise UserError(f"{word}: the data are {data}, as the command says; leave one of the two out")
    # The path is put in afterwards, so that Hydra does not read its letters as grammar.
    config = chosen_cell(["dataset=file", "dataset.name=data", "dataset.path=data", *overrides], config_dir)
    path = data if ADDRESS.match(data) else str(given)
    is_named = any(split_override(word)[0] == "dataset.name" for word in overrides)
    name = config.dataset.name if is_named else Path(path).stem
    return dataclasses.replace(config, dataset=dataclasses.replace(config.dataset, name=name, path=path))


def is_choice(data: str, config_dir: Path | None = None) -> bool:
    """Whether ``data`` names a file of the group ``dataset``; a file of data of the same name goes before it."""
    return not Path(data).expanduser().exists() and data in group_choices("dataset", config_dir)


def named_tokenizer(name: str) -> "PreTrainedTokenizerBase":
    """The tokenizer that ``--tokenizer`` names; one of the hub is missed at once where the hub cannot be reached.

    Raises:
        UserError: nothing there, or nothing that is a tokenizer.
    """
    if not Path(name).expanduser().exists():
        from plw.pipeline.hub import go_offline_if_unreachable

        go_offline_if_unreachable()
    from plw.data.tokenizer import load_tokenizer

    return load_tokenizer(name)


def read_dataset(
    config: "CellConfig", tokenizer: "PreTrainedTokenizerBase", progress: "Progress | None" = None
) -> "tuple[list[Path], list[Record]]":
    """The dataset's files and its records, sampled and inverted as its config says."""
    from plw import world
    from plw.data.inputs import Resolver, in_world
    from plw.data.prepare import load_dataset
    from plw.data.sources import local_files
    from plw.progress import no_progress

    cache = config.execution.cache_folder
    resolver = Resolver(world_folder=world.folder(config.world, cache), world_fingerprint="", cache=cache)
    found = resolver.data(config.dataset)
    if in_world(config.dataset.path) and not found.path.exists():
        raise UserError(f"{config.dataset.name}: the embedded world is not built in {cache}; any mini run builds it")
    files = local_files(config.dataset, found, cache, progress or no_progress)
    return files, load_dataset(config.dataset, files, tokenizer, seed=config.seed)
