"""A prompt weight in TRL's own trainer. Runs as it is: on a CPU, without a network, in less than a minute.

    python examples/trl_prompt_weight.py

Three lines differ from plain TRL: the import, `prompt_weight`, and `factor` if one is wanted. In a script of your own
`model` is a hub name or folder, and `data` your own.
"""

import tempfile
from pathlib import Path

from datasets import Dataset
from trl import SFTConfig

from plw.integrations import PromptWeightedSFTTrainer
from plw.testing.models import make_random_llama
from plw.testing.tokenizers import byte_level_tokenizer

data = Dataset.from_list(
    [
        {"prompt": f"### Instruction:\nAdd {a} and {b}.\n\n### Response:\n", "completion": f"{a} + {b} = {a + b}."}
        for a in range(1, 9)
        for b in range(1, 9)
    ]
)

with tempfile.TemporaryDirectory() as folder:
    tokenizer = byte_level_tokenizer(data["completion"][:] + data["prompt"][:])
    model = make_random_llama(Path(folder) / "model", tokenizer)
    for prompt_weight in (0.0, 0.1, 1.0):
        trainer = PromptWeightedSFTTrainer(
            model=str(model),
            args=SFTConfig(
                output_dir=f"{folder}/run",
                per_device_train_batch_size=8,
                gradient_accumulation_steps=2,
                max_steps=12,
                learning_rate=3e-3,
                logging_steps=4,
                save_strategy="no",
                report_to="none",
                use_cpu=True,
                bf16=False,
                disable_tqdm=True,
            ),
            train_dataset=data,
            prompt_weight=prompt_weight,
            # factor=FactorConfig(kind="power"),  # from plw.config; DFT beside the prompt weight
        )
        trainer.train()
        losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
        print(f"prompt weight {prompt_weight:g}: loss {losses[0]} -> {losses[-1]}")
