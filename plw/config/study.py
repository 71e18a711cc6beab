"""Schemas of the study around a cell: its axes, its scale, where results go and how the work is carried out."""

import re
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from plw.config.checks import above_zero, at_least, each_text, given, in_range, one_of
from plw.config.training import RecipeConfig
from plw.errors import UserError
from plw.runtime.machine import available_cores

AUTO = "auto"
PADDED, PACKED, PREFIX = "padded", "packed", "prefix"
"""Layouts: rows of like length; one row without padding; one row in which a common prefix stands once."""
MAX_THREADS = 512
"""Of one process: torch's threads end in a segmentation fault where the machine cannot start so many."""
SLURM = "slurm"
"""As a rendezvous: the first node of the Slurm job."""
MAX_PORT = 65535
PREFERENCE = "preference"
STAGES = ("train", PREFERENCE, "diagnose", "harness", "generate", "judge")


@dataclass(frozen=True, kw_only=True)
class StudyConfig:
    """A grid and the question it answers."""

    name: str
    """Short name; the first half of the runs folder's name and a column of the registry."""
    weights: dict[str, str] = field(default_factory=dict)
    """Name of a list of prompt weights -> the weights, comma-separated; an axis `weights` names one."""
    axes: dict[str, dict[str, str]] = field(default_factory=dict)
    """Scale -> axis -> the comma-separated choices that the sweep runs over."""
    by_dataset: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Field of the recipe -> dataset -> its value, for a recipe that looks it up (`recipe=wit`)."""
    by_model: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Field of the recipe -> model -> its value, likewise."""

    def __post_init__(self) -> None:
        given("study.name", self.name)
        each_text("study.weights", self.weights)
        for scale, axes in self.axes.items():
            each_text(f"study.axes.{scale}", axes)
        allowed = [item.name for item in fields(RecipeConfig)]
        for table in ("by_dataset", "by_model"):
            # No recipe would look up a field of another name, so its values would do nothing.
            for name in getattr(self, table):
                if name not in allowed:
                    raise UserError(f"study.{table}.{name} is no field of the recipe; allowed: {', '.join(allowed)}")


@dataclass(frozen=True, kw_only=True)
class ScaleConfig:
    """What stands on the study's axes: the embedded world, small hub models, or the paper's."""

    name: str
    """Short name; the second half of the runs folder's name and a column of the registry."""

    def __post_init__(self) -> None:
        given("scale.name", self.name)


@dataclass(frozen=True, kw_only=True)
class RegistryConfig:
    """The SQL database of cells, stages, scores and curves."""

    url: str = "sqlite:///runs/registry.sqlite"
    """SQLAlchemy URL; SQLite for one machine."""
    wait_s: float = 300.0
    """Seconds that a running study waits for a database that is away or locked, before the command ends."""

    def __post_init__(self) -> None:
        given("registry.url", self.url)
        at_least("registry.wait_s", self.wait_s, 0)


@dataclass(frozen=True, kw_only=True)
class TrackerConfig:
    """A tracker that shows runs while they go on."""

    name: str = "none"
    """`wandb` or `none`."""
    project: str = "plw"
    """wandb project."""
    mode: str = "auto"
    """`online`, `offline`, or `auto`: online when WANDB_API_KEY is set, offline otherwise. WANDB_MODE comes first."""

    def __post_init__(self) -> None:
        one_of("tracker.name", self.name, ("wandb", "none"))
        one_of("tracker.mode", self.mode, ("auto", "online", "offline"))


@dataclass(kw_only=True)
class DatasetSize:
    """How much there is of a dataset, as published. Not frozen, so that a command line may change one."""

    examples: int
    """Records."""
    tokens: int
    """Tokens of all their fields, the template's not counted."""

    def check(self, place: str) -> None:
        """That there is something.

        Raises:
            UserError: there is not; the line names the field, which stands at ``place``.
        """
        at_least(f"{place}.examples", self.examples, 1)
        at_least(f"{place}.tokens", self.tokens, 1)


