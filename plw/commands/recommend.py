"""`plw recommend`: which prompt weight for a dataset, by its generation ratio and all evidence there is."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from plw.commands.choice import ConfigDir
from plw.commands.dataset import Data, Fields, Tokens, dataset_choice, is_choice, named_tokenizer, read_dataset
from plw.commands.score_table import Out, write_numbers
from plw.commands.suites import configured_suites
from plw.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from analysis.inference.evidence import Evidence
    from analysis.inference.nearest import NearestVerdicts
    from analysis.inference.ratio_model import RatioFit
    from analysis.inference.recommend import Recommendation
    from analysis.scores.benchmarks import Configured
    from plw.config import CellConfig


def add_to(app: typer.Typer) -> None:
    """Register `plw recommend`."""
    app.command()(recommend)


def recommend(
    data: Data, tokenizer: Tokens, fields: Fields = None, config_dir: ConfigDir = None, out: Out = None
) -> None:
    """Which prompt weight for your data, by its generation ratio: what papers, a small study and yours say."""
    from analysis.inference.evidence import agreement, all_evidence
    from analysis.inference.recommend import recommend_weight
    from plw.runtime.console import console

    config = dataset_choice(data, fields or [], config_dir)
    if not is_choice(data, config_dir):
        config = _all_records(config, fields or [])
    r_g = _generation_ratio(data, tokenizer, config)
    fits, by_kind, no_model = _own_model(config, configured_suites(config, fields, config_dir), r_g)
    advice = recommend_weight(r_g, fits, no_model=no_model, like_yours=not _is_world(config))
    evidence = all_evidence(advice, by_kind, registry=config.runs_name, like_yours=not _is_world(config))
    agreed = agreement(evidence, r_g)
    _show(data, config, advice, console())
    if by_kind is not None:
        _show_kinds(config, by_kind, console())
    _show_evidence(r_g, evidence, agreed, console())
    if out is not None:
        about: dict[str, Any] = {"data": data, "tokenizer": tokenizer, "study": config.runs_name}
        kinds = {"by_kind": None if by_kind is None else by_kind.to_dict()}
        joined = {"evidence": [item.to_dict() for item in evidence], "agreement": agreed}
        write_numbers(out, about | advice.to_dict() | kinds | joined)


def _all_records(config: "CellConfig", fields: list[str]) -> "CellConfig":
    """A file of the user's, as it is: how many records a scale draws of its own data (``scale=pocket``) is left out."""
    from plw.config.overrides import split_override

    if "dataset.sample" in {split_override(word)[0] for word in fields}:
        return config
    return dataclasses.replace(config, dataset=dataclasses.replace(config.dataset, sample=None))


def _generation_ratio(data: str, tokenizer: str, config: "CellConfig") -> float:
    from plw.data.statistics import generation_ratio
    from plw.runtime.console import console, step_bar

    loaded = named_tokenizer(tokenizer)
    with step_bar(config.dataset.name, console()) as progress:
        _, records = read_dataset(config, loaded, progress)
    ratio = generation_ratio(records, loaded)
    if not ratio:
        kind = "prompt" if ratio is None else "completion"
        raise UserError(f"{data}: no record has a {kind} token, so it has no generation ratio to go by")
    return ratio


def _own_model(
    config: "CellConfig", configured: "Configured", r_g: float
) -> "tuple[list[RatioFit], NearestVerdicts | None, str]":
    """The ratio model of the study that the registry holds and the verdicts of its nearest dataset, or why not."""
    from analysis.inference.nearest import nearest_verdicts
    from analysis.inference.ratio_model import ratio_fits
    from analysis.scores.study import read_study, study_frame

    runs = Path(config.execution.runs)
    try:
        study = read_study(config.registry.url, runs, config.study.name, config.scale.name, configured=configured)
        frame = study_frame(study)
        return ratio_fits(frame), nearest_verdicts(frame, r_g), ""
    except UserError as error:
        return [], None, str(error)


def _show_kinds(config: "CellConfig", nearest: "NearestVerdicts", screen: "Console") -> None:
    """What the study says of each kind of task, on its dataset whose generation ratio is the nearest."""
    from analysis.report.verdict_text import dataset_sentences

    own = " (the embedded world's: no evidence for others)" if _is_world(config) else ""
    screen.print(
        f"By kind of task, on {nearest.dataset} of {config.runs_name}, the nearest by R_g ({nearest.r_g:.3g}){own}:",
        markup=False,
    )
    for line in dataset_sentences(nearest.verdicts, nearest.dataset):
        screen.print(f"- {line}", markup=False)


def _show_evidence(r_g: float, evidence: "list[Evidence]", agreed: dict[str, str], screen: "Console") -> None:
    """Every source, what it says by kind of task, and how far those that speak about the ratio agree."""
    from rich.table import Table
    from rich.text import Text

    table = Table("source", "R_g", "speaks of yours", *agreed, title="All evidence", title_justify="left")
    for item in evidence:
        speaks = "yes" if item.speaks else "no: embedded world" if item.near else "no: another ratio"
        said = [item.findings[kind].words if kind in item.findings else "–" for kind in agreed]
        table.add_row(*map(Text, (item.source, item.ratios, speaks, *said)))
    screen.print(table)
    screen.print(f"Of the sources that speak about R_g {r_g:.3g}:", markup=False)
    for kind, words in agreed.items():
        screen.print(f"- {kind}: {words}", markup=False)


def _is_world(config: "CellConfig") -> bool:
    return config.scale.name == "mini"


def _show(data: str, config: "CellConfig", advice: "Recommendation", screen: "Console") -> None:
    from rich.table import Table
    from rich.text import Text

    screen.print(f"{data}: generation ratio R_g {advice.r_g:.4g}", markup=False)
    own = {item.aggregate: item for item in advice.own}
    columns = ["benchmarks", "paper's Table 4", *([f"model of {config.runs_name}"] if own else [])]
    table = Table(*columns, title="Best prompt weight at this ratio (* it hardly matters)", title_justify="left")
    for item in advice.published:
        paper = "*" if item.plw is None else f"{item.plw:.3g}"
        rows = " and ".join(f"{row:g}" for row in item.rows)
        cells = [item.aggregate, f"{paper} (row{'s' * (len(item.rows) > 1)} {rows})"]
        if own:
            found = own[item.aggregate].optimum
            cells.append(
                "–" if found is None else f"{found.plw:.3g}{'*' * found.starred}, {found.low:.2g} to {found.high:.2g}"
            )
        table.add_row(*map(Text, cells))
    screen.print(table)
    for line in advice.remarks:
        screen.print(line, markup=False)
    if advice.no_model:
        screen.print(f"No model of this registry: {advice.no_model}", markup=False)
    for line in dict.fromkeys(f"No model of {i.aggregate}: {i.refusal}" for i in advice.own if i.refusal):
        if not advice.no_model:
            screen.print(line, markup=False)
    screen.print(advice.sentence, markup=False)
