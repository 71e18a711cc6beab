"""A trained model carried by transformers: loaded once, asked by the harness, answering prompts, and released.

Answers are batched, greedy or sampled, the same for every batch size up to float rounding.
"""

import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from plw.data.tokenizer import add_bos_alone, tokenise
from plw.errors import UserError
from plw.evaluate.models.batches import longest_first, own_batches
from plw.evaluate.models.protocol import ANSWER_LIMIT, Generation, room_for_prompt, words_of
from plw.evaluate.quiet import quiet
from plw.files.whole_characters import whole_characters
from plw.progress import Progress, no_progress
from plw.runtime.memory import release_memory

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from plw.evaluate.models.decode import RowProcessor
    from plw.launch.group import Group

Place = TypeVar("Place")
Found = TypeVar("Found")

DTYPES = ("float32", "bfloat16", "float16")
UNLIMITED = 10**12
"""Tokenizers write 1e30 where nobody gave them a limit."""
DEFAULT_CONTEXT = 2048
"""Context of a model that names no limit, as lm-eval takes it."""


@dataclass(frozen=True, kw_only=True)
class EvalModel:
    """A causal language model in evaluation mode and its tokenizer, which has a padding token."""

    model: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerBase"
    device: "torch.device"
    group: "Group | None" = None
    """Processes that hold the same model and are asked the same; each computes every n-th batch."""

    @classmethod
    def load(
        cls,
        folder: Path,
        device: str = "cpu",
        dtype: str = "float32",
        *,
        safetensors_only: bool = True,
        trust_remote_code: bool = False,
    ) -> Self:
        """Load a ``save_pretrained`` folder; weights are read from safetensors.

        A tokenizer without a padding token pads with its end-of-sequence token, which the attention mask hides.

        Args:
            folder: The model's folder, with its tokenizer.
            device: ``cpu``, ``cuda`` or ``cuda:N``.
            dtype: ``float32``, ``bfloat16`` or ``float16``.
            safetensors_only: Off, weights that exist as torch's pickles only are read by its restricted reader, which
                makes tensors and runs nothing.
            trust_remote_code: Run code that comes with the model; off, transformers takes a class of its own in its
                place where it has one of that type.

        Raises:
            UserError: the folder is missing, or holds no model or tokenizer that transformers can read.
        """
        import torch
        from transformers import AutoTokenizer

        if dtype not in DTYPES:
            raise UserError(f"dtype {dtype} is not known; allowed: {', '.join(DTYPES)}")
        model: Any = load_weights(folder, dtype, safetensors_only=safetensors_only, trust_remote_code=trust_remote_code)
        with quiet("transformers"), _user_errors(folder):
            tokenizer = AutoTokenizer.from_pretrained(
                str(folder), local_files_only=True, trust_remote_code=trust_remote_code
            )
        add_bos_alone(tokenizer)
        if tokenizer.pad_token_id is None:
            if tokenizer.eos_token is None:
                raise UserError(f"{folder}: the tokenizer has neither a padding nor an end-of-sequence token")
            tokenizer.pad_token = tokenizer.eos_token
        placed = torch.device(device)
        model.to(placed)
        model.eval()
        return cls(model=model, tokenizer=tokenizer, device=placed)

    @property
    def context_length(self) -> int:
        """Tokens that the model can attend to, prompt and answer together; found as lm-eval finds it."""
        config = self.model.config.get_text_config()
        named = (getattr(config, name, None) for name in ("n_positions", "max_position_embeddings", "n_ctx"))
        length = next((value for value in named if value is not None), self.tokenizer.model_max_length)
        return int(length) if length < UNLIMITED else DEFAULT_CONTEXT

    def for_harness(self, batch_size: int) -> Any:
        """lm-eval's wrapper of a transformers model that is already loaded."""
        from plw.evaluate.models.harness_lm import HarnessLM

        return HarnessLM(pretrained=self.model, tokenizer=self.tokenizer, batch_size=batch_size)

    def answer(self, prompts: Sequence[str], **how: Any) -> list[Generation]:
        """Answers to prompts, in their order; ``how`` as :func:`generate` takes it."""
        return generate(self, prompts, field=ANSWER_LIMIT, **how)

    def batches(self, rows: Sequence[Sequence[int]], batch_size: int) -> list[list[int]]:
        """Places of rows of tokens, batch by batch, as they are computed."""
        return list(longest_first(rows, batch_size, pads_freely=self.device.type != "cpu"))

    def is_mine(self, batch: int) -> bool:
        """Whether the batch of this number is computed by this process."""
        return self.group is None or batch % self.group.size == self.group.rank

    def all_gather(self, found: dict[Place, Found]) -> dict[Place, Found]:
        """What this process found, and what the others did; in each of them the same."""
        if self.group is None:
            return found
        return {place: one for part in self.group.all_gather_object(found) for place, one in part.items()}

    def release(self) -> None:
        """Give the weights' memory back, whoever still holds the model; it cannot be asked afterwards."""
        self.model.to("meta")  # type: ignore[arg-type]
        release_memory()


def load_weights(
    folder: Path, dtype: str = "auto", *, safetensors_only: bool = True, trust_remote_code: bool = False
) -> "PreTrainedModel":
    """What transformers makes of a folder, on the CPU.

    Args:
        folder: The model's folder.
        dtype: As torch names it; ``auto`` is that of the weights.
        safetensors_only: As ``EvalModel.load`` takes it.
        trust_remote_code: Run code that comes with the model.

    Raises:
        UserError: the folder is missing, or holds no model that transformers can read.
    """
    import torch
    from transformers import AutoModelForCausalLM

    if not (folder / "config.json").is_file():
        raise UserError(f"{folder}: no config.json; this is not the folder of a saved model")
    with quiet("transformers"), _user_errors(folder):
        model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
            str(folder),
            dtype=dtype if dtype == "auto" else getattr(torch, dtype),
            use_safetensors=True if safetensors_only else None,
            weights_only=True,
            local_files_only=True,
            trust_remote_code=trust_remote_code,
        )
    return model


