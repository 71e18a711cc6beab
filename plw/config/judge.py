"""Schema of who compares or grades answers."""

from dataclasses import dataclass, field, fields

from plw.config.checks import above_zero, at_least, each_text, given, in_range, one_of
from plw.config.evaluation import PANDALM, PROTOCOLS
from plw.config.fields import EXECUTION, LATER, UNTIL_DONE
from plw.config.server_address import base_address
from plw.errors import UserError

OF_WEIGHTS = ("path", "revision", "dtype", "beams", "repetition_penalty", "batch_size")
"""Fields of a judge that its kind ``weights`` alone reads."""


@dataclass(frozen=True, kw_only=True)
class JudgeConfig:
    """Who compares two answers."""

    name: str
    """Short name; part of the stage folder's name and a column of the registry."""
    kind: str = "openai"
    """`openai` (a server that speaks the OpenAI protocol), `weights` (PandaLM, loaded in the worker's own process) or
    `world` (the embedded world's, started on loopback)."""
    model: str = "judge"
    """Model name sent to the server."""
    protocols: list[str] | None = field(default=None, metadata=LATER)
    """Protocols that the judge is asked by, of `alpaca_eval`, `pandalm` and `mt_bench`; the suite's other prompts are
    left to other judges. Null: all of the suite's."""
    endpoint: str | None = field(default=None, metadata=EXECUTION)
    """Base URL of the server, such as http://127.0.0.1:8000/v1; null with kind `world` starts one. Azure's may have its
    `?api-version=DATE` behind it."""
    key_variable: str = field(default="OPENAI_API_KEY", metadata=EXECUTION)
    """Environment variable that holds the key."""
    evaluator: str = "pairwise"
    """What the AlpacaEval protocol asks with (prompt, chat form, parser): a folder of `conf/judge_prompts`,
    `package:NAME` for an evaluator that comes with alpaca_eval, or a path (`./NAME`) to a folder of yours. What it
    holds is identity, and its name; where it lies is not."""
    path: str | None = field(default=None, metadata=EXECUTION)
    """Kind `weights`: a local folder or a hub name. What lies there is identity, the path is not."""
    revision: str | None = field(default=None, metadata=EXECUTION)
    """Kind `weights`: hub revision; it is identity as part of what lies at `path`."""
    dtype: str = field(default="bfloat16", metadata=LATER)
    """Kind `weights`: number format of the judge's weights."""
    beams: int = field(default=4, metadata=LATER)
    """Kind `weights`: beams of the search for a verdict."""
    repetition_penalty: float = field(default=1.2, metadata=LATER)
    """Kind `weights`: makes tokens that the prompt or the verdict already has less likely; 1 is off."""
    opponents: dict[str, str] = field(default_factory=dict, metadata=EXECUTION)
    """Benchmark -> JSON file of another model's answers (a `generate` stage's, or an AlpacaEval output file) to compare
    with in place of the prompt file's reference answers. The file's content is identity, its path is not."""
    version: str = "1"
    """Version of the judge, written into every score row."""
    max_tokens: int = 100
    """Tokens of a verdict."""
    reasoning: bool = field(default=False, metadata=LATER)
    """Ask as OpenAI's reasoning models want it (o-series, GPT-5): `max_completion_tokens`, which their reasoning counts
    among, in place of `max_tokens`, and no `temperature`, so replies are drawn. Kind `openai`; raise `max_tokens`."""
    max_unparsed: float = field(default=0.05, metadata=UNTIL_DONE)
    """Share of verdicts that may be unreadable before the stage fails."""
    concurrency: int = field(default=4, metadata=EXECUTION)
    """Requests under way at once."""
    batch_size: int = field(default=8, metadata=EXECUTION)
    """Kind `weights`: prompts judged at a time."""
    timeout_s: float = field(default=120.0, metadata=EXECUTION)
    """Seconds until a request is given up."""

    def __post_init__(self) -> None:
        given("judge.name", self.name)
        one_of("judge.kind", self.kind, ("openai", "weights", "world"))
        base_address("judge.endpoint", self.endpoint)
        each_text("judge.opponents", self.opponents)
        for protocol in self.protocols if self.protocols is not None else ():
            one_of("judge.protocols", protocol, PROTOCOLS)
        if self.kind == "weights":
            given("judge.path", self.path)
            if self.protocols != [PANDALM]:
                raise UserError(f"judge.protocols={self.protocols} does not go with judge.kind=weights; give [pandalm]")
        self._check_kind()
        one_of("judge.dtype", self.dtype, ("bfloat16", "float16", "float32"))
        at_least("judge.beams", self.beams, 1)
        at_least("judge.repetition_penalty", self.repetition_penalty, 1)
        at_least("judge.batch_size", self.batch_size, 1)
        at_least("judge.max_tokens", self.max_tokens, 1)
        in_range("judge.max_unparsed", self.max_unparsed, 0, 1)
        at_least("judge.concurrency", self.concurrency, 1)
        above_zero("judge.timeout_s", self.timeout_s)

    def _check_kind(self) -> None:
        """Refuse what the kind of judge would not read."""
        unread = ["endpoint"] if self.kind == "weights" else list(OF_WEIGHTS)
        unread += [] if self.kind == "openai" else ["reasoning"]
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name in unread and value != item.default:
                word = str(value).lower() if isinstance(value, bool) else value
                raise UserError(f"judge.{item.name}={word} does not go with judge.kind={self.kind}; leave it out")
