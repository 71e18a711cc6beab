"""`plw items`: the outcomes of single documents and prompts, which a study's stages leave."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from plw.commands.choice import ConfigDir, Overrides, chosen_cell, study_cells
from plw.commands.output_file import output_file
from plw.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

    from plw.config import CellConfig
    from plw.registry import CellRow

items_app = typer.Typer(help="Outcomes of single documents and prompts.", no_args_is_help=True)


@items_app.command(name="export")
def export_items(
    out: Annotated[Path, typer.Option(metavar="FILE", help="A .parquet or .csv file.", callback=output_file)],
    overrides: Overrides = None,
    config_dir: ConfigDir = None,
) -> None:
    """Every item of a study's cells in one table, beside its cell's dataset, model, weights and seed."""
    from plw.runtime.console import console

    if out.suffix not in (".parquet", ".csv"):
        raise UserError(f"--out {out}: allowed are the endings .parquet and .csv")
    config = chosen_cell(overrides, config_dir)
    table = _study_items(config)
    _write(table, out)
    cells = len(table["cell"].unique())
    console().print(f"{out}: {len(table)} rows of {cells} cells", markup=False)


def _study_items(config: "CellConfig") -> "pa.Table":
    """All item tables of the study, one below the other.

    Raises:
        UserError: the study has no cell, or none with items.
    """
    import pyarrow as pa

    from plw.registry import Registry
    from plw.results.items import ITEMS, read_items

    study, scale, runs = config.study.name, config.scale.name, Path(config.execution.runs)
    with Registry.open(config.registry.url, create=False) as registry:
        cells = study_cells(registry, config.registry.url, study, scale)
    tables = [
        _beside(read_items(path), cell, path.parent.name)
        for cell in cells
        for path in sorted((runs / cell.folder).glob(f"*/{ITEMS}"))
    ]
    if not tables:
        raise UserError(f"{runs / config.runs_name}: {len(cells)} cells of {study} at scale {scale}, none has {ITEMS}")
    return pa.concat_tables(tables)


def _beside(items: "pa.Table", cell: "CellRow", stage: str) -> "pa.Table":
    import pyarrow as pa

    from plw.results.items import CELL_FIELDS

    columns = {name: getattr(cell, name) for name in CELL_FIELDS} | {"stage": stage}
    named = {name: pa.array([value] * len(items)) for name, value in columns.items()}
    return pa.table(named | {name: items[name] for name in items.column_names})


def _write(table: "pa.Table", out: Path) -> None:
    """Write the table, whole or not at all; in a CSV the counts of a segment have blanks between them."""
    from io import BytesIO

    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.csv
    import pyarrow.parquet as pq

    from plw.files.writing import write_bytes_atomic

    buffer = BytesIO()
    if out.suffix == ".parquet":
        pq.write_table(table, buffer, compression="zstd")
    else:
        place = table.column_names.index("counts")
        texts = pc.binary_join(pc.cast(table["counts"].combine_chunks(), pa.list_(pa.string())), " ")
        pyarrow.csv.write_csv(table.set_column(place, "counts", texts), buffer)
    try:
        write_bytes_atomic(out, buffer.getvalue())
    except OSError as error:
        raise UserError(f"--out {out} cannot be written: {error.strerror}") from None
