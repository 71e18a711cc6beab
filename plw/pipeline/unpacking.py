"""Models that come packed in one file, unpacked before anything reads them."""

from plw.pipeline.cell import Cell
from plw.pretrained.gguf_file import UNPACKED


def is_packed(cell: Cell) -> bool:
    """Whether the cell's model is in a file that has not been unpacked yet."""
    return cell.model.packed is not None and not (cell.model.path / UNPACKED).is_file()


def unpack_model(cell: Cell) -> None:
    """Unpack the cell's model where that is still to be done.

    Raises:
        UserError: the file holds no model that can be read.
        StorageError: the disk takes no more.
    """
    if is_packed(cell):
        from plw.train.model.unpack import unpack_gguf

        assert cell.model.packed is not None
        unpack_gguf(cell.model.packed, cell.model.path)
