"""Pretrain one base model on packed rows, in a process of its own: ``python -m plw.world.pretrain <folder> <name>``.

The folder holds `pretraining.json` and `tokenizer/`; the model goes to `models/<name>/`. The process writes one line
`step <n> <loss>` to its standard output every few steps.
"""

import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from plw.config.plain import from_plain
from plw.config.world import WorldConfig
from plw.files.reading import read_json
from plw.runtime.memory import collect_rarely
from plw.world.base_model import PLAN, base_shape, make_base_model, save_base_model
from plw.world.corpus import CURRICULUM, MIX, Corpus
from plw.world.facts import make_world, stream
from plw.world.packing import pack

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

REPORT_STEPS = 10
BETAS = (0.9, 0.95)
WEIGHT_DECAY = 0.01
CLIP_NORM = 1.0
DOCUMENTS_AT_ONCE = 2_000
DECAY = 0.25
"""Share of the steps over which the learning rate falls: most facts come while it does."""


def learning_rate_factor(step: int, steps: int, warmup_steps: int) -> float:
    """Linear rise over the warm-up, then 1, then a linear fall over the last quarter of the steps."""
    return min(1.0, (step + 1) / max(1, warmup_steps), (steps - step) / (DECAY * steps))


def pretraining_rows(config: WorldConfig, name: str, tokenizer: "PreTrainedTokenizerBase") -> npt.NDArray[np.int32]:
    """What one base model reads, [steps x rows, row_tokens], in the order of its reading: easy documents first."""
    plan = config.pretraining
    corpus = Corpus(make_world(config))
    rng = stream(config.seed, f"corpus {name}")
    easy = round(plan.curriculum * plan.steps)
    parts = []
    for weights, steps in ((CURRICULUM, easy), (MIX, plan.steps - easy)):
        documents = _documents(corpus, weights, rng, tokenizer)
        parts.append(pack(documents, steps * plan.rows, plan.row_tokens, tokenizer.pad_token_id))
    return np.concatenate(parts)


def _documents(
    corpus: Corpus, weights: dict[str, int], rng: random.Random, tokenizer: "PreTrainedTokenizerBase"
) -> Iterator[list[int]]:
    """Tokens of one document after another, without end; each closes with the token that ends documents."""
    while True:
        for tokens in tokenizer(corpus.mixture(weights, DOCUMENTS_AT_ONCE, rng))["input_ids"]:
            yield [*tokens, tokenizer.eos_token_id]


def pretrain(folder: Path, name: str) -> None:
    """Train `models/<name>` as the plan in the folder says; on one machine the same plan gives the same weights.

    The weights are rounded to 16 bits at the end, so that a base model is the same whether it was pretrained here or
    came with the package.
    """
    import torch
    from torch.nn import functional
    from transformers import AutoTokenizer

    config = from_plain(WorldConfig, read_json(folder / PLAN))
    plan = config.pretraining
    torch.set_num_threads(plan.threads)
    torch.manual_seed(stream(config.seed, f"weights {name}").getrandbits(32))
    tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer")
    row_BT = torch.from_numpy(pretraining_rows(config, name, tokenizer).astype(np.int64))
    model = make_base_model(base_shape(config, name), tokenizer)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=plan.learning_rate, betas=BETAS, weight_decay=WEIGHT_DECAY, fused=True
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: learning_rate_factor(step, plan.steps, plan.warmup_steps)
    )
    model.train()
    for step in range(plan.steps):
        token_BT = row_BT[step * plan.rows : (step + 1) * plan.rows]
        hidden_BTD = model.model(input_ids=token_BT[:, :-1], use_cache=False).last_hidden_state
        target_N = token_BT[:, 1:].reshape(-1)
        logits_NV = model.lm_head(hidden_BTD.reshape(len(target_N), -1))
        loss = functional.cross_entropy(logits_NV, target_N, ignore_index=tokenizer.pad_token_id)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP_NORM)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if (step + 1) % REPORT_STEPS == 0 or step + 1 == plan.steps:
            sys.stdout.write(f"step {step + 1} {loss.item():.2f}\n")
            sys.stdout.flush()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.half())
    save_base_model(model, tokenizer, folder / "models" / name)


if __name__ == "__main__":
    collect_rarely()
    pretrain(Path(sys.argv[1]), sys.argv[2])
