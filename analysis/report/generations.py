"""Answers and verdicts of a study, read from the stages' files, as the page lays two cells side by side.

All of it is text that a model wrote: data to show, never markup.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypedDict

from analysis.report.json_values import json_number
from analysis.scores.sample import spread
from analysis.scores.study import Study
from plw.errors import UserError, shortened
from plw.files.reading import read_json
from plw.paths import PAYLOAD
from plw.registry.rows import CellRow, StageRow
from plw.registry.schema import DONE

ROOM = 3_000_000
"""Characters of answers and replies that the page takes unless told otherwise."""

NO_ANSWERS = frozenset({"payload", "record", "failure"})
"""Stems of a stage's JSON files that hold no answers."""

ANSWER_FIELDS: Mapping[str, tuple[tuple[type, ...], str]] = {
    "instruction": ((str,), "a text"),
    "output": ((str,), "a text"),
    "tokens": ((int,), "a whole number"),
    "finished": ((bool,), "true or false"),
    "points": ((int, float), "a number"),
    "replies": ((list,), "a list"),
}
"""Field of an answer or a verdict -> its types and their name; any of them may be null."""

Prompts = tuple[tuple[str, str], ...]
"""Instruction and input of each prompt."""


class GenerationsData(TypedDict):
    """Prompts once, and every cell's answers to them."""

    texts: list[str]
    """Every different answer and reply; the lists below hold places in it."""
    sets: list[dict[str, Any]]
    """``benchmark``, ``suite``, ``note`` (which prompts were picked), ``prompts`` (instruction, input), ``answers``:
    cell -> per prompt (text, tokens, finished), and ``verdicts``: judge -> cell -> per prompt (points, conflict,
    replies) or None."""


@dataclass(frozen=True, kw_only=True)
class _Answers:
    """The answers of one cell to one benchmark's prompts, and the judges' verdicts on them."""

    cell: int
    prompts: Prompts
    rows: Sequence[Mapping[str, Any]]
    verdicts: Mapping[str, Sequence[Mapping[str, Any]]]
    """Judge -> verdict on each answer."""


def generations_data(study: Study, most: int | None = None) -> tuple[GenerationsData, list[str]]:
    """Read every cell's answers and verdicts.

    Args:
        study: the study.
        most: prompts of each benchmark at most; None takes as many as fit into ``ROOM``. They are spread evenly over
            the benchmark's file, and are the same for all cells.

    Returns:
        The data, and one line for each file that could not be read or has other prompts than the first cell's.
    """
    problems: list[str] = []
    found: dict[tuple[str, str], list[_Answers]] = {}
    for index, cell in enumerate(study.shown):
        for stage in study.stages_of(cell):
            if stage.kind == "generate" and stage.status == DONE:
                for benchmark, answers in _read_cell(study, index, cell, stage, problems):
                    found.setdefault((benchmark, stage.name.partition("-")[2]), []).append(answers)
    alike = {key: _alike(key[0], sets, study, problems) for key, sets in sorted(found.items())}
    most = _fitting(alike) if most is None else most
    table: dict[str, int] = {}
    sets = [_set(key, answers, most, table) for key, answers in alike.items()] if most else []
    return {"texts": list(table), "sets": sets}, problems


def _read_cell(
    study: Study, index: int, cell: CellRow, stage: StageRow, problems: list[str]
) -> Iterator[tuple[str, _Answers]]:
    folder = study.runs / cell.folder / stage.name
    for path in _results(folder):
        try:
            found = read_json(path)
            if _are_dialogues(found):
                continue
            rows = _rows(path, found, ("instruction", "output"))
        except (UserError, OSError) as error:
            problems.append(str(error))
            continue
        prompts = tuple((_asked(row), str(row.get("input") or "")) for row in rows)
        verdicts = dict(_verdicts(study, cell, stage, path.stem, problems))
        yield path.stem, _Answers(cell=index, prompts=prompts, rows=rows, verdicts=verdicts)


def _are_dialogues(rows: Any) -> bool:
    """Whether a file's contents are MT-Bench's answers, turn after turn: graded one by one, these are not shown."""
    return isinstance(rows, list) and bool(rows) and isinstance(rows[0], dict) and "turns" in rows[0]


def _asked(row: Mapping[str, Any]) -> str:
    """The instruction, after its system message where it has one."""
    return "\n\n".join(str(row[name]) for name in ("system", "instruction") if row.get(name))