@dataclass(frozen=True, kw_only=True)
class CostConfig:
    """What the costs of `plw plan` rest on; it changes nothing that is run."""

    device: str = "auto"
    """Whose hours: `gpu` (the one named below), `cpu` (this machine's cores, by a measurement of a few seconds that the
    cache folder keeps), `auto`: `gpu` where cells run on one here."""
    gpu: str = "A100 80 GB"
    """Name of the GPU, for the printed line."""
    tflops: float = 312.0
    """Its peak in TFLOP/s of dense bf16 products."""
    training_mfu: float = 0.4
    """Share of the peak that training reaches."""
    prefill_mfu: float = 0.3
    """Share that scoring given text reaches."""
    decode_mfu: float = 0.02
    """Share that writing token by token reaches, which waits for memory; 0.02 is about 460 tokens a second of a 7B
    model on the default GPU, several rows at a time."""
    price: float = 2.0
    """US dollars for a GPU hour."""
    datasets: dict[str, DatasetSize] = field(default_factory=dict)
    """Dataset name -> its size, for data that is not on this machine."""

    def __post_init__(self) -> None:
        one_of("execution.cost.device", self.device, ("auto", "gpu", "cpu"))
        for name in ("tflops", "training_mfu", "prefill_mfu", "decode_mfu", "price"):
            above_zero(f"execution.cost.{name}", getattr(self, name))
        for name, size in self.datasets.items():
            size.check(f"execution.cost.datasets.{name}")


