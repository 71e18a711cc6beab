"""The gradient of one optimizer step: the weighted loss of its micro-batches, one after the other."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from plw.config.loss import ROLES, FactorConfig
from plw.config.study import PADDED
from plw.data.encoding import EncodedExample
from plw.launch.group import ALONE, Group
from plw.loss.linear_cross_entropy import LossOutput, weighted_linear_cross_entropy
from plw.train.batching.collate import Batch, collate
from plw.train.batching.counts import TokenCounts
from plw.train.batching.last_rows import LastRows
from plw.train.batching.layout import Layout
from plw.train.batching.packed_row import PackedRow
from plw.train.batching.plan import Step
from plw.train.model.load import LoadedModel
from plw.train.model.parallel import reshard, synchronised


@dataclass(frozen=True, kw_only=True)
class StepLosses:
    """What a step cost before the update."""

    loss: float
    """Weighted: the number whose gradient is taken."""
    prompt_loss: float | None
    """Unweighted mean cross-entropy of the computed prompt tokens, in nats; None where none was computed."""
    completion_loss: float | None
    """The same of completion tokens."""


class WeightedModel(nn.Module):
    """Decoder and fused loss in one forward, so that what wraps it (DDP, FSDP) sees all of a micro-batch's work."""

    def __init__(
        self,
        loaded: LoadedModel,
        *,
        precision: str = "fp32",
        layout: str = PADDED,
        label_smoothing: float = 0.0,
        factor: FactorConfig | None = None,
        shorten_last_layer: bool = False,
    ) -> None:
        super().__init__()
        self.model = loaded.model
        self.loaded = loaded
        self.autocast = precision == "bf16-mixed"
        self.layout = layout
        self.shorten_last_layer = shorten_last_layer
        self.options: dict[str, Any] = {
            **loaded.head_options,
            "factor": factor,
            **({"label_smoothing": label_smoothing} if label_smoothing else {}),
        }

    def batch(
        self, examples: Sequence[EncodedExample], step: Step, micro_batch: NDArray[np.int64], device: torch.device
    ) -> Batch:
        """A micro-batch as this model wants it."""
        return collate(
            examples,
            step,
            micro_batch.tolist(),
            self.loaded.pad_id,
            device,
            layout=self.layout,
            shorten_last_layer=self.shorten_last_layer,
        )

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Loss [], and the cross-entropy of the batch's predictions [N]."""
        with self._precision(batch):
            output = self._loss(self._hidden(batch), batch, batch.coefficient_N)
        return output.loss, output.cross_entropy_N

    def _precision(self, batch: Batch) -> torch.autocast:
        return torch.autocast(batch.token_BT.device.type, dtype=torch.bfloat16, enabled=self.autocast)

    def _hidden(self, batch: Batch) -> Tensor:
        """The decoder's states, rows one after the other [tokens, width]."""
        decoder = self.loaded.decoder
        return hidden_states(decoder, batch.token_BT, batch.position_BT, batch.row, batch.last_rows).flatten(0, 1)

    def _loss(self, hidden_TD: Tensor, batch: Batch, coefficient_N: Tensor) -> LossOutput:
        """The fused loss of the batch's predictions with these coefficients."""
        return weighted_linear_cross_entropy(
            hidden_TD,
            self.loaded.head_weight_VD,
            batch.target_N,
            coefficient_N,
            row_N=batch.state_N,
            bias_V=self.loaded.head_bias_V,
            **self.options,
        )


def hidden_states(
    decoder: nn.Module,
    input_BT: Tensor,
    position_BT: Tensor | None = None,
    row: PackedRow | None = None,
    last_rows: LastRows | None = None,
) -> Tensor:
    """The decoder's output [rows, tokens, width], given tokens or embedded ones, in padded rows or one packed row.

    With ``last_rows``, [1, their places, width]; the decoder's last layer must be a shortened one.
    """
    layout: dict[str, Any] = {} if last_rows is None else {"last_rows": last_rows}
    if row is not None:
        layout |= {
            "packed_row": row,
            "position_ids": position_BT,
            # The same for layers that know transformers' own words for it: convolutions, linear attention.
            "cu_seq_lens_q": row.query_bound_E,
            "cu_seq_lens_k": row.key_bound_E,
            "max_length_q": row.longest_query,
            "max_length_k": row.longest_key,
        }
    layout["inputs_embeds" if input_BT.is_floating_point() else "input_ids"] = input_BT
    states: Tensor = decoder(use_cache=False, **layout).last_hidden_state
    return states


