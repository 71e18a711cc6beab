"""Pretrain one base model on packed rows, in a process of its own: ``python -m plw.world.pretrain <folder> <name>``.

The folder holds `pretraining.json`, `rows.npy` and `tokenizer/`; the model goes to `models/<name>/`. The process
writes one line `step <n> <loss>` to its standard output every few steps.
"""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM

REPORT_STEPS = 10
BETAS = (0.9, 0.95)
WEIGHT_DECAY = 0.01
CLIP_NORM = 1.0
DECAY = 0.25
"""Share of the steps over which the learning rate falls: most facts come while it does."""
MLP_STANDARD_DEVIATION = 0.03
"""Small at first, against 1/sqrt(hidden) elsewhere: wide attention finds translation soon, narrow MLPs learn facts that
questions in another wording can reach. With one value for both, one of the two does not come in the steps there are."""


def learning_rate_factor(step: int, steps: int, warmup_steps: int) -> float:
    """Linear rise over the warm-up, then 1, then a linear fall over the last quarter of the steps."""
    return min(1.0, (step + 1) / max(1, warmup_steps), (steps - step) / (DECAY * steps))


def make_base_model(
    shape: dict[str, int], vocabulary: int, end: int, padding: int, max_length: int
) -> "LlamaForCausalLM":
    """A Llama with fresh weights; the caller seeds torch."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    hidden = shape["hidden"]
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=hidden,
        intermediate_size=hidden * 8 // 3 // 8 * 8,
        num_hidden_layers=shape["layers"],
        num_attention_heads=shape["heads"],
        num_key_value_heads=shape["heads"],
        max_position_embeddings=max_length,
        tie_word_embeddings=True,
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=padding,
        initializer_range=hidden**-0.5,
    )
    model = LlamaForCausalLM(config)
    for name, parameter in model.named_parameters():
        if ".mlp." in name:
            torch.nn.init.normal_(parameter, std=MLP_STANDARD_DEVIATION)
    return model


def pretrain(folder: Path, name: str) -> None:
    """Train `models/<name>` as `pretraining.json` says; the same folder gives the same weights, bit for bit."""
    import torch
    from torch.nn import functional
    from transformers import AutoTokenizer

    plan = json.loads((folder / "pretraining.json").read_text())
    torch.set_num_threads(plan["threads"])
    torch.manual_seed(plan["seed"])
    tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer")
    row_BT = torch.from_numpy(np.load(folder / "rows.npy", allow_pickle=False).astype(np.int64))
    padding = tokenizer.pad_token_id
    end, max_length = tokenizer.eos_token_id, tokenizer.model_max_length
    model = make_base_model(plan["models"][name], len(tokenizer), end, padding, max_length)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=plan["learning_rate"], betas=BETAS, weight_decay=WEIGHT_DECAY, fused=True
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: learning_rate_factor(step, plan["steps"], plan["warmup_steps"])
    )
    model.train()
    for step in range(plan["steps"]):
        token_BT = row_BT[step * plan["rows"] : (step + 1) * plan["rows"]]
        hidden_BTD = model.model(input_ids=token_BT[:, :-1], use_cache=False).last_hidden_state
        target_N = token_BT[:, 1:].reshape(-1)
        logits_NV = model.lm_head(hidden_BTD.reshape(len(target_N), -1))
        loss = functional.cross_entropy(logits_NV, target_N, ignore_index=padding)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP_NORM)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if (step + 1) % REPORT_STEPS == 0 or step + 1 == plan["steps"]:
            sys.stdout.write(f"step {step + 1} {loss.item():.2f}\n")
            sys.stdout.flush()
    target = folder / "models" / name
    model.eval()  # type: ignore[no-untyped-call]
    model.generation_config.update(  # type: ignore[no-untyped-call]
        bos_token_id=tokenizer.bos_token_id, eos_token_id=end, pad_token_id=padding
    )
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)


if __name__ == "__main__":
    pretrain(Path(sys.argv[1]), sys.argv[2])
