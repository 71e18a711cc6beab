"""Trainings that could not begin, found before the first cell: those whose plan cannot be made.

The plan needs every example's tokens, which take minutes to make where data are large. So only those are made that say
whether each step has something to learn from; where that is in doubt the whole plan is, as the training itself does it.
"""

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plw.config import CellConfig
from plw.config.loss import LossConfig
from plw.config.study import PREFERENCE
from plw.data.encoding import EncodedExample, encode
from plw.data.inputs import in_world
from plw.data.pairs import PreparedPairs, prepare_pairs
from plw.data.prepare import load_dataset, split_held_out
from plw.data.render import Renderer
from plw.data.sources import local_files
from plw.errors import UserError
from plw.loss.coefficients import has_weight, role_coefficients, role_sums
from plw.pipeline.cell import Cell
from plw.pipeline.data_check import tokenizer_of
from plw.progress import Progress, no_progress

UNSEEN, WITHOUT, WITH = -1, 0, 1
"""Whether an example has weight."""


def check_trainings(cells: list[Cell], progress: Progress = no_progress) -> None:
    """See of each training that is still to be done that every step has something to learn from and can be carried out.

    Data, models and the embedded world have to be on this machine. ``progress`` is told the datasets.

    Raises:
        UserError: as :func:`plw.train.batching.plan.plan_training` and :func:`plw.train.preference.plan.plan_pairs`
            raise it; or LoRA in several processes that each hold a part of the model.
    """
    trained = _one_of_each(cells, "train", _plan_of)
    for cell in trained:
        from plw.train.model.lora import check_lora

        check_lora(cell.config.recipe, cell.config.execution)
    by_data: dict[str, list[Cell]] = defaultdict(list)
    for cell in trained:
        by_data[_encoding(cell)].append(cell)
    for number, alike in enumerate(by_data.values()):
        progress(number, len(by_data), alike[0].config.dataset.name)
        # One dataset's examples are in memory at a time.
        examples = _Examples(alike[0])
        for cell in alike:
            _check_fine_tuning(cell.config, examples)
    pairs: dict[str, PreparedPairs] = {}
    for cell in _one_of_each(cells, PREFERENCE, _pairs_plan_of):
        _check_preference(cell, pairs)


def _one_of_each(cells: list[Cell], kind: str, what: Callable[[Cell], str]) -> list[Cell]:
    """Of the cells whose stage is still to be done one for each of what the check rests on."""
    found: dict[str, Cell] = {}
    for cell in cells:
        if cell.is_left(kind):
            found.setdefault(what(cell), cell)
    return list(found.values())


def _plan_of(cell: Cell) -> str:
    """What a plan rests on; the model enters by its tokenizer alone."""
    config = cell.config
    return repr((_encoding(cell), config.loss, config.recipe, config.seed, config.execution))


def _pairs_plan_of(cell: Cell) -> str:
    config = cell.config
    return repr((config.preference, config.template, _tokenizer_name(cell), config.execution))


def _tokenizer_name(cell: Cell) -> str:
    """The base models of the world have one tokenizer."""
    return "world" if in_world(cell.config.model.path) else cell.model.location


def _encoding(cell: Cell) -> str:
    """What decides a cell's examples."""
    config = cell.config
    seed = config.seed if config.dataset.inversion == "ratio" else None
    roles = bool(config.loss.roles.given)
    data = (cell.dataset.location, config.dataset, config.template)
    return repr((*data, _tokenizer_name(cell), config.recipe.max_length, roles, seed))


