"""One measured number of one cell: what every evaluation returns and every score row holds."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """A value with everything needed to read it; ``None`` means unknown, never zero."""

    suite: str
    benchmark: str
    metric: str
    value: float
    stderr: float | None = None
    n: int | None = None
    headline: bool = False
    higher_is_better: bool | None = None
    task_version: str | None = None
    judge: str | None = None
    judge_version: str | None = None
    library_version: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain types, ready for a record or a row."""
        return asdict(self)