def _verdicts(
    study: Study, cell: CellRow, generate: StageRow, benchmark: str, problems: list[str]
) -> Iterator[tuple[str, Sequence[Mapping[str, Any]]]]:
    """Judge and its verdicts on one file, from the judge stages that read this very stage's answers."""
    for stage in study.stages_of(cell):
        folder = study.runs / cell.folder / stage.name
        if stage.kind != "judge" or stage.status != DONE or not (folder / f"{benchmark}.json").is_file():
            continue
        try:
            payload = read_json(folder / PAYLOAD)
            if payload["generate"] == generate.fingerprint:
                path = folder / f"{benchmark}.json"
                yield str(payload["judge"]["name"]), _rows(path, read_json(path), ("points",))
        except (UserError, OSError) as error:
            problems.append(str(error))
        except (KeyError, TypeError):
            problems.append(f"{folder / PAYLOAD}: not the payload of a judge stage")


def _results(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.glob("*.json")) if path.stem not in NO_ANSWERS]


def _rows(path: Path, rows: Any, fields: Sequence[str]) -> list[dict[str, Any]]:
    """The contents of a file, each row of which has the fields."""
    if not isinstance(rows, list):
        raise UserError(f"{path}: found {type(rows).__name__}, not a list")
    for number, row in enumerate(rows, start=1):
        if lacking := [field for field in fields if not isinstance(row, dict) or field not in row]:
            raise UserError(f"{path}: row {number} has no {' or '.join(lacking)}")
        for field, (types, words) in ANSWER_FIELDS.items():
            if row.get(field) is not None and not isinstance(row[field], types):
                raise UserError(
                    f"{path}: row {number}: {field} is {shortened(str(row[field]), 40)!r}; allowed is {words}"
                )
    return rows


def _alike(benchmark: str, sets: list[_Answers], study: Study, problems: list[str]) -> list[_Answers]:
    """The cells that answered the same prompts as the first one."""
    problems += [
        f"{study.shown[other.cell].folder}: answers to other prompts of {benchmark} are not shown"
        for other in sets
        if other.prompts != sets[0].prompts
    ]
    return [
        _with_whole_verdicts(answers, benchmark, study, problems)
        for answers in sets
        if answers.prompts == sets[0].prompts
    ]


def _with_whole_verdicts(answers: _Answers, benchmark: str, study: Study, problems: list[str]) -> _Answers:
    """Without verdicts of which there are more or fewer than answers."""
    there, folder = len(answers.rows), study.shown[answers.cell].folder
    whole = {judge: rows for judge, rows in answers.verdicts.items() if len(rows) == there}
    problems += [
        f"{folder}: {there} answers to {benchmark}, but {len(answers.verdicts[judge])} verdicts of {judge}: not shown"
        for judge in answers.verdicts.keys() - whole.keys()
    ]
    return replace(answers, verdicts=whole)


def _fitting(alike: Mapping[Any, Sequence[_Answers]]) -> int:
    """Prompts of each benchmark that fit into ``ROOM``, by their mean length."""
    total, longest = 0, 1
    for sets in alike.values():
        longest = max(longest, len(sets[0].prompts))
        different = {text for answers in sets for text in _texts(answers)}
        total += sum(map(len, different)) + sum(14 * len(answers.rows) for answers in sets)
    return longest if total <= ROOM else max(1, longest * ROOM // total)


def _texts(answers: _Answers) -> Iterator[str]:
    yield from (str(row["output"]) for row in answers.rows)
    for verdicts in answers.verdicts.values():
        for verdict in verdicts:
            yield from map(str, verdict.get("replies") or ())


def _set(key: tuple[str, str], sets: Sequence[_Answers], most: int, table: dict[str, int]) -> dict[str, Any]:
    benchmark, suite = key
    prompts = sets[0].prompts
    picked = spread(len(prompts), most)
    short = f"{len(picked)} of {len(prompts)} prompts, spread evenly over the file"
    verdicts: dict[str, dict[str, Any]] = {}
    for answers in sets:
        for judge, rows in answers.verdicts.items():
            verdicts.setdefault(judge, {})[str(answers.cell)] = [_verdict(rows[i], table) for i in picked]
    return {
        "benchmark": benchmark,
        "suite": suite,
        "note": short if len(picked) < len(prompts) else f"all {len(prompts)} prompts",
        "prompts": [list(prompts[i]) for i in picked],
        "answers": {str(answers.cell): [_answer(answers.rows[i], table) for i in picked] for answers in sets},
        "verdicts": verdicts,
    }


def _answer(row: Mapping[str, Any], table: dict[str, int]) -> list[Any]:
    return [_place(row["output"], table), json_number(row.get("tokens")), row.get("finished")]


def _verdict(row: Mapping[str, Any], table: dict[str, int]) -> list[Any]:
    replies = [_place(reply, table) for reply in row.get("replies") or ()]
    return [json_number(row.get("points")), bool(row.get("conflict")), replies]


def _place(text: Any, table: dict[str, int]) -> int:
    return table.setdefault(str(text), len(table))
