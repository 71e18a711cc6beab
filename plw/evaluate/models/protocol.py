"""What the harness needs of a model, whichever engine carries it."""

from typing import Any, Protocol


class HarnessModel(Protocol):
    """A model that lm-eval can ask."""

    @property
    def context_length(self) -> int:
        """Tokens that the model can attend to, prompt and answer together."""
        ...

    def for_harness(self, batch_size: int) -> Any:
        """An ``lm_eval.api.model.LM`` around the model."""
        ...
