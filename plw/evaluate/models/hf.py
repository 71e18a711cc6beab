"""Answers of a model to prompts: batched, greedy or sampled, the same for every batch size up to float rounding."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from plw.errors import UserError
from plw.evaluate.models.load import EvalModel
from plw.progress import Progress, no_progress

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class Generation:
    """One answer."""

    text: str
    """The answer without special tokens and surrounding space."""
    tokens: int
    """Generated tokens, the closing end-of-sequence token not counted."""
    finished: bool
    """The model ended the answer itself; otherwise it was cut at the token limit."""
    prompt_tokens_cut: int = 0
    """Tokens cut from the left (BOS first) of a prompt that, with the answer, was longer than the model's context."""


def generate(
    loaded: EvalModel,
    prompts: Sequence[str],
    *,
    max_new_tokens: int,
    temperature: float = 0.0,
    top_p: float = 1.0,
    seed: int = 0,
    beams: int = 1,
    repetition_penalty: float = 1.0,
    batch_size: int = 32,
    progress: Progress = no_progress,
) -> list[Generation]:
    """Answer each prompt; answers come in the order of the prompts.

    Prompts are tokenised with the tokenizer's special tokens (BOS where it has one), batched by length, longest first,
    and padded on the left. With ``temperature`` above 0 each prompt is sampled by a random stream of its own, made from
    ``seed`` and its position, so that neither batch size nor the other prompts change an answer.

    Args:
        loaded: The model.
        prompts: Full prompts, template included.
        max_new_tokens: Tokens after which an answer is cut.
        temperature: 0 is greedy.
        top_p: Share of the probability kept when sampling; 1 keeps all.
        seed: Seed of the sampling.
        beams: Above 1, the likeliest answer of a beam search that stops once it has so many whole ones.
        repetition_penalty: Makes tokens of the prompt and of the answer so far less likely; 1 is off.
        batch_size: Prompts answered at a time.
        progress: Hears the prompts done.

    Raises:
        UserError: ``max_new_tokens`` leaves no room for a prompt in the model's context.
    """
    room = loaded.context_length - max_new_tokens
    if room < 1:
        raise UserError(
            f"max_new_tokens={max_new_tokens} leaves no room for the prompt; the model's context is "
            f"{loaded.context_length} tokens"
        )
    encoded = [loaded.tokenizer(prompt)["input_ids"] for prompt in prompts]
    order = sorted(range(len(prompts)), key=lambda index: (-len(encoded[index]), index))
    answers: list[Generation | None] = [None] * len(prompts)
    for start in range(0, len(order), batch_size):
        batch = order[start : start + batch_size]
        samplers = [_Noise(temperature, top_p, [(seed, index) for index in batch])] if temperature > 0 else []
        rows = [encoded[index][-room:] for index in batch]
        config = {"max_new_tokens": max_new_tokens, "num_beams": beams, "repetition_penalty": repetition_penalty}
        for index, tokens in zip(batch, _answer(loaded, rows, config, samplers), strict=True):
            answers[index] = _read(loaded, tokens, cut=max(0, len(encoded[index]) - room))
        progress(min(start + batch_size, len(order)), len(order), "answers")
    return [answer for answer in answers if answer is not None]


def _answer(
    loaded: EvalModel, rows: list[list[int]], decoding: dict[str, Any], processors: list[Any]
) -> list[list[int]]:
    """The generated token ids of each row, padding included."""
    import torch
    from transformers import GenerationConfig, LogitsProcessorList

    pad = loaded.tokenizer.pad_token_id
    width = max(len(row) for row in rows)
    # Filled up with a token of the row's own, so that the repetition penalty falls on no other; the mask hides it.
    token_BT = torch.tensor([(row[:1] or [pad]) * (width - len(row)) + row for row in rows], device=loaded.device)
    mask_BT = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows], device=loaded.device)
    config = GenerationConfig(  # type: ignore[no-untyped-call]
        **decoding,
        do_sample=False,
        early_stopping=decoding["num_beams"] > 1,
        pad_token_id=pad,
        eos_token_id=_end_tokens(loaded) or None,
    )
    with torch.inference_mode():
        output_BT: Any = loaded.model.generate(  # type: ignore[operator]
            input_ids=token_BT,
            attention_mask=mask_BT,
            generation_config=config,
            logits_processor=LogitsProcessorList(processors),
        )
    generated: list[list[int]] = output_BT[:, width:].tolist()
    return generated


def _read(loaded: EvalModel, tokens: list[int], *, cut: int) -> Generation:
    ends = _end_tokens(loaded)
    length = next((position for position, token in enumerate(tokens) if token in ends), None)
    kept = tokens if length is None else tokens[:length]
    text = loaded.tokenizer.decode(kept, skip_special_tokens=True)
    assert isinstance(text, str)
    return Generation(text=text.strip(), tokens=len(kept), finished=length is not None, prompt_tokens_cut=cut)


def _end_tokens(loaded: EvalModel) -> list[int]:
    """Tokens that end an answer: the model's own list, and the tokenizer's."""
    own = getattr(loaded.model.generation_config, "eos_token_id", None)
    listed = [] if own is None else [own] if isinstance(own, int) else list(own)
    if loaded.tokenizer.eos_token_id is not None:
        listed.append(loaded.tokenizer.eos_token_id)
    return sorted(set(listed))


class _Noise:
    """Turns greedy choice into sampling: the argmax of log p / T plus Gumbel noise is a draw from p^(1/T)."""

    def __init__(self, temperature: float, top_p: float, seeds: list[tuple[int, int]]) -> None:
        import numpy as np

        self._temperature = temperature
        self._top_p = top_p
        self._streams = [np.random.default_rng(seed) for seed in seeds]

    def __call__(self, _: "torch.Tensor", score_BV: "torch.Tensor") -> "torch.Tensor":
        import numpy as np
        import torch

        score_BV = torch.log_softmax(score_BV.float() / self._temperature, dim=-1)
        if self._top_p < 1:
            sorted_BV, order_BV = score_BV.sort(dim=-1, descending=True)
            before_BV = sorted_BV.exp().cumsum(dim=-1) - sorted_BV.exp()
            dropped_BV = torch.zeros_like(before_BV, dtype=torch.bool)
            dropped_BV.scatter_(-1, order_BV, before_BV >= self._top_p)
            # The likeliest token always stays, also at top_p = 0.
            dropped_BV.scatter_(-1, order_BV[:, :1], value=False)
            score_BV = score_BV.masked_fill(dropped_BV, -torch.inf)
        noise_BV = np.stack([stream.gumbel(size=score_BV.shape[-1]) for stream in self._streams])
        return score_BV + torch.from_numpy(noise_BV).to(score_BV)
