"""Records that `plw tune` keeps out of training, written as the prompts whose answers tell the weights apart."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from plw.commands.dataset import read_dataset
from plw.commands.measurable import MIN_ITEMS
from plw.data.inputs import in_world
from plw.errors import UserError
from plw.files.writing import write_json_atomic
from plw.progress import count
from plw.results.identity import fingerprint

if TYPE_CHECKING:
    from plw.config import CellConfig
    from plw.data.records import Record

MIN_RECORDS = 20
"""Fewer records say nothing about a weight: what is held out would be a handful."""
MAX_HELD_OUT = 100
SHARE_HELD_OUT = 5
"""One record in so many is held out, up to the most."""


def hold_out(config: "CellConfig") -> "CellConfig":
    """Count the records, and where prompts are still to come keep some records out of training and write them as such.

    The records are those that training leaves out by ``dataset.held_out``, so none of them is trained on.

    Raises:
        UserError: too few records, one whose form makes no prompt, or that has no answer; a folder that cannot be
            written.
        StorageError: the disk takes no more.
    """
    from plw.data.prepare import split_held_out
    from plw.sweep.grid import folder_problem, registry_exists

    waiting = [name for name, item in config.suite.prompts.items() if not item.prompts]
    if in_world(config.dataset.path) and not waiting:
        return config
    unwritable = folder_problem(config)
    if unwritable is not None and not registry_exists(config):
        raise unwritable
    records = _records(config)
    if len(records) < MIN_RECORDS:
        raise UserError(
            f"{config.dataset.path}: {count(len(records), 'record')}; a weight is chosen with {MIN_RECORDS} or more"
        )
    if not waiting:
        return config
    number = config.dataset.held_out or min(MAX_HELD_OUT, len(records) // SHARE_HELD_OUT)
    if number < MIN_ITEMS:
        raise UserError(f"dataset.held_out={number}: trainings are compared on {MIN_ITEMS} held-out records or more")
    trained, kept = split_held_out(records, number)
    rows = _prompt_rows(kept)
    _tell_of_copies(trained, kept, config.dataset.path)
    path = config.execution.cache_folder / "held-out" / f"{config.dataset.name}-{fingerprint(rows)[:8]}.json"
    if not path.exists():
        if unwritable is not None:
            raise unwritable
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json_atomic(path, rows)
    prompts = {
        name: dataclasses.replace(item, prompts=str(path)) if name in waiting else item
        for name, item in config.suite.prompts.items()
    }
    return dataclasses.replace(
        config,
        dataset=dataclasses.replace(config.dataset, held_out=number),
        suite=dataclasses.replace(config.suite, prompts=prompts),
    )


def _records(config: "CellConfig") -> "list[Record]":
    """The records that the cells will read, by the model's tokenizer; a world that is not there is built for it."""
    from plw.data.tokenizer import load_tokenizer
    from plw.pipeline import resolve_cell
    from plw.pipeline.hub import go_offline_if_unreachable
    from plw.pipeline.unpacking import unpack_model
    from plw.runtime.console import console
    from plw.sweep.grid import build_world

    model = config.model
    shown = dataclasses.replace(config, suite=dataclasses.replace(config.suite, prompts={}), stages=["train"])
    cell = resolve_cell(shown)
    unpack_model(cell)
    build_world([cell], console())
    location = cell.model.location
    if not Path(location).exists():
        go_offline_if_unreachable()
    tokenizer = load_tokenizer(location, revision=model.revision, trust_remote_code=model.trust_remote_code)
    return read_dataset(config, tokenizer)[1]


def _prompt_rows(kept: "list[Record]") -> list[dict[str, str]]:
    rows = [_prompt_row(record) for record in kept]
    blank = [record.where for record, row in zip(kept, rows, strict=True) if not row["output"].strip()]
    if blank:
        raise UserError(
            f"{blank[0]}: no completion to compare answers with ({len(blank)} of {count(len(kept), 'held-out record')} "
            "have none); take such records out of the data, or measure by --task"
        )
    return rows


def _tell_of_copies(trained: "Sequence[Record]", kept: "Sequence[Record]", path: str) -> None:
    """Say where the data have a held-out record twice, so that it is trained on all the same."""
    from plw.runtime.console import console

    # A record's repr has all that it says and not the row where it stands.
    learned = {repr(record) for record in trained}
    copies = sum(repr(record) in learned for record in kept)
    if copies:
        console().print(
            f"{path}: {copies} of {count(len(kept), 'held-out record')} stand word for word among the trained ones "
            "too: such answers are learned by heart, which says little of other requests; take repeated records out "
            "of the data",
            markup=False,
        )


def _check_learned(weight: float, where: str) -> None:
    """An answer that the data keep out of the loss, or unlearn, is none that a model should give."""
    if weight <= 0:
        raise UserError(
            f"{where}: the data give the answer of a held-out record a weight of {weight:g}, so it is none to compare "
            "answers with; take such records out of the data, or measure by --task"
        )


def _prompt_row(record: "Record") -> dict[str, str]:
    """A record as a prompt with the answer that it should have; of a chat or several turns, the first request's.

    The system message before the request goes with it, as the model was trained with it.
    """
    from plw.data.records import AlpacaRecord

    if isinstance(record, AlpacaRecord):
        _check_learned(record.weight, record.where)
        first_turn = (record.instruction, record.input, record.output)
        if record.history:
            first_turn = (record.history[0][0], "", record.history[0][1])
        row = dict(zip(("instruction", "input", "output"), first_turn, strict=True))
        return row | {"system": record.system} if record.system else row
    system = record.messages[0] if record.messages[0].role == "system" else None
    first = record.messages[: 2 if system is None else 3]
    if [message.role for message in first if message is not system] != ["user", "assistant"]:
        raise UserError(
            f"{record.where}: a held-out chat must begin with the user's request and an answer to it, after a system "
            f"message at most; found {', '.join(message.role for message in first)}; measure by --task instead"
        )
    asked, answer = first[-2:]
    _check_learned(record.weight * answer.weight, record.where)
    if record.tools or "tool_calls" in answer.more:
        raise UserError(
            f"{record.where}: a held-out chat has tools, which no request is asked with; leave them out of the data, "
            "or measure by --task instead"
        )
    row = {"instruction": asked.content, "input": "", "output": answer.content}
    return row if system is None else row | {"system": system.content}
