"""However a process was started, it ends as it should, and its streams can be written to."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
WORK = """
import subprocess, sys
from plw.runtime.ending import told_in_a_line
from plw.errors import UserError
with told_in_a_line():
    held = open(__file__)
    print("out", file=sys.stdout, flush=True)
    print("said", file=sys.stderr, flush=True)
    child = "import sys; sys.stdin.read(); print(1); print(2, file=sys.stderr)"
    subprocess.run([sys.executable, "-c", child], check=True)
    raise UserError("seed=-1") if held.fileno() > 2 else ZeroDivisionError
"""


def started(program: Path, closed: str, **environment: str) -> "subprocess.CompletedProcess[bytes]":
    command = ["sh", "-c", f'exec "$@" {closed}', "sh", sys.executable, str(program)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run(command, capture_output=True, env=environment, check=False)


SAID, ERRORS = b"out\n1\n", b"said\n2\nplw: seed=-1\n"


@pytest.mark.parametrize(
    ("closed", "said", "errors"),
    [
        ("", SAID, ERRORS),
        ("<&-", SAID, ERRORS),
        (">&-", b"", ERRORS),
        ("2>&-", SAID, b""),
        ("<&- >&- 2>&-", b"", b""),
    ],
)
def test_closed_streams_change_nothing(closed: str, said: bytes, errors: bytes, tmp_path: Path) -> None:
    program = tmp_path / "work.py"
    program.write_text(WORK)
    done = started(program, closed)
    assert (done.returncode, done.stdout, done.stderr) == (2, said, errors)


def test_a_letter_that_the_log_has_no_code_for_is_told_by_its_name_or_number(tmp_path: Path) -> None:
    program = tmp_path / "work.py"
    letters = r"\u03bb \xe4 \u4e2d"
    lines = ("from plw.runtime.ending import told_in_a_line", "with told_in_a_line():", f'    print("{letters}")')
    program.write_text("\n".join(lines))
    done = started(program, "", PYTHONIOENCODING="latin-1")
    assert (done.returncode, done.stdout) == (0, b"lambda \xe4 \\u4e2d\n")


def test_a_working_folder_that_is_gone_is_one_line(tmp_path: Path) -> None:
    command = ["sh", "-c", 'mkdir gone; cd gone; rmdir ../gone; exec "$@"', "sh", sys.executable, "-m", "plw", "status"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, cwd=tmp_path, env=environment, check=False, text=True)
    assert done.returncode == 2
    assert done.stderr == "plw: the working folder has been removed; change to one that is there (cd)\n"


READERS = {
    "a line that is flushed": 'print("said", flush=True)',
    "lines in the buffer at the end": 'print("said")',
    "lines before an exit code": 'print("said"); sys.exit(3)',
    "a table": "Console().print(Table('said'))",
    "a thread, while the main one waits": "threading.Thread(target=print, args=['s' * 10**6]).start(); time.sleep(60)",
}


@pytest.mark.parametrize("work", READERS.values(), ids=READERS)
def test_output_that_nobody_reads_ends_as_by_sigpipe(work: str, tmp_path: Path) -> None:
    libraries = "from rich.console import Console; from rich.table import Table\n" if "Table" in work else ""
    ours = "from plw.runtime.ending import told_in_a_line; from plw.runtime.interrupt import interruptible\n"
    program = tmp_path / "work.py"
    within = f"with told_in_a_line(), interruptible():\n    {work}\n"
    program.write_text(f"import sys, threading, time\n{libraries}{ours}{within}")
    reading, writing = os.pipe()
    os.close(reading)
    command, environment = [sys.executable, str(program)], {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, env=environment, check=False, timeout=50)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")


LEFT = """
import sys
from plw.runtime.ending import told_in_a_line
with told_in_a_line():
    print("said", file=sys.stderr, flush=True)
    print("said", flush=True)
    open(sys.argv[1], "w").write("done")
"""


@pytest.mark.parametrize("what", ["errors that nobody reads", "a terminal that is gone"])
def test_work_goes_on_without(what: str, tmp_path: Path) -> None:
    program, result = tmp_path / "work.py", tmp_path / "result"
    program.write_text(LEFT)
    reading, writing = os.pipe() if what.startswith("errors") else os.openpty()
    os.close(reading)
    streams = {"stderr": writing, "stdout": subprocess.DEVNULL if what.startswith("errors") else writing}
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, str(program), str(result)], **streams, env=environment, check=False)
    os.close(writing)
    assert (done.returncode, result.read_text()) == (0, "done")
