"""What the frozen model says of every answer, kept beside the checkpoints: a killed run reads the pairs once."""

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from plw.errors import UserError
from plw.files.sealed import read_sealed_json, write_sealed_json
from plw.launch.group import Group

REFERENCE_FILE = "reference.json"

logger = logging.getLogger(__name__)


def kept_log_probs(
    folder: Path, run: str, read: Callable[[], NDArray[np.float64]], group: Group, check_lease: Callable[[], None]
) -> NDArray[np.float64]:
    """Log-probability of each example's answer by the frozen model, read once a run; every process calls it.

    Args:
        folder: the checkpoints', which goes when the run is done.
        run: fingerprint of what decides the result of the run; a file of another is not taken.
        read: asks the model.
        group: the processes that share the run; the first reads and writes the file.
        check_lease: raises where the claim is lost, and then nothing is written.
    """
    path = folder / REFERENCE_FILE
    kept = group.broadcast_object(_kept(path, run) if group.is_rank0 else None)
    if kept is not None:
        return np.array(kept)
    log_p_E = read()
    if group.is_rank0:
        check_lease()
        write_sealed_json(path, {"run": run, "log_p": log_p_E.tolist()})
    return log_p_E


def _kept(path: Path, run: str) -> list[float] | None:
    if not path.exists():
        return None
    try:
        found = read_sealed_json(path)
    except UserError as error:
        logger.warning("%s; the frozen model is asked again", error)
        return None
    return found["log_p"] if isinstance(found, dict) and found.get("run") == run else None
