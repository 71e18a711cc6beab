"""`plw stats` and `plw data`: what a dataset is made of, and other datasets made from it."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from plw.commands.choice import ConfigDir
from plw.commands.dataset import Data, Fields, Tokens, dataset_choice, named_tokenizer, read_dataset
from plw.commands.output_file import output_file
from plw.errors import UserError

if TYPE_CHECKING:
    from plw.config import CellConfig
    from plw.data.measure import Measurement
    from plw.data.records import AlpacaRecord

data_app = typer.Typer(help="Datasets made from datasets.", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command()(stats)
    app.add_typer(data_app, name="data")


def stats(
    data: Data,
    tokenizer: Tokens,
    fields: Fields = None,
    config_dir: ConfigDir = None,
    json: Annotated[Path | None, typer.Option(help="Write every number here.", callback=output_file)] = None,
    picture: Annotated[
        Path | None, typer.Option(help="Draw the lengths here (.png or .pdf).", callback=output_file)
    ] = None,
    max_length: Annotated[int, typer.Option(help="Tokens of an example in training.", min=2)] = 512,
    template: Annotated[str, typer.Option(help="Template around the fields of an example.")] = "alpaca",
) -> None:
    """The row of the PLW paper's Table 1 for a dataset, its lengths, and what a maximum length cuts off."""
    from plw.data.measure import measure
    from plw.data.sources import content_hash
    from plw.files.writing import write_bytes_atomic, write_json_atomic
    from plw.runtime.console import console, step_bar

    if picture is not None and picture.suffix not in (".png", ".pdf"):
        raise UserError(f"--picture {picture}: allowed are names that end in .png or .pdf")
    out = console()
    config = dataset_choice(data, [f"template={template}", *(fields or [])], config_dir)
    loaded = named_tokenizer(tokenizer)
    with step_bar(config.dataset.name, out) as progress:
        files, records = read_dataset(config, loaded, progress)
        found = measure(records, config.template, loaded, max_length=max_length, progress=progress)
    _print(found, config, out)
    if json is not None:
        about = {"dataset": config.dataset.name, "content": content_hash(files), "tokenizer": tokenizer}
        write_json_atomic(json, {**about, "template": template, **found.to_dict()})
        out.print(f"numbers: {json}")
    if picture is not None:
        from analysis.figures.lengths import length_figure
        from analysis.figures.theme import picture as drawn

        figure = length_figure(found.fields.prompt_E, found.fields.completion_E, found.example_E, max_length)
        write_bytes_atomic(picture, drawn(figure, picture.suffix[1:]))
        out.print(f"picture: {picture}")


@data_app.command()
def invert(
    data: Data,
    tokenizer: Tokens,
    out: Annotated[Path, typer.Option(help="The file to write, .json or .jsonl.", callback=output_file)],
    fields: Fields = None,
    config_dir: ConfigDir = None,
    short: Annotated[
        bool,
        typer.Option("--short", help="Invert every long completion, as the PLW paper did; this or --target-ratio."),
    ] = False,
    target_ratio: Annotated[
        float | None,
        typer.Option(help="Invert just enough for this R_g, completion tokens for each prompt token; this or --short."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Chooses what a target ratio inverts.")] = 42,
) -> None:
    """Turn long completions into inputs: the model then has to predict the instruction."""
    from plw.data.prepare import apply_inversion
    from plw.data.records import AlpacaRecord
    from plw.data.statistics import generation_ratio
    from plw.runtime.console import console

    if short == (target_ratio is not None):
        raise UserError("plw data invert needs one of --short and --target-ratio")
    if out.suffix not in (".json", ".jsonl"):
        raise UserError(f"--out {out}: allowed are names that end in .json or .jsonl")
    config = dataset_choice(data, fields or [], config_dir)
    if config.dataset.inversion != "none":
        raise UserError(f"{data} is inverted already (dataset.inversion={config.dataset.inversion})")
    kind = "short" if short else "ratio"
    wanted = dataclasses.replace(config.dataset, inversion=kind, target_ratio=target_ratio)
    loaded = named_tokenizer(tokenizer)
    files, before = read_dataset(config, loaded)
    if out.exists() and any(out.samefile(file) for file in files):
        raise UserError(f"--out {out} is the file that is read; give another name")
    after = [record for record in apply_inversion(before, wanted, loaded, seed) if isinstance(record, AlpacaRecord)]
    _write(out, after)
    words = console()
    for name, records in ((data, before), (out, after)):
        ratio = generation_ratio(records, loaded)
        words.print(f"{name}: {len(records):,} records, R_g {'-' if ratio is None else f'{ratio:.4g}'}", markup=False)


def _write(out: Path, records: "list[AlpacaRecord]") -> None:
    from plw.files.writing import write_json_atomic, write_jsonl_atomic

    # A weight is read where dataset.columns names it, so a file without any need not have the field.
    names = ["instruction", "input", "output", *(["weight"] if any(record.weight != 1 for record in records) else [])]
    rows = [{name: getattr(record, name) for name in names} for record in records]
    try:
        if out.suffix == ".jsonl":
            write_jsonl_atomic(out, rows)
        else:
            write_json_atomic(out, rows)
    except OSError as error:
        raise UserError(f"--out {out} cannot be written: {error.strerror}") from None


def _print(found: "Measurement", config: "CellConfig", out: object) -> None:
    from rich.console import Console
    from rich.table import Table

    assert isinstance(out, Console)
    row, quantiles = found.statistics, found.quantiles()
    table = Table(title="Means in tokens (standard deviation); template excluded", title_justify="left")
    for name in ("dataset", "examples", "instruction", "input", "completion", "total tokens", "R_g", "mean of ratios"):
        table.add_column(name, justify="left" if name == "dataset" else "right")
    table.add_row(
        config.dataset.name,
        f"{row.records:,}",
        f"{row.instruction_mean:.2f} ({row.instruction_sd:.2f})",
        f"{row.input_mean:.2f} ({row.input_sd:.2f})",
        f"{row.completion_mean:.2f} ({row.completion_sd:.2f})",
        f"{row.total_tokens:,}",
        *("-" if value is None else f"{value:.4g}" for value in (row.generation_ratio, row.mean_of_ratios)),
    )
    out.print(table)
    spread = Table(title="Lengths in tokens; examples have their template", title_justify="left")
    names = {"0": "shortest", "1": "longest", "0.5": "median"}
    spread.add_column("")
    for quantile in quantiles["example"]:
        spread.add_column(names.get(quantile, f"{float(quantile):.0%}"), justify="right")
    for name, values in quantiles.items():
        spread.add_row(name, *(f"{value:,.0f}" for value in values.values()))
    out.print(spread)
    cut, lost = (f"{n:,} ({n / row.records:.1%})" for n in (found.truncated, found.without_completion))
    where = f"At {found.max_length} tokens with template {config.template.name}"
    out.print(f"{where}, {cut} examples are cut at their end; {lost} have no token of a completion.")
