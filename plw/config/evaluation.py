"""Schemas of what a trained model is scored on: the suite's tasks, generations and diagnostics."""

from dataclasses import dataclass, field

from plw.config.checks import MAX_SEED, at_least, each_text, given, in_range, names, one_of
from plw.config.fields import EXECUTION, LATER
from plw.config.local_files import take_local_files
from plw.errors import UserError
from plw.results.score import UNBOUNDED_METRICS

ALPACA_EVAL, PANDALM = "alpaca_eval", "pandalm"
"""Protocols by which a judge compares two answers."""
MT_BENCH = "mt_bench"
"""Protocol of dialogues whose turns a judge grades one by one."""
PROTOCOLS = (ALPACA_EVAL, PANDALM, MT_BENCH)
"""How a judge may be asked."""
REFERENCE = "reference"
"""Protocol of prompts whose answers no judge sees: they are compared with the references by chrF."""
GROUPS = ("multiple_choice", "short_generation", "translation", "long_generation")


@dataclass(kw_only=True)
class TaskConfig:
    """One benchmark scored by lm-evaluation-harness.

    Not frozen: OmegaConf makes elements of a frozen type read-only, and a command line may change one
    (`suite.tasks.piqa.files.validation=my.jsonl`).
    """

    task: str
    """Task name: lm-eval's own, or one of conf/task or of `suite.task_folder`."""
    group: str
    """`multiple_choice`, `short_generation`, `translation` or `long_generation`: how the analysis groups it."""
    shots: int = 0
    """Examples in the context."""
    metric: str | None = "acc"
    """The headline metric, which the analysis reads; every other metric the task reports is kept too. Null: kept all,
    none analysed."""
    files: dict[str, str] = field(default_factory=dict)
    """Split -> local JSON or JSONL file that replaces the task's hub dataset (`world:` paths allowed)."""
    local: dict[str, str] = field(default_factory=dict, metadata=EXECUTION)
    """Split -> name of that file in the folder `suite.data`."""
    limit: int | None = field(default=None, metadata=LATER)
    """Score the first so many documents of each of the task's parts; null: as `suite.limit`."""
    max_new_tokens: int | None = field(default=None, metadata=LATER)
    """Tokens after which a generated answer is cut; null: the task's own."""
    cluster: str | None = field(default=None, metadata=EXECUTION)
    """Field of the documents that several of them share (a passage), for the comparison of items; null: one of the
    usual names where a task has it."""
    documents: int | None = field(default=None, metadata=EXECUTION)
    """Documents of the hub's dataset, for `plw plan`'s costs; null: unknown."""
    prompt_tokens: int | None = field(default=None, metadata=EXECUTION)
    """Tokens that one document has the model read, all choices and shots together; likewise."""
    generated_tokens: int = field(default=0, metadata=EXECUTION)
    """Tokens that it writes for one document; likewise."""

    def check(self, place: str) -> None:
        """That the values are in range.

        Raises:
            UserError: one is not; the line names the field, which stands at ``place``.
        """
        one_of(f"{place}.group", self.group, GROUPS)
        if self.metric is not None and self.metric.split(",")[0] in UNBOUNDED_METRICS:
            raise UserError(
                f"{place}.metric={self.metric} has no highest value, and a headline score is a share or a percentage; "
                f"{place}.metric=null keeps all of the task's metrics in the registry, and analyses none"
            )
        for name in ("files", "local"):
            each_text(f"{place}.{name}", getattr(self, name))
        for name in ("shots", "documents", "prompt_tokens", "generated_tokens"):
            at_least(f"{place}.{name}", getattr(self, name), 0)
        for name in ("limit", "max_new_tokens"):
            at_least(f"{place}.{name}", getattr(self, name), 1)


