"""Number formats of 16 bits that this machine's cores are slow in, told before hours are spent on them.

A processor with instructions for bf16 multiplies it up to twice as fast as fp32; one with half of them, half as fast;
one without, hundreds of times slower, because each number is converted by itself (docs/benchmarks.md).
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.console import Console

from plw.config.study import PREFERENCE
from plw.errors import UserError
from plw.pipeline import Cell
from plw.sweep.cost import cell_shape
from plw.sweep.cpu_speed import SINGLE_PRECISION, TRAINED_IN, ModelShape, machine_name, model_shape, times_of_fp32
from plw.sweep.workers import computes_on_cores

TOLD, REFUSED = 1.2, 4.0
"""Times as long as in fp32 that products take, from which on it is said, and refused."""
MIN_PARAMETERS = 5_000_000
"""Parameters of a model whose work takes so long that its number format matters."""
SCORING = {"diagnose", "harness", "generate"}


@dataclass(frozen=True)
class _Choice:
    """A field that chooses a number format."""

    field: str
    value: str
    shape: Callable[[], ModelShape | None]
    """Reads that of the model that computes in it; None: unknown."""

    @property
    def product(self) -> str:
        """Format of its matrix products, as torch names it."""
        return TRAINED_IN.get(self.value, self.value)

    @property
    def matters(self) -> bool:
        """Whether it is another one than fp32, for a model that is not small."""
        if self.product == SINGLE_PRECISION:
            return False
        shape = self.shape()
        return shape is None or shape.parameters >= MIN_PARAMETERS

    @property
    def instead(self) -> str:
        """What the field calls fp32."""
        return "fp32" if self.value in TRAINED_IN else SINGLE_PRECISION


def check_cpu_formats(cells: Sequence[Cell], console: Console) -> None:
    """Look at what the cells compute in, where they compute on this machine's cores.

    A format that is a little slower here than fp32 is told on ``console``.

    Raises:
        UserError: one is so slow here that the work would not end; the line says what to give instead.
    """
    found = slow_formats(cells)
    for line, times in found.items():
        if times >= REFUSED:
            raise UserError(line)
    print_slow_formats(found, console)


def slow_formats(cells: Sequence[Cell]) -> dict[str, float]:
    """What to say of each format slower here than fp32 -> times as long as in fp32 that products take in it.

    Empty where all that is left to do is on GPUs, in fp32, or with models so small that it does not matter.
    """
    chosen: dict[str, dict[str, str]] = defaultdict(dict)
    for cell in cells:
        for choice in _choices(cell) if computes_on_cores(cell.config.execution) else ():
            if choice.matters:
                chosen[choice.product][f"{choice.field}={choice.value}"] = f"{choice.field}={choice.instead}"
    slow = {product: times for product in chosen if (times := times_of_fp32(product)) >= TOLD}
    return {_words(product, chosen[product], times): times for product, times in slow.items()}


def print_slow_formats(found: dict[str, float], console: Console) -> None:
    """One line for each format."""
    for line in found:
        console.print(line, markup=False, soft_wrap=True)


def _choices(cell: Cell) -> Iterator[_Choice]:
    """The number formats of the stages that are still to be done."""
    config, shape = cell.config, partial(cell_shape, cell)
    stages = set(filter(cell.is_left, config.stages))
    if "train" in stages:
        yield _Choice("recipe.precision", config.recipe.precision, shape)
    if PREFERENCE in stages:
        yield _Choice("preference.precision", config.preference.precision, shape)
    if stages & SCORING:
        yield _Choice("suite.dtype", config.suite.dtype, shape)
    if "judge" in stages and config.judge.kind == "weights":
        yield _Choice("judge.dtype", config.judge.dtype, partial(model_shape, Path(config.judge.path or "")))


def _words(product: str, fields: dict[str, str], times: float) -> str:
    short = "bf16" if product == "bfloat16" else "fp16"
    how_long = f"{times:.1f}" if times < 10 else f"{times:.0f}"
    return (
        f"{', '.join(fields)}: {short} products take {how_long} times as long as fp32 ones on this machine "
        f"({machine_name()}); faster here: {' '.join(dict.fromkeys(fields.values()))}"
    )
