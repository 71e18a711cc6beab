"""The files that cells are trained on, read once before the first cell: every row, as a template writes it."""

from typing import TYPE_CHECKING

from plw.config.evaluation import MT_BENCH
from plw.config.study import PREFERENCE
from plw.data.inputs import in_world
from plw.data.pairs import check_pairs
from plw.data.prepare import check_weights, sample, split_held_out
from plw.data.prompts import load_prompts
from plw.data.records import load_records
from plw.data.render import Renderer
from plw.data.sources import local_files
from plw.data.tokenizer import load_tokenizer
from plw.errors import UserError
from plw.pipeline.cell import Cell
from plw.progress import Progress, no_progress

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def check_records(cells: list[Cell], progress: Progress = no_progress) -> None:
    """Read every dataset and set of pairs that a cell is trained or measured on; the world's own are sound.

    ``progress`` is told the bytes of downloads.

    Raises:
        UserError: the first mistake, with file, row and field; or a file that cannot be fetched.
    """
    renderers = _renderers(cells)
    for cell in _one_of_each_dataset(cells):
        dataset = cell.config.dataset
        files = local_files(dataset, cell.dataset, cell.config.execution.cache_folder, progress)
        records = sample(load_records(files, dataset.format, dataset.columns), dataset.sample)
        trained_on, _ = split_held_out(records[: dataset.limit], dataset.held_out)
        check_weights(trained_on, allow_negative=cell.config.loss.allow_negative)
        for record in records[: dataset.limit]:
            renderers[_writing(cell)].segments(record)
    for cell in _one_of_each_pairs(cells):
        assert cell.pairs is not None
        config = cell.config
        files = local_files(config.preference, cell.pairs, cell.config.execution.cache_folder, progress)
        check_pairs(config.preference, files, config.template, tokenizer_of(cell))


def check_requests(cells: list[Cell]) -> None:
    """Every prompt with a system message that is to be answered, as the model is asked it; the world's have none.

    Raises:
        UserError: a template refuses one, or leaves its system message out.
    """
    seen = set()
    for cell in cells:
        config, is_chat = cell.config, cell.config.template.kind == "chat"
        for name, item in config.suite.prompts.items() if cell.is_left("generate") else ():
            path, how = cell.prompts[name].path, (config.dataset.format, _writing(cell))
            if item.protocol == MT_BENCH or in_world(item.prompts) or (path, item.limit, how) in seen:
                continue
            seen.add((path, item.limit, how))
            asked = [(row, prompt) for row, prompt in enumerate(load_prompts(path)[: item.limit], 1) if prompt.system]
            renderer = Renderer(config.template, tokenizer_of(cell) if is_chat else None) if asked else None
            for row, prompt in asked:
                assert renderer is not None
                where = f"{path}: row {row}"
                renderer.request(prompt.instruction, prompt.input, config.dataset.format, prompt.system, where)


def data_is_here(cell: Cell) -> bool:
    """Whether all that :func:`check_records` reads for a cell is on this machine, so that it fetches nothing."""
    tokenizer = cell.model.path.is_dir() or (cell.config.template.kind != "chat" and cell.pairs is None)
    return tokenizer and cell.dataset.path.is_file() and (cell.pairs is None or cell.pairs.path.is_file())


def tokenizer_of(cell: Cell) -> "PreTrainedTokenizerBase":
    """The base model's tokenizer."""
    model = cell.config.model
    return load_tokenizer(cell.model.location, revision=model.revision, trust_remote_code=model.trust_remote_code)


def _renderers(cells: list[Cell]) -> dict[str, Renderer]:
    """What writes the records of each template, and of each model where it is the tokenizer's own."""
    made: dict[str, Renderer] = {}
    for cell in cells:
        if {"train", "diagnose"} & set(cell.config.stages) and _writing(cell) not in made:
            path, is_chat = cell.config.model.path, cell.config.template.kind == "chat"
            if is_chat and in_world(path):
                raise UserError(
                    f"template=chat: {path} has no chat template, as no base model of the world has; choose "
                    "another template"
                )
            made[_writing(cell)] = Renderer(cell.config.template, tokenizer_of(cell) if is_chat else None)
    return made


def _writing(cell: Cell) -> str:
    """A template, and where it is the tokenizer's own the model."""
    template = cell.config.template
    return repr((template, cell.model.location if template.kind == "chat" else None))


def _one_of_each_dataset(cells: list[Cell]) -> list[Cell]:
    """A cell for each file that is read and way of reading it, and of weighing it, among those that read theirs."""
    found: dict[str, Cell] = {}
    for cell in cells:
        dataset = cell.config.dataset
        if not in_world(dataset.path) and {"train", "diagnose"} & set(cell.config.stages):
            key = (
                cell.dataset.location,
                dataset.revision,
                dataset.file,
                dataset.format,
                dataset.columns,
                dataset.sample,
                dataset.limit,
                dataset.held_out,
                cell.config.loss.allow_negative,
                _writing(cell),
            )
            found.setdefault(repr(key), cell)
    return list(found.values())


def _one_of_each_pairs(cells: list[Cell]) -> list[Cell]:
    """A cell for each set of pairs and way of reading it, among the cells that are trained on theirs."""
    found: dict[str, Cell] = {}
    for cell in cells:
        config = cell.config
        if PREFERENCE in config.stages and not in_world(config.preference.path):
            found.setdefault(repr((config.preference, config.template, cell.model.location)), cell)
    return list(found.values())