def accumulate_gradients(
    weighted: WeightedModel,
    examples: Sequence[EncodedExample],
    step: Step,
    *,
    device: torch.device,
    group: Group = ALONE,
    wrapper: nn.Module | None = None,
) -> tuple[StepLosses, TokenCounts]:
    """Add the gradient of ``step``'s loss to the parameters' ``grad``; its losses, and what was computed for them.

    The coefficients already hold every denominator, so micro-batches simply add up, however they are cut, and so do
    processes.

    Args:
        weighted: the model with its loss.
        examples: the dataset.
        step: what to learn from, and which process learns from what.
        device: where the model is.
        group: the processes that share the step.
        wrapper: what distribution has made of ``weighted``; itself if None.
    """
    mine = step.micro_batches[group.rank]
    sums, module = LossAccumulator(device), wrapper or weighted
    for turn, micro_batch in enumerate(mine, start=1):
        batch = weighted.batch(examples, step, micro_batch, device)
        with synchronised(module, now=turn == len(mine)):
            loss, cross_entropy_N = module(batch)
            loss.backward()
        sums.add(batch, loss.detach(), cross_entropy_N)
    return sums.of(group)


@torch.no_grad()
def held_out_losses(
    weighted: WeightedModel,
    examples: Sequence[EncodedExample],
    *,
    token_budget: int,
    device: torch.device,
    group: Group = ALONE,
    wrapper: nn.Module | None = None,
) -> StepLosses:
    """Mean losses on examples that are not learned from, dropout off; every token counts the same."""
    examples = [replace(example, weight_T=None) for example in examples]
    everything = Step(
        epoch=0,
        example_E=np.arange(len(examples)),
        coefficient_ER=np.ones((len(examples), len(ROLES))),
        micro_batches=Layout(
            weighted.layout, token_budget=token_budget, processes=group.size, examples=examples
        ).micro_batches(np.arange(len(examples))),
        tokens=0,
    )
    sums, module = LossAccumulator(device), wrapper or weighted
    module.eval()
    for micro_batch in everything.micro_batches[group.rank]:
        batch = weighted.batch(examples, everything, micro_batch, device)
        sums.add(batch, *module(batch))
    module.train()
    reshard(module)
    return sums.of(group)[0]


class LossAccumulator:
    """What a step's micro-batches add up to, on the device until the end: one transfer from it a step."""

    def __init__(self, device: torch.device) -> None:
        # Loss, then sum and count of cross-entropy for prompts and for completions.
        self._losses_5 = torch.zeros(5, dtype=torch.float64, device=device)
        self._counts = TokenCounts()

    def add(self, batch: Batch, loss: Tensor, cross_entropy_N: Tensor) -> None:
        counts_2N = torch.stack([batch.prompts_N, batch.completions_N]).double()
        sums_2 = counts_2N @ cross_entropy_N.double()
        self._losses_5 += torch.cat([loss.double()[None], torch.stack([sums_2, counts_2N.sum(dim=1)], dim=1).flatten()])
        self._counts += batch.counts

    def of(self, group: Group) -> tuple[StepLosses, TokenCounts]:
        """The sums over the group's processes, as means where they are means."""
        counts_C = torch.tensor(astuple(self._counts), dtype=torch.float64).to(self._losses_5.device)
        sums = group.all_reduce(torch.cat([self._losses_5, counts_C])).tolist()
        loss, prompt_sum, prompts, completion_sum, completions = sums[:5]
        losses = StepLosses(
            loss=loss,
            prompt_loss=prompt_sum / prompts if prompts else None,
            completion_loss=completion_sum / completions if completions else None,
        )
        return losses, TokenCounts(*map(int, sums[5:]))
