"""What a worker process under torchrun does around its work: be known, end with its owner, say what failed."""

import json
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from plw.errors import StageError, UserError
from plw.logs import configure_logging


def serve(folder: Path, work: Callable[[], None]) -> int:
    """Do the work with the others of a launch; 0, or 1 with the reason in a file beside the job."""
    from plw.train.jobfile import ENDED, read_owner

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    configure_logging()
    rank, owner = int(os.environ["RANK"]), read_owner(folder)
    tell(folder / f"worker-{rank}.json", {"pid": os.getpid(), "host": socket.gethostname(), "owner": owner.pid})
    # Whoever ends this launch marks it first and then kills those that it finds written down.
    if (folder / ENDED).exists():
        return 1
    threading.Thread(target=_end_with, args=(os.getppid(), owner.pid if owner.here else None), daemon=True).start()
    try:
        work()
    except Exception as error:
        known = isinstance(error, UserError | StageError)
        tell(folder / f"error-{rank}.json", {"kind": type(error).__name__, "message": " ".join(str(error).split())})
        if not known:
            traceback.print_exc()
        # The others may wait for this process in a collective for ever: end without waiting for them.
        sys.stderr.flush()
        os._exit(1)
    return 0


def tell(path: Path, value: Any) -> None:
    """Write JSON for the process that watches: whole or absent."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(json.dumps(value), encoding="utf-8")
    temporary.replace(path)


def _end_with(torchrun: int, owner: int | None) -> None:
    """End at once when torchrun or the claim's holder has ended: work without a claim must not go on."""
    while os.getppid() == torchrun and (owner is None or Path(f"/proc/{owner}").exists()):
        time.sleep(0.2)
    os._exit(1)