@dataclass(kw_only=True)
class PromptSetConfig:
    """Prompts that the model answers at length, to be compared with references. Not frozen, as above."""

    protocol: str
    """`alpaca_eval` (the library, against the reference outputs), `pandalm` (both orders, conflict rule), `mt_bench`
    (dialogues of two turns, graded from 1 to 10), or `reference` (no judge: chrF of answers and references)."""
    prompts: str
    """JSON list of {instruction, input?, system?, output}; `output` is the reference answer (`world:` paths allowed).
    With protocol `mt_bench`: rows {question_id, category, turns}, FastChat's `question.jsonl`."""
    local: str | None = field(default=None, metadata=EXECUTION)
    """Name of that file in the folder `suite.data`."""
    judge_prompts: str | None = field(default=None, metadata=LATER)
    """Protocol `mt_bench`: what the judge is asked with, FastChat's `judge_prompts.jsonl`."""
    references: str | None = field(default=None, metadata=LATER)
    """Protocol `mt_bench`: reference answers, FastChat's `reference_answer/gpt-4.jsonl`; questions of math, reasoning
    and coding need one."""
    limit: int | None = None
    """Use the first so many prompts; all when null."""
    source: str | None = field(default=None, metadata=EXECUTION)
    """Where the file is to be had while it is not at `prompts`; a study can be planned without it then."""
    judge_prompts_source: str | None = field(default=None, metadata=EXECUTION)
    """Likewise for `judge_prompts`."""
    references_source: str | None = field(default=None, metadata=EXECUTION)
    """Likewise for `references`."""
    documents: int | None = field(default=None, metadata=EXECUTION)
    """Prompts in the file, for `plw plan`'s costs; null: counted where the file is there."""

    @property
    def turns(self) -> int:
        """Answers to one prompt."""
        return 2 if self.protocol == MT_BENCH else 1

    def check(self, place: str) -> None:
        """As :meth:`TaskConfig.check`."""
        one_of(f"{place}.protocol", self.protocol, (*PROTOCOLS, REFERENCE))
        at_least(f"{place}.limit", self.limit, 1)
        if (self.protocol == MT_BENCH) != (self.judge_prompts is not None):
            raise UserError(
                f"{place}.judge_prompts={self.judge_prompts} does not go with protocol {self.protocol}; protocol "
                f"{MT_BENCH} needs a file of judge prompts and no other takes one"
            )


@dataclass(frozen=True, kw_only=True)
class DecodingConfig:
    """How long answers are generated."""

    max_new_tokens: int = 256
    """Tokens after which an answer is cut."""
    temperature: float = 0.0
    """0 is greedy."""
    top_p: float = 1.0
    """Nucleus sampling; 1 is off."""
    seed: int = 0
    """Seed of the sampling; without effect when greedy."""

    def __post_init__(self) -> None:
        at_least("suite.decoding.max_new_tokens", self.max_new_tokens, 1)
        at_least("suite.decoding.temperature", self.temperature, 0)
        in_range("suite.decoding.top_p", self.top_p, 0, 1)
        in_range("suite.decoding.seed", self.seed, 0, MAX_SEED)


@dataclass(frozen=True, kw_only=True)
class DiagnosticsConfig:
    """The measurements of the PLW paper's section 5.3."""

    memorisation_samples: int = 10_000
    """Training prompts whose completion is generated and compared by corpus BLEU with the one trained on."""
    memorisation_max_new_tokens: int = 256
    """Tokens after which such a completion is cut."""
    loss_window: int = 5
    """Steps in a window of the relative standard deviation of the training loss."""

    def __post_init__(self) -> None:
        at_least("suite.diagnostics.memorisation_samples", self.memorisation_samples, 1)
        at_least("suite.diagnostics.memorisation_max_new_tokens", self.memorisation_max_new_tokens, 1)
        at_least("suite.diagnostics.loss_window", self.loss_window, 2)


@dataclass(kw_only=True)
class SensitivityConfig:
    """How steady a model is under other wordings of a prompt (POSIX, arXiv 2410.02185). Not frozen, as above."""

    prompts: str
    """JSON list of {instruction, input?}, whose wordings are made by rules, or of {variants: [TEXT, TEXT, ...]}
    (`world:` paths allowed)."""
    limit: int | None = None
    """Use the first so many prompts; all when null."""
    spelling: int = 2
    """Wordings of a prompt with a slip of spelling; with the prompt itself and those below they make its set."""
    rewording: int = 1
    """Wordings with other words around the prompt."""
    format: int = 1
    """Wordings in another format: a heading, capitals, quotes."""
    max_new_tokens: int = 32
    """Tokens after which a response is cut."""
    bootstrap_iterations: int = 1000
    """Draws for the interval over prompts."""
    source: str | None = field(default=None, metadata=EXECUTION)
    """Where the file is to be had while it is not at `prompts`."""
    documents: int | None = field(default=None, metadata=EXECUTION)
    """Prompts in the file, for `plw plan`'s costs; null: counted where the file is there."""

    @property
    def counts(self) -> dict[str, int]:
        """Kind of wording -> how many."""
        return {"spelling": self.spelling, "rewording": self.rewording, "format": self.format}

    def __post_init__(self) -> None:
        given("suite.sensitivity.prompts", self.prompts)
        at_least("suite.sensitivity.limit", self.limit, 1)
        for name, count in self.counts.items():
            in_range(f"suite.sensitivity.{name}", count, 0, 6)
        if not any(self.counts.values()):
            raise UserError("suite.sensitivity has no wordings; set spelling, rewording or format above 0")
        at_least("suite.sensitivity.max_new_tokens", self.max_new_tokens, 1)
        at_least("suite.sensitivity.bootstrap_iterations", self.bootstrap_iterations, 0)