@dataclass(frozen=True, kw_only=True)
class ExecutionConfig:
    """Where and how fast: nothing here changes a result."""

    runs: str = "runs"
    """Folder of the results."""
    cache: str = "runs/cache"
    """Folder of what is made or fetched once and shared by cells: the embedded world, data from elsewhere. By default
    in the folder of the results, wherever that is."""
    device: str = "auto"
    """`auto` (CUDA where there is one), `cpu` or `cuda`."""
    workers: int | None = None
    """Cells under way at once on this machine; null: one a GPU, or without GPUs one a core (at most 8, and no more than
    `cell_memory_gib` lets)."""
    cell_memory_gib: float | None = None
    """Memory that a cell takes on a CPU, in GiB: with `workers` null no more run at once than fit into what is free at
    the start. Null: nobody knows."""
    threads: int | str = AUTO
    """CPU threads of a process that works on a cell; `auto`: the cores shared out among the cells at once. Another
    number sums in another order, so last digits differ; a study that pins them names a number."""
    token_budget: int = 2048
    """Tokens, padding included, of one micro-batch of training in one process."""
    layout: str = AUTO
    """`padded` (rows of like length), `packed` (one row, no padding), `prefix` (packed, and a prefix that examples have
    in common is computed once), `auto` (prefix where the model allows it; padded with dropout, in fp32 on a GPU and
    where examples are very short)."""
    gradient_checkpointing: bool = False
    """Keep a layer's input alone and compute the layer again in the backward pass: less memory, more time."""
    compile: bool = False
    """Compile the decoder's layers with torch.compile; needs a C++ compiler."""
    evaluate_every: int | None = None
    """Steps between losses on held-out records (`dataset.held_out`), also taken at the last step; null: never."""
    processes: int = 1
    """Processes that train one cell together on this machine and share out its harness, its answers and what its
    diagnostics ask the model, each on its own GPU or CPU threads."""
    sharding: str = "fsdp"
    """How several processes hold the model: `fsdp` (a part each) or `ddp` (a copy each)."""
    nodes: int = 1
    """Machines that train one cell together, each with `processes`; docs/engine.md says how the others join."""
    rendezvous: str | None = None
    """`host:port` where the machines meet, or `slurm` (the first node of the job); needed with `nodes` above 1."""
    checkpoint_seconds: float = 300.0
    """Seconds between training checkpoints."""
    keep_checkpoints: int = 2
    """Checkpoints kept while training; none stay once the stage is done."""
    max_attempts: int = 2
    """Times a stage is tried before it counts as failed."""
    budget_hours: float | None = None
    """Hours after which a grid takes no new cell; what is under way is finished. Null: no end."""
    publish: str | None = None
    """Address (s3://BUCKET/FOLDER, gs://, sftp://, file://, any other of fsspec's) to which the records, items and
    reports of finished work are copied; credentials come from the environment. Null: nowhere."""
    verify: str = "auto"
    """When what an earlier stage left is compared with the SHA-256 in its record: `auto` (once a process; a file of
    64 MiB or more only where its size or time of change is another) or `always` (each time, in full)."""
    heartbeat_s: float = 5.0
    """Seconds between the heartbeats of a claim."""
    lease_timeout_s: float = 60.0
    """Seconds of silence after which a claim may be taken over."""
    cost: CostConfig = field(default_factory=CostConfig)

    @property
    def runs_folder(self) -> Path:
        """The folder of the results, absolute."""
        return Path(self.runs).absolute()

    @property
    def cache_folder(self) -> Path:
        """The folder of what is made or fetched once, absolute."""
        return Path(self.cache).absolute()

    @property
    def group_size(self) -> int:
        """Processes that train one cell, on all machines together."""
        return self.processes * self.nodes

    @property
    def thread_count(self) -> int:
        """CPU threads of one process of a cell; with `auto`, those of a cell that has the machine to itself."""
        return self.threads if isinstance(self.threads, int) else max(1, available_cores() // self.processes)

    def __post_init__(self) -> None:
        for name, folder in (("runs", self.runs), ("cache", self.cache)):
            given(f"execution.{name}", folder)
            if folder.startswith("~"):
                raise UserError(f"execution.{name}={folder}: ~ means nothing here; write the whole path")
        if isinstance(self.threads, str) and self.threads != AUTO:
            raise UserError(f"execution.threads={self.threads} is not known; allowed: {AUTO} or a number of threads")
        one_of("execution.device", self.device, ("auto", "cpu", "cuda"))
        one_of("execution.layout", self.layout, (AUTO, PADDED, PACKED, PREFIX))
        if self.publish is not None:
            given("execution.publish", self.publish)
        one_of("execution.verify", self.verify, ("auto", "always"))
        one_of("execution.sharding", self.sharding, ("ddp", "fsdp"))
        if self.nodes > 1 and not self.rendezvous:
            raise UserError(
                f"execution.nodes={self.nodes} needs execution.rendezvous=HOST:PORT, where the machines meet, or =slurm"
            )
        self._check_rendezvous()
        for name in (
            "workers",
            "token_budget",
            "keep_checkpoints",
            "max_attempts",
            "evaluate_every",
            "processes",
            "nodes",
        ):
            at_least(f"execution.{name}", getattr(self, name), 1)
        if isinstance(self.threads, int):
            in_range("execution.threads", self.threads, 1, MAX_THREADS)
        for name in ("checkpoint_seconds", "heartbeat_s", "lease_timeout_s", "budget_hours", "cell_memory_gib"):
            above_zero(f"execution.{name}", getattr(self, name))
        if self.lease_timeout_s < 3 * self.heartbeat_s:
            raise UserError(
                f"execution.lease_timeout_s={self.lease_timeout_s:g} is too small; allowed: three times "
                f"execution.heartbeat_s={self.heartbeat_s:g} or more, so that a late heartbeat loses no claim"
            )

    def _check_rendezvous(self) -> None:
        """The first node would wait for minutes at an address where nobody can come."""
        if self.rendezvous in (None, "", SLURM):
            return
        found = re.fullmatch(r"\S+:(\d{1,5})", str(self.rendezvous))
        if found is None or not 1 <= int(found[1]) <= MAX_PORT:
            raise UserError(
                f"execution.rendezvous={self.rendezvous} is no meeting place; allowed: HOST:PORT with a port from 1 to "
                f"{MAX_PORT}, or {SLURM}"
            )
