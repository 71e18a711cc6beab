"""lm-eval's wrapper of a transformers model, which also notes whose prompts it had to cut."""

from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def harness_lm(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", batch_size: int) -> Any:
    """An ``lm_eval.api.model.LM`` around a loaded model; its ``cut`` holds the requests that lost their beginning."""
    return _lm_class()(pretrained=model, tokenizer=tokenizer, batch_size=batch_size)


@lru_cache(maxsize=1)
def _lm_class() -> Any:
    from lm_eval.models.huggingface import HFLM
    from lm_eval.models.utils import normalize_gen_kwargs

    class CutCountingLM(HFLM):  # type: ignore[misc]
        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, **named)
            self.cut: set[int] = set()
            """Identities of the request objects."""
            self._asked: list[Any] | None = None

        def loglikelihood(self, requests: list[Any], *arguments: Any, **named: Any) -> Any:
            self._asked = requests
            try:
                return super().loglikelihood(requests, *arguments, **named)
            finally:
                self._asked = None

        def _loglikelihood_tokens(self, requests: list[Any], *arguments: Any, **named: Any) -> Any:
            if self._asked is not None:
                # The last token is predicted and not read.
                for asked, (_, context, continuation) in zip(self._asked, requests, strict=True):
                    if len(context) + len(continuation) > self.max_length + 1:
                        self.cut.add(id(asked))
            return super()._loglikelihood_tokens(requests, *arguments, **named)

        def generate_until(self, requests: list[Any], *arguments: Any, **named: Any) -> Any:
            for asked in requests:
                context, options = asked.args
                room = self.max_length - normalize_gen_kwargs(options, self.max_gen_toks)["max_gen_toks"]
                if len(self.tok_encode(context)) > room:
                    self.cut.add(id(asked))
            return super().generate_until(requests, *arguments, **named)

    return CutCountingLM
