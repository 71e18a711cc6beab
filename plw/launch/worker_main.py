"""What a worker process under torchrun does around its work: be known, end with its owner, say what failed."""

import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from plw.errors import StageError, UserError
from plw.files.writing import write_json_atomic
from plw.launch.job_folder import ENDED, RESULT, LaunchOwner, read_owner
from plw.runtime.interrupt import Interrupted, handle_as_worker
from plw.runtime.logs import configure_logging
from plw.runtime.machine import process_space
from plw.runtime.memory import collect_rarely

WATCH_S = 0.2


def worker_main(folder: Path, work: Callable[[], Any]) -> int:
    """Do the work with the others of a launch; rank 0 leaves what ``work`` returns as the launch's result.

    What is raised goes to the error file that torchrun gave this process.

    Returns:
        Exit code: 0, or 1 for a launch that has ended already. A failure or a signal ends the process without
        returning.
    """
    collect_rarely()
    from torch.distributed.elastic.multiprocessing.errors import record

    configure_logging()
    handle_as_worker()
    rank, owner = int(os.environ["RANK"]), read_owner(folder)
    about = {"pid": os.getpid(), "host": process_space(), "owner": owner.pid}
    write_json_atomic(folder / f"worker-{rank}.json", about)
    # Whoever ends this launch marks it first and then kills those that it finds written down.
    if (folder / ENDED).exists():
        return 1
    threading.Thread(target=exit_with_parent, args=(os.getppid(), owner), daemon=True).start()
    try:
        result = record(work)()
    except Interrupted as stop:
        os._exit(stop.exit_code)
    except BaseException as error:
        if not isinstance(error, UserError | StageError):
            traceback.print_exc()
        # The others may wait for this process in a collective for ever: end without waiting for them.
        sys.stderr.flush()
        os._exit(1)
    if rank == 0:
        write_json_atomic(folder / RESULT, result)
    return 0


def exit_with_parent(torchrun: int, owner: LaunchOwner) -> None:
    """End at once when torchrun or the claim's holder has ended: work without a claim must not go on."""
    import psutil

    while os.getppid() == torchrun and (not owner.here or psutil.pid_exists(owner.pid)):
        time.sleep(WATCH_S)
    os._exit(1)
