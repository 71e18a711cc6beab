"""The item table ``items.parquet``: one row per item and metric, left by every stage that scores, beside its record.

An item is one document of a benchmark, one prompt, or one pair that a judge compared. The columns are described in
``docs/items.md``; any program that reads Parquet can read the file.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plw.errors import UserError, named
from plw.files.writing import write_bytes_atomic

if TYPE_CHECKING:
    import pyarrow as pa

ITEMS = "items.parquet"

CELL_FIELDS = ("cell", "dataset", "model", "prompt_weight", "response_weight", "seed")
"""What an export says of the cell of each item."""
CELL_COLUMNS = (*CELL_FIELDS, "stage")

MEAN = "mean"
CLUSTER_FIELDS = ("passage", "context", "paragraph", "article", "story", "subject")
"""Fields of a document that several documents of a task may share."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ItemRow:
    """One row of the table."""

    benchmark: str
    """The suite's name of the benchmark."""
    task: str
    """lm-eval's name of the task: a benchmark may be a group of tasks. For judged prompts, the protocol."""
    item: int
    """Number of the document within its task, as lm-eval's ``doc_id``; place of the prompt in its file."""
    item_hash: str
    """SHA-256 of the document, as lm-eval's ``doc_hash``, in hex. Items of two cells are paired by it."""
    cluster: str | None = None
    """What the item shares with others (a hash of the passage, the name of the subject); null: nothing."""
    metric: str
    """As in the registry's scores: a filter other than ``none`` follows after a comma."""
    headline: bool = False
    """Whether this is the benchmark's one metric that the analysis takes."""
    aggregation: str = MEAN
    """How items make the score: ``mean``, one of ``COUNTED`` (from summed counts), or another's name."""
    value: float | None = None
    """The item's part in a mean, on the score's own scale; null where there is none (an unreadable verdict)."""
    counts: Sequence[float] | None = None
    """What is summed over a sample: of a corpus metric sacreBLEU's sufficient statistics of the segment, of a share the
    parts that are right and all parts."""
    higher_is_better: bool | None = None


@lru_cache(maxsize=1)
def item_schema() -> "pa.Schema":
    """The table's columns and types."""
    import pyarrow as pa

    types = {
        "item": pa.int32(),
        "headline": pa.bool_(),
        "value": pa.float64(),
        "counts": pa.list_(pa.float32()),
        "higher_is_better": pa.bool_(),
    }
    optional = ("cluster", "value", "counts", "higher_is_better")
    return pa.schema(
        [
            pa.field(field.name, types.get(field.name, pa.string()), nullable=field.name in optional)
            for field in fields(ItemRow)
        ]
    )


def document_hash(document: Mapping[str, Any]) -> str:
    """SHA-256 of a document as lm-eval's ``doc_hash`` has it, in hex."""
    return _sha256(json.dumps(document, indent=2, ensure_ascii=False, default=str))


def document_clusters(
    task: str, documents: Sequence[Mapping[str, Any]], field_name: str | None = None, *, whole_task: bool = False
) -> list[str | None]:
    """A name for what each document of a task shares with others.

    Args:
        task: Its name, a part of the clusters' names.
        documents: All that were scored.
        field_name: Field whose value they may share; by default the first of ``CLUSTER_FIELDS`` that some documents,
            but not all, share.
        whole_task: Whether the task is one of several in a benchmark, so that its documents share their subject.
    """
    for name in (field_name,) if field_name else CLUSTER_FIELDS:
        if not any(name in document for document in documents):
            continue
        values = [json.dumps(document.get(name), ensure_ascii=False, default=str) for document in documents]
        if 1 < len(set(values)) < len(values):
            return [f"{task}:{_sha256(value)[:16]}" for value in values]
    return [task if whole_task else None] * len(documents)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def write_items(path: Path, items: Sequence[ItemRow]) -> None:
    """Write the table, whole or not at all; the same items give the same bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = item_schema()
    columns = {name: [getattr(item, name) for item in items] for name in schema.names}
    buffer = BytesIO()
    # One dictionary for the whole column: a document's hash stands in the row of each metric.
    pq.write_table(
        pa.table(columns, schema=schema),
        buffer,
        compression="zstd",
        compression_level=6,
        dictionary_pagesize_limit=1 << 26,
    )
    write_bytes_atomic(path, buffer.getvalue())


def read_items(path: Path) -> "pa.Table":
    """The table of a file, its columns checked.

    Raises:
        UserError: no such file, no Parquet, or a column that is missing or of another type.
    """
    return _checked(path, item_schema())


def read_item_export(path: Path) -> "pa.Table":
    """The items of a study's cells, as ``plw items export`` writes them: ``CELL_COLUMNS``, then those of the items.

    Raises:
        UserError: as ``read_items``; a CSV export, which has no types.
    """
    import pyarrow as pa

    if path.suffix.lower() == ".csv":
        raise UserError(
            f"{path}: a CSV table; export the items to a .parquet file (plw items export --out FILE.parquet)"
        )
    types = {"prompt_weight": pa.float64(), "response_weight": pa.float64(), "seed": pa.int64()}
    fields_of_cell = [pa.field(name, types.get(name, pa.string()), nullable=False) for name in CELL_COLUMNS]
    return _checked(path, pa.schema([*fields_of_cell, *item_schema()]))


def _checked(path: Path, schema: "pa.Schema") -> "pa.Table":
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"{path}: not a Parquet file that can be read ({_first_line(error)})") from None
    for field in schema:
        if field.name not in table.column_names:
            raise UserError(f"{path}: column {field.name} is missing; the file has {named(table.column_names)}")
        if not field.nullable and table[field.name].null_count:
            raise UserError(f"{path}: column {field.name} has an empty field; a value is needed in every row")
    try:
        return table.select(schema.names).cast(schema)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise UserError(f"{path}: a column is of another type ({_first_line(error)})") from None


def _first_line(error: BaseException) -> str:
    text: Any = str(error).strip().splitlines() or [type(error).__name__]
    return str(text[0])
