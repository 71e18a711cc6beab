"""What a task of lm-eval needs beside its documents: packages, and data that a package reads."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from unittest import mock

from plw.errors import UserError

EXTRAS = {"langdetect": "ifeval", "immutabledict": "ifeval"}
"""Package -> the extra of ours that brings it."""
NLTK_DATA = {"ifeval": "tokenizers/punkt_tab"}
"""Folder of lm-eval's tasks -> the data of nltk that its scoring reads."""


def missing_package(error: BaseException, source: str | Path | None = None) -> str | None:
    """What to install where an error, or one behind it, is a module that is not there.

    Args:
        error: of loading a task.
        source: the task's file, which may name functions of a module beside it.
    """
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ModuleNotFoundError) and seen.name:
            package = seen.name.partition(".")[0]
            if source is not None and re.search(rf"!function\s+{re.escape(package)}\.", Path(source).read_text()):
                return f"names a function of {package}, and {Path(source).parent} holds no {package}.py; put it there"
            extra = EXTRAS.get(package)
            wanted = f"'plw[{extra}]'" if extra else package
            return f"needs the package {package}, which is not installed: pip install {wanted}"
        seen = seen.__cause__ or seen.__context__
    return None


@contextmanager
def quiet_downloads(source: str | Path | None) -> Iterator[None]:
    """Let a task's code fetch nltk's data without its lines: what is missing afterwards is told in ours.

    Args:
        source: The task's file, which stands in a folder of its kind.
    """
    if source is None or not NLTK_DATA.keys() & set(Path(source).parts):
        yield
        return
    import nltk

    silent = partial(nltk.download, quiet=True, print_error_to=io.StringIO())
    with mock.patch.object(nltk, "download", silent):
        yield


def check_nltk_data(benchmark: str, task: str, source: str | Path | None) -> None:
    """Check that the data of nltk is there that a task reads only when it scores its first answers.

    Args:
        benchmark: The suite's name, for messages.
        task: The task's name.
        source: The task's file, which stands in a folder of its kind.

    Raises:
        UserError: it is not there; the line says how to get it.
    """
    kinds = Path(source).parts if source is not None else ()
    for kind in kinds:
        if kind not in NLTK_DATA:
            continue
        import nltk

        try:
            nltk.data.find(NLTK_DATA[kind])
        except LookupError:
            name = NLTK_DATA[kind].rpartition("/")[2]
            raise UserError(
                f"suite.tasks.{benchmark}: the task {task} needs nltk's data {name}, which is not there: python -m "
                f"nltk.downloader {name}; without a network, put the folder {NLTK_DATA[kind]} below one that NLTK_DATA "
                "names"
            ) from None
