"""One of the processes that torchrun starts for a cell: ``python -m plw.train.worker <launch folder>``."""

import dataclasses
import json
import os
import signal
import socket
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

from plw.errors import StageError, UserError


def main(folder: Path) -> int:
    """Carry the job out with the others; 0, or 1 with the reason in a file beside the job."""
    from plw.train.jobfile import ENDED, read_job, read_owner

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    rank, owner = int(os.environ["RANK"]), read_owner(folder)
    _write(folder / f"worker-{rank}.json", {"pid": os.getpid(), "host": socket.gethostname(), "owner": owner.pid})
    # Whoever ends this launch marks it first and then kills those that it finds written down.
    if (folder / ENDED).exists():
        return 1
    threading.Thread(target=_end_with, args=(os.getppid(), owner.pid if owner.here else None), daemon=True).start()
    try:
        job = read_job(folder)
        from plw.train.distribute import joined, own_device
        from plw.train.loop import carry_out, device_of

        device = own_device(device_of(job.device).type)
        with joined(device) as group:

            def on_step(row: dict[str, Any]) -> None:
                if group.first and not (folder / "begins.json").exists():
                    _write(folder / "begins.json", [row["step"] - 1, row["steps"]])

            summary = carry_out(job, device, group, on_step=on_step, keep_going=lambda: None)
            if group.first:
                _write(folder / "summary.json", dataclasses.asdict(summary))
    except Exception as error:
        known = isinstance(error, UserError | StageError)
        _write(folder / f"error-{rank}.json", {"kind": type(error).__name__, "message": " ".join(str(error).split())})
        if not known:
            traceback.print_exc()
        # The others may wait for this process in a collective for ever: end without waiting for them.
        sys.stderr.flush()
        os._exit(1)
    return 0


def _end_with(torchrun: int, owner: int | None) -> None:
    """End at once when torchrun or the claim's holder has ended: work without a claim must not go on."""
    while os.getppid() == torchrun and (owner is None or Path(f"/proc/{owner}").exists()):
        time.sleep(0.2)
    os._exit(1)


def _write(path: Path, value: Any) -> None:
    """Whole or absent."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(json.dumps(value), encoding="utf-8")
    temporary.replace(path)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