@dataclass(frozen=True, kw_only=True)
class SuiteConfig:
    """What a trained model is scored on."""

    name: str
    """Short name; part of the stage folders' names and a column of the registry."""
    tasks: dict[str, TaskConfig] = field(default_factory=dict)
    """Benchmark name -> lm-eval task."""
    prompts: dict[str, PromptSetConfig] = field(default_factory=dict)
    """Benchmark name -> long-generation prompts."""
    decoding: DecodingConfig = field(default_factory=DecodingConfig)
    diagnostics: DiagnosticsConfig = field(default_factory=DiagnosticsConfig)
    sensitivity: SensitivityConfig | None = field(default=None, metadata=LATER)
    """What the stage `diagnose` measures POSIX on; null: nothing."""
    data: str | None = field(default=None, metadata=EXECUTION)
    """Folder with local files of the benchmarks: those that name one (`local`) read it there, at any depth below the
    folder, in place of the hub's data; null: each as it says itself."""
    task_folder: str | None = field(default=None, metadata=EXECUTION)
    """Folder of lm-eval task files of yours, at any depth: lm-eval's `--include_path`. They go before all others of the
    same name. What a task's files hold is identity, the path is not."""
    limit: int | None = None
    """Documents of each lm-eval task; all when null."""
    backend: str = field(default="hf", metadata=LATER)
    """What carries the model for benchmarks and answers: `hf` (transformers, in this process) or `vllm`. It is part of
    the identity, since the two differ in the last digits."""
    dtype: str = field(default="float32", metadata=LATER)
    """Number format of the model while it is scored: `float32`, `bfloat16` or `float16`."""
    builtin_tasks: bool = True
    """Let lm-eval scan its own thousands of tasks (seconds); off when conf/task holds every task of the suite."""
    bootstrap_iterations: int = 1000
    """Resamples for the standard error of metrics that have no formula (BLEU)."""
    bootstrap_seed: int = 1234
    """Seed of lm-eval's few-shot sampling and resampling."""
    batch_size: int = field(default=64, metadata=EXECUTION)
    """Sequences evaluated at a time."""
    samples: bool = field(default=False, metadata=EXECUTION)
    """Keep lm-eval's own `samples_<task>_<time>.jsonl` too (documents, prompts and answers), in the harness stage's
    folder `samples`."""

    def __post_init__(self) -> None:
        given("suite.name", self.name)
        for place, benchmarks in (("suite.tasks", self.tasks), ("suite.prompts", self.prompts)):
            for benchmark, item in benchmarks.items():
                names(f"a benchmark's name in {place}", benchmark)
                item.check(f"{place}.{benchmark}")
        one_of("suite.backend", self.backend, ("hf", "vllm"))
        one_of("suite.dtype", self.dtype, ("float32", "bfloat16", "float16"))
        at_least("suite.limit", self.limit, 1)
        if self.data is not None:
            take_local_files(self.data, self.tasks, self.prompts)
        at_least("suite.bootstrap_iterations", self.bootstrap_iterations, 0)
        in_range("suite.bootstrap_seed", self.bootstrap_seed, 0, MAX_SEED)
        at_least("suite.batch_size", self.batch_size, 1)

    def document_limit(self, benchmark: str) -> int | None:
        """How many documents of each of a benchmark's tasks are scored: the smaller of both limits; None: all."""
        given = [limit for limit in (self.limit, self.tasks[benchmark].limit) if limit is not None]
        return min(given, default=None)


def check_local_files_are_read(suite: SuiteConfig) -> None:
    """That ``suite.data``, if it is given, is read by a benchmark: the others take what they say themselves.

    Raises:
        UserError: none names a file in it.
    """
    read = [bool(task.local) for task in suite.tasks.values()]
    read += [item.local is not None for item in suite.prompts.values()]
    if suite.data is None or any(read):
        return
    raise UserError(
        f"suite.data={suite.data}: no benchmark of suite {suite.name} names a file there; choose a suite whose "
        "benchmarks do, such as suite=pocket or suite=piqa, or name it: +suite.tasks.NAME.local.SPLIT=FILE"
    )
