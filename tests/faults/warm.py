"""A process that has imported all that a study needs, and forks itself for each command: no command pays for imports.

One JSON object a line comes in, ``{"words": [...], "log": file}``; ``started PID`` and ``ended PID CODE`` go out, where
the code of a command that a signal ended is the signal's number below 0. It ends, with its commands, when its input
does. A forked command is a process and a process group of its own, and runs ``plw`` as the installed program does.
"""

import importlib
import json
import os
import select
import signal
import sys
from contextlib import suppress
from pathlib import Path

IMPORTS = (
    "torch", "transformers", "datasets", "lm_eval.models.huggingface", "lm_eval.evaluator", "alpaca_eval",
    "pyarrow.parquet", "sacrebleu", "psycopg", "hydra", "plw.cli", "hydra_plugins.plw_launchers", "plw.sweep.grid",
    "plw.train.trainer",
    "plw.evaluate.lm_eval.harness", "plw.evaluate.judging.judge", "plw.evaluate.models.hf", "plw.world.builder",
)  # fmt: skip
POLL_S = 0.05


def main() -> None:
    """Serve until the input ends."""
    for name in IMPORTS:
        with suppress(ModuleNotFoundError):
            importlib.import_module(name)
    running: set[int] = set()
    print("ready", flush=True)
    while True:
        if select.select([0], [], [], POLL_S)[0]:
            line = sys.stdin.readline()
            if not line:
                break
            running.add(_fork(**json.loads(line)))
        running -= _collect(running)
    for pid in running:
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)


def _fork(words: list[str], log: str) -> int:
    pid = os.fork()
    if pid == 0:
        _become(words, log)
    print(f"started {pid}", flush=True)
    return pid


def _become(words: list[str], log: str) -> None:
    """Be the command: a group of one's own, no input, all output in the log."""
    from plw.__main__ import start

    os.setpgid(0, 0)
    with Path(os.devnull).open() as nothing, Path(log).open("ab") as file:
        os.dup2(nothing.fileno(), 0)
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.argv = ["plw", *words]
    code: object = 0
    try:
        start()
    except SystemExit as ended:
        code = ended.code
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 0 if code is None else 1)


def _collect(running: set[int]) -> set[int]:
    ended = set()
    for pid in running:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            print(f"ended {pid} {os.waitstatus_to_exitcode(status)}", flush=True)
            ended.add(pid)
    return ended


if __name__ == "__main__":
    main()
