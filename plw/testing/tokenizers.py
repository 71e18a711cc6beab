"""Small tokenizers trained on the spot, the same bytes every time."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

CORPUS = (
    "Describe a process of making crepes. Name three colours and say which of them is warm. "
    "Below is an instruction that describes a task. Write a response that completes the request. "
    "### Instruction: ### Input: ### Response: The capital of France is Paris, and the river there is the Seine. "
    "Give me the sum of 12 and 30. It is 42, because 12 + 30 = 42."
)


def byte_level_tokenizer(
    texts: Sequence[str] = (CORPUS,),
    *,
    size: int = 400,
    bos: str | None = "<s>",
    eos: str = "</s>",
    pad: str | None = "<pad>",
) -> "PreTrainedTokenizerBase":
    """A byte-level BPE that puts BOS before a text, where it has one.

    Args:
        texts: what it is trained on.
        size: tokens at most, special ones included; 256 of them are bytes.
        bos: beginning of a text, or None.
        eos: end of a text.
        pad: padding token, or None; one of the others may serve.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    special = list(dict.fromkeys(token for token in (bos, eos, pad) if token is not None))
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw.train_from_iterator(texts, trainer)
    if bos is not None:
        raw.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", pair=f"{bos} $A {bos} $B", special_tokens=[(bos, special.index(bos))]
        )
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=raw, bos_token=bos, eos_token=eos, pad_token=pad, padding_side="right"
    )
