"""A real Slurm of several virtual nodes on this machine, for one test run: its own folder, its own munge."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

PROGRAMS = ("slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "scancel", "munged")
NODES = 3
READY_S = 60.0

CONFIG = """
ClusterName=test
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={controller}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
SwitchType=switch/none
ReturnToService=2
SlurmdTimeout=10
KillWait=5
MinJobAge=300
SchedulerParameters=sched_interval=2,bf_interval=2
NodeName=node[1-{nodes}] NodeHostname=localhost NodeAddr=127.0.0.1 Port=[{first}-{last}] CPUs=2 RealMemory=4000
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


@dataclass
class Cluster:
    """Running daemons; its environment lets Slurm's commands find them."""

    folder: Path
    processes: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "SLURM_CONF": str(self.folder / "slurm.conf")}

    def command(self, *words: str) -> str:
        """Run one of Slurm's commands."""
        done = subprocess.run(words, env=self.environment, capture_output=True, text=True, check=True, timeout=60)
        return done.stdout.strip()

    def start(self, *words: str) -> "subprocess.Popen[bytes]":
        with (self.folder / "daemons.log").open("ab") as log:
            started = subprocess.Popen(words, env=self.environment, stdout=log, stderr=log, start_new_session=True)
        self.processes.append(started)
        return started

    def start_node(self, name: str) -> None:
        self.start("slurmd", "-D", "-N", name)

    def kill_node(self, name: str) -> None:
        """A node that loses its power: its daemon and all that it runs."""
        (daemon,) = [process for process in self.processes if process.args[-1] == name and process.poll() is None]
        jobs = self.command("squeue", "-h", "-w", name, "-o", "%A").split()
        # The daemon first: it would report the others' end, and the job would count as failed.
        daemon.kill()
        daemon.wait()
        for pid in [*_with_argument("slurmstepd: ["), *(pid for job in jobs for pid in _of_job(job))]:
            if any(f"slurmstepd: [{job}." in _command(pid) for job in jobs) or "slurmstepd" not in _command(pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def wait_idle(self) -> None:
        deadline = time.monotonic() + READY_S
        while True:
            with suppress(subprocess.CalledProcessError):
                states = self.command("sinfo", "-h", "-N", "-o", "%t").split()
                if states and all(state == "idle" for state in states):
                    return
            assert time.monotonic() < deadline, (self.folder / "daemons.log").read_text()
            time.sleep(0.2)

    def stop(self) -> None:
        for process in reversed(self.processes):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _of_job(job: str) -> list[int]:
    """Processes whose environment names the job."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if f"SLURM_JOB_ID={job}\0".encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
    return found


def _command(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    return ""


def _with_argument(part: str) -> list[int]:
    pids = [int(folder.name) for folder in Path("/proc").glob("[0-9]*")]
    return [pid for pid in pids if part in _command(pid)]


def _free_ports(count: int) -> list[int]:
    """Ports in a row, as Slurm's node lines want them."""
    for first in range(21000, 29000, 50):
        sockets = []
        try:
            for port in range(first, first + count):
                opened = socket.socket()
                sockets.append(opened)
                opened.bind(("127.0.0.1", port))
            return list(range(first, first + count))
        except OSError:
            continue
        finally:
            for opened in sockets:
                opened.close()
    raise RuntimeError("no free ports")


@contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """Bring a cluster up, and take it down; the test skips where Slurm is not installed or cannot be started."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed: apt-get install slurmctld slurmd slurm-client munge")
    if os.geteuid() != 0:
        pytest.skip("virtual nodes of Slurm need root")
    folder.chmod(0o755)
    controller, *nodes = _free_ports(NODES + 1)
    (folder / "state").mkdir()
    for number in range(1, NODES + 1):
        (folder / f"spool.node{number}").mkdir()
    config = CONFIG.format(folder=folder, controller=controller, nodes=NODES, first=nodes[0], last=nodes[-1])
    (folder / "slurm.conf").write_text(config)
    key = folder / "munge.key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    made = Cluster(folder)
    try:
        made.start(
            *("munged", "--foreground", "--force", f"--socket={folder}/munge.socket", f"--key-file={key}"),
            *(f"--log-file={folder}/munged.log", f"--pid-file={folder}/munged.pid"),
            f"--seed-file={folder}/munged.seed",
        )
        deadline = time.monotonic() + READY_S
        while not (folder / "munge.socket").exists():
            assert time.monotonic() < deadline, (folder / "daemons.log").read_text()
            time.sleep(0.05)
        made.start("slurmctld", "-D", "-c")
        for number in range(1, NODES + 1):
            made.start_node(f"node{number}")
        made.wait_idle()
        yield made
    finally:
        made.stop()
