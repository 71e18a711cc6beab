"""lm-eval's wrapper of a transformers model, less what it computes twice, which notes whose prompts it had to cut."""

from itertools import accumulate
from typing import Any

import torch
from lm_eval.models import huggingface
from lm_eval.models.utils import normalize_gen_kwargs
from transformers import GenerationConfig

from plw.evaluate.models.decode import decode, holds_any
from plw.evaluate.models.score_rows import scores_bytes
from plw.evaluate.models.shared_context import NotShareableError, batches_by_context, score_pairs, shared_share
from plw.pretrained.own_ends import own_ends

WORTH_SHARING = 0.15
"""Share of a task's tokens from which it pays to compute contexts once: it takes two calls of the model for one."""


class HarnessLM(huggingface.HFLM):  # type: ignore[misc]
    """A loaded model as lm-eval asks it.

    Answers are lm-eval's own but for rounding: a context that several continuations share is computed once, and a row
    leaves its batch once lm-eval would read no more of it.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.cut: set[int] = set()
        """Identities of the request objects whose prompts lost their beginning."""
        self._asked: list[Any] | None = None
        self._shares = True
        self.bounds_scores = False
        """Whether scores are taken in parts that fit here, so that nobody else has to see to that."""

    def loglikelihood(self, requests: list[Any], *arguments: Any, **named: Any) -> Any:
        self._asked = requests
        try:
            return super().loglikelihood(requests, *arguments, **named)
        finally:
            self._asked = None

    def _loglikelihood_tokens(self, requests: list[Any], *arguments: Any, **named: Any) -> Any:
        if self._asked is None:
            # The windows of a rolling likelihood share a token at most.
            return super()._loglikelihood_tokens(requests, *arguments, **named)
        # The last token is predicted and not read.
        whole = [len(context) + len(rest) <= self.max_length + 1 for _, context, rest in requests]
        self.cut |= {id(asked) for asked, is_whole in zip(self._asked, whole, strict=True) if not is_whole}
        if all(whole) and self._shares and shared_share([pair for _, *pair in requests]) >= WORTH_SHARING:
            self.bounds_scores = True
            try:
                return self._shared(requests)
            except NotShareableError:
                self._shares = False
            finally:
                self.bounds_scores = False
        return super()._loglikelihood_tokens(requests, *arguments, **named)

    def _shared(self, requests: list[Any]) -> list[tuple[float, bool]]:
        """By lm-eval's own maker of batches, which a stage that was killed replaces to leave out what it has."""
        batches = batches_by_context([pair for _, *pair in requests], self.batch_size)
        places = [place for batch in batches for place in batch]
        # By the number of the request that ends a batch, the batch's size, as lm-eval's function is asked.
        size_after = dict(zip(accumulate(map(len, batches)), map(len, batches), strict=True))
        maker = huggingface.Collator([requests[place] for place in places], sort_fn=lambda _: 0)
        bar = huggingface.tqdm(total=len(requests), disable=self.rank != 0, desc="Running loglikelihood requests")
        answers: list[tuple[float, bool]] = []
        for batch in maker.get_batched(batch_fn=lambda number, _: size_after.get(number + 1, 0)):
            with torch.no_grad(), self._autocast():
                scored = score_pairs(
                    self.model,
                    [pair for _, *pair in batch],
                    limit=scores_bytes(self.device),
                    softmax_dtype=self.softmax_dtype,
                )
            for (asked, *_), answer in zip(batch, scored, strict=True):
                self.cache_hook.add_partial("loglikelihood", asked, answer)
                bar.update(1)
            answers += scored
        bar.close()
        by_place = dict(zip(places, maker.get_original(answers), strict=True))
        return [by_place[place] for place in range(len(requests))]

    def _autocast(self) -> Any:
        dtype = self.mixed_precision_dtype
        return torch.autocast(device_type=self.device.type, dtype=dtype, enabled=dtype is not None)

    def generate_until(self, requests: list[Any], *arguments: Any, **named: Any) -> Any:
        for asked in requests:
            context, options = asked.args
            room = self.max_length - normalize_gen_kwargs(options, self.max_gen_toks)["max_gen_toks"]
            if len(self.tok_encode(context)) > room:
                self.cut.add(id(asked))
        return super().generate_until(requests, *arguments, **named)

    def _model_generate(self, context: Any, max_length: int, stop: list[str], **how: Any) -> Any:
        mask_BT = how.get("attention_mask")
        others = {name: value for name, value in how.items() if name != "attention_mask"}
        is_greedy = not others.pop("temperature", 0.0) and not others.pop("do_sample", False)
        if others or not is_greedy or mask_BT is None or self.think_end_token is not None:
            return super()._model_generate(context, max_length, stop, **how)
        width, pad = context.shape[1], self.tokenizer.pad_token_id
        ends = own_ends(self.model.generation_config)

        def has_ended(new_BT: torch.Tensor) -> torch.Tensor:
            texts = [self.tok_decode(tokens) for tokens in new_BT.tolist()]
            stopped = [any(word in text for word in stop if word) for text in texts]
            return holds_any(new_BT, ends) | torch.tensor(stopped, device=new_BT.device)

        config = GenerationConfig(  # type: ignore[no-untyped-call]
            max_new_tokens=max_length - width, do_sample=False, pad_token_id=pad
        )
        with self._autocast():
            new = decode(self.model, context, mask_BT, config=config, has_ended=has_ended)
        longest = max(len(tokens) for tokens in new)
        padded = [tokens + [pad] * (longest - len(tokens)) for tokens in new]
        return torch.cat([context, torch.tensor(padded, dtype=context.dtype, device=context.device)], dim=1)