class _Examples:
    """The examples that a cell is trained on, encoded when they are asked for."""

    def __init__(self, cell: Cell) -> None:
        config = cell.config
        self._tokenizer = tokenizer_of(cell)
        files = local_files(config.dataset, cell.dataset, cell.config.execution.cache_folder)
        records = load_dataset(config.dataset, files, self._tokenizer, seed=config.seed)
        trained_on, _ = split_held_out(records, config.dataset.held_out)
        renderer = Renderer(config.template, self._tokenizer)
        self._segments = [renderer.segments(record) for record in trained_on]
        self._where = [record.where for record in trained_on]
        self._how: dict[str, Any] = {
            "max_length": config.recipe.max_length,
            "end_of_sequence": config.template.end_of_sequence,
            "eos_marker": config.template.eos_marker,
            "fine_roles": bool(config.loss.roles.given),
        }
        self._known: dict[int, EncodedExample] = {}

    def __len__(self) -> int:
        return len(self._segments)

    def some(self, chosen: Sequence[int]) -> list[EncodedExample]:
        """Those at some places."""
        new = [place for place in chosen if place not in self._known]
        if new:
            segments, where = [self._segments[place] for place in new], [self._where[place] for place in new]
            encoded = encode(segments, self._tokenizer, where=where, **self._how).examples
            self._known |= dict(zip(new, encoded, strict=True))
        return [self._known[place] for place in chosen]

    def may_be_longer(self, tokens: int) -> list[int]:
        """Places of examples that may have more tokens: none has more than bytes, marks of beginning and end beside."""
        marks = 2
        sizes = [sum(len(part.text.encode()) + marks for part in parts) + marks for parts in self._segments]
        return [place for place, size in enumerate(sizes) if size > tokens]


def _check_fine_tuning(config: CellConfig, examples: _Examples) -> None:
    recipe, budget, processes = config.recipe, config.execution.token_budget, config.execution.group_size
    long = examples.may_be_longer(budget) if recipe.max_length > budget else []
    if (
        processes > min(recipe.batch_size, len(examples))
        or any(len(example.token_T) > budget for example in examples.some(long))
        or not _every_step_has_weight(config, examples)
    ):
        from plw.train.batching.plan import plan_training

        everything = examples.some(range(len(examples)))
        plan_training(everything, config.loss, recipe, seed=config.seed, token_budget=budget, processes=processes)


def _every_step_has_weight(config: CellConfig, examples: _Examples) -> bool:
    """Whether an example with weight of its own is found in each step; without one the step may still have some."""
    from plw.train.batching.plan import example_order

    batch_size = config.recipe.batch_size
    weight_E = np.full(len(examples), UNSEEN, dtype=np.int8)
    for epoch in range(1, config.recipe.epochs + 1):
        order_E = example_order(len(examples), config.seed, epoch)
        # Of each step the examples that are not known to be without weight.
        left = [order_E[first : first + batch_size] for first in range(0, len(order_E), batch_size)]
        while left:
            heads = sorted({int(step[0]) for step in left if weight_E[step[0]] == UNSEEN})
            weight_E[heads] = _weights(examples.some(heads), config.loss)
            left = [step[1:] for step in left if weight_E[step[0]] == WITHOUT]
            if not all(map(len, left)):
                return False
    return True


def _weights(examples: Sequence[EncodedExample], loss: LossConfig) -> NDArray[np.int8]:
    """``WITH`` for each example that has weight in a step of its own, so in any; ``WITHOUT`` for the others."""
    sums = role_sums(examples)
    try:
        alone = role_coefficients(sums, dataclasses.replace(loss, scope="example"))
    except UserError:
        return np.full(len(examples), WITHOUT, dtype=np.int8)
    return np.where(has_weight(sums, alone.coefficient_ER), WITH, WITHOUT).astype(np.int8)


def _check_preference(cell: Cell, known: dict[str, PreparedPairs]) -> None:
    """Pairs fit the budget, or the config is refused; so they are counted only where processes share a step."""
    from plw.train.preference.plan import plan_pairs

    config, preference, processes = cell.config, cell.config.preference, cell.config.execution.group_size
    if processes == 1:
        return
    key = repr((preference, config.template, _tokenizer_name(cell)))
    if key not in known:
        assert cell.pairs is not None
        files = local_files(preference, cell.pairs, cell.config.execution.cache_folder)
        known[key] = prepare_pairs(preference, files, config.template, tokenizer_of(cell))
    budget = config.execution.token_budget
    plan_pairs(known[key].examples, preference.recipe(), seed=config.seed, token_budget=budget, processes=processes)
