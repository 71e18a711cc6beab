"""Weights that stand in the data: of a record, of a message, of a stretch of text; each a finite number."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from numbers import Real
from typing import Any

from plw.errors import UserError, shortened
from plw.files.json_text import kind_of

MESSAGE_WEIGHTS = ("weight", "loss_weight", "loss_scale")
"""What the weight of a message is called: by OpenAI and axolotl, by LLaMA-Factory, and by ms-swift."""
SWITCHES = ("train", "training", "loss")
"""What says whether a message is learned from, true or false: of OpenAI's kind, by axolotl, and by ms-swift."""
NUMERAL = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")


@dataclass(frozen=True, kw_only=True, slots=True)
class WeightSpan:
    """Characters ``start`` to before ``end`` of a text, and what they count in the loss, times their role's weight."""

    start: int
    end: int
    weight: float
    field: str = ""
    """Of an Alpaca record, the field whose text it is."""


def weight_of(value: Any, name: str, where: str) -> float:
    """A weight from a file; in a CSV file a number is a text, in a parquet table it may be a decimal.

    Raises:
        UserError: no number, or none that is finite; the line names file, row and field.
    """
    if isinstance(value, str) and NUMERAL.fullmatch(value):
        value = float(value)
    try:
        weight = math.nan if isinstance(value, bool) or not isinstance(value, Real | Decimal) else float(value)
    except OverflowError:
        # An integer may have hundreds of digits.
        weight = math.inf
    if not math.isfinite(weight):
        found = repr(shortened(str(value), 40)) if isinstance(value, Real | Decimal | str) else kind_of(value)
        raise UserError(f"{where}: field '{name}' is {found}; it must be a finite number, such as 0.5")
    return weight


def message_weight(message: Mapping[str, Any], where: str) -> float:
    """The weight of a message, one of ``MESSAGE_WEIGHTS``; 0 where one of ``SWITCHES`` is false, 1 where it has none.

    Raises:
        UserError: another value, or more than one of them.
    """
    given = [name for name in (*MESSAGE_WEIGHTS, *SWITCHES) if message.get(name) is not None]
    if len(given) > 1:
        raise UserError(f"{where} has {' and '.join(given)}; one of them says what it counts")
    if not given:
        return 1.0
    name, value = given[0], message[given[0]]
    if name not in SWITCHES:
        return weight_of(value, name, where)
    if not isinstance(value, bool):
        raise UserError(f"{where}: field '{name}' is {shortened(str(value), 40)!r}; allowed: true, false")
    return float(value)


def negative_weight(where: str, weight: float) -> str:
    """What is said of a weight below 0 where none is allowed."""
    return f"{where}: the data give a weight of {weight:g}; weights below 0 need loss.allow_negative=true"


def weight_spans(value: Any, texts: Mapping[str, str], name: str, where: str) -> tuple[WeightSpan, ...]:
    """The stretches of some texts that have a weight of their own.

    Args:
        value: from the file: a list of objects with ``start``, ``end`` (characters from 0, the end excluded),
            ``weight`` and, where there are several texts, ``field``.
        texts: name -> text; the last is meant where no field is named.
        name: the field's, for messages.
        where: file and row, for messages.

    Raises:
        UserError: another value, a stretch outside its text, or a weight that is no finite number.
    """
    if value is None:
        return ()
    if not isinstance(value, list):
        raise UserError(f"{where}: field '{name}' is {kind_of(value)}; it must be a list of start, end and weight")
    return tuple(_span(item, texts, f"{where}: {name}[{number}]") for number, item in enumerate(value))


def _span(item: Any, texts: Mapping[str, str], where: str) -> WeightSpan:
    if not isinstance(item, dict):
        raise UserError(f"{where} is {kind_of(item)}, not an object")
    field = item.get("field", list(texts)[-1])
    if not isinstance(field, str) or field not in texts:
        raise UserError(f"{where}: field 'field' is {shortened(str(field), 40)!r}; allowed: {', '.join(texts)}")
    start, end = item.get("start"), item.get("end")
    if type(start) is not int or type(end) is not int or not 0 <= start < end <= len(texts[field]):
        raise UserError(
            f"{where}: start={shortened(repr(start), 40)} and end={shortened(repr(end), 40)} are no stretch of the "
            f"{len(texts[field])} characters of its text; allowed: whole numbers, 0 <= start < end"
        )
    return WeightSpan(start=start, end=end, weight=weight_of(item.get("weight"), "weight", where), field=field)
