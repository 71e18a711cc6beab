"""The judge that a worker holds: made when first asked for, and kept over cells while they name the same one."""

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from plw.config import CellConfig, identity_fields
from plw.data.inputs import foreign_prompts
from plw.errors import UserError
from plw.pipeline.cell import Cell
from plw.results.identity import canonical_json

if TYPE_CHECKING:
    from plw.evaluate.judging.judge import Judge


class JudgeCache:
    """Holds one judge at a time; asked for another, it puts the first away. Closed at the end of its block."""

    def __init__(self) -> None:
        self._key = ""
        self._judge: Judge | None = None
        self._heavy = False
        self._open = ExitStack()

    def __enter__(self) -> "JudgeCache":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def judge(self, cell: Cell, facts: Path) -> "Judge":
        """The judge of a cell; ``facts`` is the embedded world's file, for its own judge.

        Raises:
            UserError: no address, or weights that cannot be loaded.
        """
        key = _key(cell, facts)
        if self._judge is None or key != self._key:
            self.release()
            self._judge = self._make(cell, facts)
            self._key, self._heavy = key, cell.judge_weights is not None
        return self._judge

    def release(self) -> None:
        """Close the server, or free the memory, of the judge that is held."""
        self._open.close()
        self._judge, self._heavy = None, False

    def release_weights(self) -> None:
        """Free the memory of a judge from weights: other work needs it."""
        if self._heavy:
            self.release()

    def _make(self, cell: Cell, facts: Path) -> "Judge":
        from plw.evaluate.judging.judge import ServedJudge

        judge = cell.config.judge
        if judge.kind == "weights":
            from plw.evaluate.judging.local_judge import LocalJudge
            from plw.launch.device import device_of

            assert cell.judge_weights is not None
            device = str(device_of(cell.config.execution.device))
            local = LocalJudge.load(judge, cell.judge_weights.location, device)
            self._open.callback(local.release)
            return local
        return ServedJudge(judge, judge.endpoint or self._serve_world(cell, facts))

    def _serve_world(self, cell: Cell, facts: Path) -> str:
        judge = cell.config.judge
        if judge.kind != "world":
            raise UserError(missing_endpoint(judge.name))
        from plw.world.judge import FactJudge
        from plw.world.server import JudgeServer

        return self._open.enter_context(JudgeServer(FactJudge.load(facts), model=judge.model)).base_url


def missing_endpoint(name: str) -> str:
    """What a judge without an address is told."""
    return f"judge.endpoint is missing; give the address of the server of judge {name} (docs/judges.md)"


def check_world_judge(config: CellConfig, or_else: str = "leave judge out of stages") -> None:
    """The embedded world's judge is asked about the world's prompts alone: to it all others are ties.

    Args:
        config: Of a cell that is judged by it.
        or_else: What to do without another judge, for the message.

    Raises:
        UserError: others are in the suite.
    """
    foreign = foreign_prompts(config)
    if foreign:
        raise UserError(
            f"judge={config.judge.name} knows the embedded world's prompts alone, not those of {', '.join(foreign)}; "
            f"choose another (judge=openai ..., docs/judges.md), or {or_else}"
        )


def _key(cell: Cell, facts: Path) -> str:
    """What makes two cells' judges one: all of their config and what it rests on."""
    judge = cell.config.judge
    return canonical_json(
        {
            "judge": identity_fields(judge),
            "batch_size": judge.batch_size,
            "client": [judge.endpoint, judge.key_variable, judge.concurrency, judge.timeout_s],
            "facts": str(facts) if judge.kind == "world" else None,
            "device": cell.config.execution.device,
            "weights": None if cell.judge_weights is None else cell.judge_weights.content,
        }
    )