@contextmanager
def _user_errors(folder: Path) -> Iterator[None]:
    """What transformers cannot load is told in a line that names the folder."""
    try:
        yield
    except (OSError, ValueError, pickle.UnpicklingError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{folder}: the model cannot be loaded ({reason})") from None


def generate(
    loaded: EvalModel,
    prompts: Sequence[str],
    *,
    max_new_tokens: int,
    temperature: float = 0.0,
    top_p: float = 1.0,
    seed: int = 0,
    streams: Sequence[int] | None = None,
    beams: int = 1,
    repetition_penalty: float = 1.0,
    batch_size: int = 32,
    progress: Progress = no_progress,
    before_words: int | None = None,
    field: str = "max_new_tokens",
) -> list[Generation]:
    """Answer each prompt; answers come in the order of the prompts.

    Prompts are tokenised with the tokenizer's special tokens (BOS where it has one), batched by length, longest first,
    and padded on the left. Of a model that several processes hold, each gets the same batches, computes a share of them
    and has all answers. With ``temperature`` above 0 each prompt is sampled by a random stream of its own, made from
    ``seed`` and its number in ``streams``, so that neither batch size nor the other prompts change an answer.

    Args:
        loaded: The model.
        prompts: Full prompts, template included.
        max_new_tokens: Tokens after which an answer is cut.
        temperature: 0 is greedy.
        top_p: Share of the probability kept when sampling; 1 keeps all.
        seed: Seed of the sampling.
        streams: A number for each prompt; None: their places.
        beams: Above 1, the likeliest answer of a beam search that stops once it has so many whole ones.
        repetition_penalty: Makes tokens of the prompt and of the answer so far less likely; 1 is off.
        batch_size: Prompts answered at a time.
        progress: Called with the prompts done.
        before_words: The token behind which an answer's words begin, as :func:`words_of` takes it.
        field: What says ``max_new_tokens``, for the message.

    Raises:
        UserError: ``max_new_tokens`` leaves no room for a prompt in the model's context.
    """
    room = room_for_prompt(loaded.context_length, max_new_tokens, field)
    encoded = tokenise(prompts, loaded.tokenizer)
    config = {"max_new_tokens": max_new_tokens, "num_beams": beams, "repetition_penalty": repetition_penalty}
    numbers = range(len(prompts)) if streams is None else streams
    answers: dict[int, Generation] = {}
    for batch, say in own_batches(loaded.batches(encoded, batch_size), loaded.is_mine, progress, "answers"):
        samplers = [_Noise(temperature, top_p, [(seed, numbers[index]) for index in batch])] if temperature > 0 else []
        rows = [encoded[index][-room:] for index in batch]
        for index, tokens in zip(batch, generate_tokens(loaded, rows, config, samplers, say), strict=True):
            answers[index] = _read(loaded, tokens, before_words, cut=max(0, len(encoded[index]) - room))
    answers = loaded.all_gather(answers)
    return [answers[index] for index in range(len(prompts))]


def generate_tokens(
    loaded: EvalModel,
    rows: list[list[int]],
    decoding: dict[str, Any],
    processors: "Sequence[RowProcessor]",
    say: Callable[[str], None],
) -> list[list[int]]:
    """The generated token ids of each row, padding included.

    Args:
        loaded: The model.
        rows: Token ids of the prompts, none longer than the context leaves room for.
        decoding: Fields of transformers' ``GenerationConfig``; ``num_beams`` among them.
        processors: Of the scores, before a token is chosen.
        say: Told, a word a second, how many tokens have been written.
    """
    import torch
    from transformers import GenerationConfig

    from plw.evaluate.models.decode import decode, holds_any

    pad = loaded.tokenizer.pad_token_id
    width = max(len(row) for row in rows)
    # Filled up with a token of the row's own, so that the repetition penalty falls on no other; the mask hides it.
    token_BT = torch.tensor([(row[:1] or [pad]) * (width - len(row)) + row for row in rows], device=loaded.device)
    mask_BT = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows], device=loaded.device)
    ends = end_tokens(loaded)
    config = GenerationConfig(  # type: ignore[no-untyped-call]
        **decoding,
        do_sample=False,
        early_stopping=decoding["num_beams"] > 1,
        pad_token_id=pad,
        eos_token_id=ends or None,
    )

    has_ended = partial(holds_any, ends=ends)
    return decode(loaded.model, token_BT, mask_BT, config=config, has_ended=has_ended, processors=processors, say=say)


def _read(loaded: EvalModel, tokens: list[int], before_words: int | None, *, cut: int) -> Generation:
    ends = end_tokens(loaded)
    length = next((position for position, token in enumerate(tokens) if token in ends), None)
    kept = tokens if length is None else tokens[:length]
    text = loaded.tokenizer.decode(words_of(kept, before_words), skip_special_tokens=True)
    assert isinstance(text, str)
    text = whole_characters(text.strip())
    return Generation(text=text, tokens=len(kept), finished=length is not None, prompt_tokens_cut=cut)


def end_tokens(loaded: EvalModel) -> list[int]:
    """Tokens that end an answer: the model's own list, and the tokenizer's."""
    from plw.pretrained.own_ends import own_ends

    listed = own_ends(loaded.model.generation_config)
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

    def keep(self, rows: Sequence[int]) -> None:
        self._streams = [self._streams[row] for row in rows]

    def __call__(self, _: "torch.Tensor", score_BV: "torch.Tensor", /) -> "torch.Tensor":
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
