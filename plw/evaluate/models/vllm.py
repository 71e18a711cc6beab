"""A trained model carried by vLLM, for the harness and for long answers.

Written against vLLM's documentation and lm-eval's use of it; it has not been
run, for want of a machine with vLLM on it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plw.data.tokenizer import tokenise
from plw.errors import UserError
from plw.evaluate.models.protocol import ANSWER_LIMIT, Generation, room_for_prompt, words_of
from plw.evaluate.quiet import quiet
from plw.files.whole_characters import whole_characters
from plw.progress import Progress, no_progress

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, kw_only=True)
class VllmModel:
    """lm-eval's wrapper of a vLLM engine, which also writes the long answers."""

    lm: Any
    """``lm_eval.models.vllm_causallms.VLLM``."""

    @property
    def context_length(self) -> int:
        """Tokens that the engine takes, prompt and answer together."""
        return int(self.lm.max_length)

    def for_harness(self, batch_size: int) -> Any:  # noqa: ARG002 - vLLM makes its own batches
        """The wrapper itself."""
        return self.lm

    def answer(
        self,
        prompts: Sequence[str],
        *,
        max_new_tokens: int,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 0,
        streams: Sequence[int] | None = None,  # noqa: ARG002
        batch_size: int = 32,  # noqa: ARG002
        progress: Progress = no_progress,
        before_words: int | None = None,
    ) -> list[Generation]:
        """Answer each prompt; as :func:`plw.evaluate.models.hf.generate`, but sampling has vLLM's own random streams.

        Raises:
            UserError: ``max_new_tokens`` leaves no room for a prompt in the model's context.
        """
        from vllm import SamplingParams

        room = room_for_prompt(self.context_length, max_new_tokens, ANSWER_LIMIT)
        encoded = tokenise(prompts, self.lm.tokenizer)
        sampling = SamplingParams(max_tokens=max_new_tokens, temperature=temperature, top_p=top_p, seed=seed)
        with quiet("vllm"):
            outputs = self.lm.model.generate(
                [{"prompt_token_ids": tokens[-room:]} for tokens in encoded], sampling, use_tqdm=False
            )
        progress(len(prompts), len(prompts), "answers")
        return [
            read_output(output.outputs[0], self.lm.tokenizer, before_words, cut=max(0, len(tokens) - room))
            for tokens, output in zip(encoded, outputs, strict=True)
        ]


def read_output(output: Any, tokenizer: "PreTrainedTokenizerBase", before_words: int | None, *, cut: int) -> Generation:
    """An answer from vLLM's ``CompletionOutput``, which has the token that ended it, EOS or another of the model's."""
    ended = bool(output.token_ids) and output.finish_reason == "stop"
    text = output.text
    if before_words in output.token_ids:
        written = output.token_ids[: len(output.token_ids) - ended]
        text = str(tokenizer.decode(words_of(written, before_words), skip_special_tokens=True))
    return Generation(
        text=whole_characters(text.strip()),
        tokens=len(output.token_ids) - ended,
        finished=output.finish_reason == "stop",
        prompt_tokens_cut=cut,
    )


def load_vllm(folder: Path, *, dtype: str, seed: int, trust_remote_code: bool = False) -> VllmModel:
    """Start an engine on this process's GPUs, the model split over all of them.

    Raises:
        UserError: vLLM is not installed.
    """
    check_installed()
    import torch
    from lm_eval.models.vllm_causallms import VLLM

    with quiet("vllm", "lm_eval"):
        return VllmModel(
            lm=VLLM(
                pretrained=str(folder),
                dtype=dtype,
                seed=seed,
                trust_remote_code=trust_remote_code,
                batch_size="auto",
                tensor_parallel_size=max(1, torch.cuda.device_count()),
            )
        )


def check_installed() -> None:
    """Check that vLLM is there.

    Raises:
        UserError: it is not; the line says how to get it.
    """
    if find_spec("vllm") is None:
        raise UserError(
            "suite.backend=vllm needs the package vllm, which is not installed: pip install 'plw[vllm]' on a machine "
            "with a GPU, or take suite.backend=hf"
        )
