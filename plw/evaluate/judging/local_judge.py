"""A PandaLM judge from its own weights: beam search in this process, batched, every reply logged batch by batch.

Beams (4) and repetition penalty (1.2) are those of the judge's maintainers; both are config. The batches are the same
however often the work was cut and continued, so that a continued stage ends with the same verdicts.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from plw.config.judge import JudgeConfig
from plw.data.tokenizer import load_tokenizer
from plw.errors import UserError, shortened
from plw.evaluate.judging.mt_bench import Grading
from plw.evaluate.judging.pairwise import Pair, PairwiseResult
from plw.evaluate.judging.pandalm import judge_both_orders
from plw.evaluate.judging.response_cache import ResponseCache
from plw.evaluate.models.hf import EvalModel, generate
from plw.paths import judge_prompt_folder
from plw.pretrained.context_length import context_length
from plw.progress import Progress, no_progress

SMALL_FILES = ["*.json", "*.model", "*.txt"]
"""Config and tokenizer."""
FILES = ["*.safetensors", "*.bin", *SMALL_FILES]
"""What a judge on the hub is made of. Older weights are pickles; they are read by torch's restricted reader only."""


class LocalJudge:
    """A judge in memory; made once, asked for as many cells as there are."""

    def __init__(self, judge: JudgeConfig, loaded: EvalModel) -> None:
        self._judge = judge
        self._loaded = loaded

    @classmethod
    def load(cls, judge: JudgeConfig, location: str, device: str) -> "LocalJudge":
        """Load a local folder, or a hub name's files.

        Raises:
            UserError: it is not there, cannot be fetched, or cannot be loaded.
        """
        folder = Path(location)
        if not folder.is_dir():
            folder = _fetch(location, judge, FILES)
        return cls(judge, EvalModel.load(folder, device, judge.dtype, safetensors_only=False))

    def release(self) -> None:
        """Give the weights' memory back; the judge cannot be asked afterwards."""
        self._loaded.release()

    def compare(
        self,
        protocol: str,
        pairs: Sequence[Pair],
        *,
        replies: ResponseCache,
        work: Path,  # noqa: ARG002 - an evaluator is written there; this judge has none
        progress: Progress = no_progress,
    ) -> PairwiseResult:
        """Win rate of the answers against the references; what stands in ``replies`` is not judged again.

        Raises:
            UserError: another protocol than PandaLM's, a prompt template is missing, or verdicts of that length leave
                no room for a prompt.
            UnreadableError: too many verdicts cannot be read.
        """
        import transformers

        if protocol != "pandalm":
            raise UserError(f"judge {self._judge.name}: weights are asked by the protocol pandalm, not {protocol}")

        def answers(texts: Sequence[str], progress: Progress) -> list[str]:
            return self._answers(texts, replies, progress)

        return judge_both_orders(
            pairs,
            self._judge,
            answers,
            prompts=judge_prompt_folder() / "pandalm",
            library_version=f"transformers {transformers.__version__}",
            cut=self._cut,
            progress=progress,
        )

    def grade(self, *_: Any, **__: Any) -> Grading:
        """Not this judge's protocol.

        Raises:
            UserError: always.
        """
        raise UserError(f"judge {self._judge.name}: weights are asked by the protocol pandalm, not mt_bench")

    def _answers(self, texts: Sequence[str], replies: ResponseCache, progress: Progress) -> list[str]:
        size = self._judge.batch_size
        # The longest first: what does not fit the memory fails at once and not after hours.
        order = sorted(dict.fromkeys(texts), key=lambda text: (-len(text), text))
        for start in range(0, len(order), size):
            batch = order[start : start + size]
            if any(replies.get(text) is None for text in batch):
                for text, reply in zip(batch, self._generate(batch), strict=True):
                    replies.put(text, reply)
            progress(min(start + size, len(order)), len(order), f"{self._judge.name} on PandaLM")
        return [replies.get(text) or "" for text in texts]

    def _generate(self, batch: list[str]) -> list[str]:
        judge = self._judge
        made = generate(
            self._loaded,
            [self._plain(text) for text in batch],
            max_new_tokens=judge.max_tokens,
            beams=judge.beams,
            repetition_penalty=judge.repetition_penalty,
            batch_size=len(batch),
            field="judge.max_tokens",
        )
        return [answer.text for answer in made]

    def _cut(self, texts: Sequence[str]) -> int:
        room = self._loaded.context_length - self._judge.max_tokens
        return sum(len(self._loaded.tokenizer(self._plain(text))["input_ids"]) > room for text in texts)

    def _plain(self, text: str) -> str:
        """Without the names of special tokens, which an answer could end the judge's prompt with; PandaLM does so."""
        for token in self._loaded.tokenizer.all_special_tokens:
            text = text.replace(str(token), "")
        return text


def check_local_judge(judge: JudgeConfig, location: str) -> None:
    """That a judge can be had and read, as far as its config and tokenizer tell, and has room for a prompt.

    Of a hub name these small files are fetched.

    Args:
        judge: The tokens of a verdict, and the revision on the hub.
        location: Folder or hub name.

    Raises:
        UserError: it is not so.
    """
    from transformers import AutoConfig

    folder = Path(location)
    if not folder.is_dir():
        folder = _fetch(location, judge, SMALL_FILES)
    try:
        config: Any = AutoConfig.from_pretrained(str(folder), local_files_only=True)
    except Exception as error:  # Each kind of config fails in its own way.
        reason = shortened(" ".join(str(error).split()), 200)
        raise UserError(f"judge.path={location}: its config.json cannot be read ({reason})") from None
    load_tokenizer(folder)
    length = context_length(config)
    if length is not None and judge.max_tokens >= length:
        raise UserError(
            f"judge.max_tokens={judge.max_tokens} leaves no room for a prompt; the context of judge.path={location} is "
            f"{length} tokens"
        )


def _fetch(name: str, judge: JudgeConfig, files: list[str]) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, revision=judge.revision, allow_patterns=files))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        away = "the hub cannot be reached, and its cache has no such files"
        reason = away if isinstance(error, LocalEntryNotFoundError) else str(error).splitlines()[0]
        raise UserError(
            f"judge.path={name} cannot be fetched ({reason}); fetch https://huggingface.co/{name} elsewhere "
            "and give its folder as judge.path"
        ) from None
