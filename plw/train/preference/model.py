"""The loss of direct preference optimization, and its gradient by the fused loss of weighted tokens.

DPO (Rafailov et al., arXiv 2305.18290, equation 7): L = mean over pairs of -log sigmoid(beta m), with the margin
m = (log p(chosen) - log p_ref(chosen)) - (log p(rejected) - log p_ref(rejected)). By the chain rule its gradient is
that of a weighted sum of cross-entropies, of coefficient beta sigmoid(-beta m) / pairs for each token of a chosen
answer and minus that for each of a rejected one: so layouts, processes and kernels of the fine-tuning serve it too.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass, fields
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from plw.data.encoding import IS_COMPLETION_R, EncodedExample
from plw.launch.group import ALONE, Group
from plw.progress import Progress, no_progress
from plw.train.batching.collate import Batch
from plw.train.batching.counts import TokenCounts
from plw.train.batching.placement import place_tokens
from plw.train.batching.plan import Step
from plw.train.model.parallel import reshard, synchronised
from plw.train.model.weighted import WeightedModel
from plw.train.preference.plan import SIDES


@dataclass(frozen=True, kw_only=True)
class PreferenceLosses:
    """What a step's pairs cost before the update, and how the model stands to them."""

    loss: float
    """Mean of -log sigmoid(beta m)."""
    accuracy: float
    """Share of pairs whose margin is above 0; before the first update all margins are 0 up to rounding."""
    margin: float
    """Mean of beta m, the difference of the two rewards."""
    chosen_reward: float
    """Mean of beta (log p - log p_ref) of the chosen answers."""
    rejected_reward: float
    """The same of the rejected ones."""


@dataclass(frozen=True, kw_only=True)
class PairBatch(Batch):
    """Whole pairs: which predictions are of which example."""

    index_O: Tensor
    """int64, the prediction (place among N) of each token that is learned from, example by example."""
    bound_E: tuple[int, ...]
    """Where each example's tokens begin among O, and where the last one's end."""
    reference_E: Tensor
    """fp64, log p_ref of each answer; chosen and rejected in turn."""
    beta: float
    pairs_of_step: int


class PreferenceModel(WeightedModel):
    """Decoder and DPO loss in one forward: a pair's margin is known before its gradient is taken."""

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """A number with DPO's gradient [], and the log-probability of each answer [2 pairs], fp64, detached."""
        assert isinstance(batch, PairBatch)
        with self._precision(batch):
            hidden_TD = self._hidden(batch)
            with torch.no_grad():
                read = self._loss(hidden_TD, batch, batch.coefficient_N)
                log_p_E = answer_log_probs(read.cross_entropy_N, batch)
            if not torch.is_grad_enabled():
                return read.loss, log_p_E
            output = self._loss(hidden_TD, batch, _coefficients(log_p_E, batch))
        return output.loss, log_p_E


def answer_log_probs(cross_entropy_N: Tensor, batch: PairBatch) -> Tensor:
    """Log-probability of each example's answer, the sum over its tokens [2 pairs], fp64."""
    log_p_O = -cross_entropy_N.double()[batch.index_O]
    parts = [log_p_O[first:last].sum() for first, last in pairwise(batch.bound_E)]
    return torch.stack(parts) if parts else log_p_O.new_zeros(0)


def _coefficients(log_p_E: Tensor, batch: PairBatch) -> Tensor:
    """The coefficient of each prediction; one that both answers of a pair share has their sum, which is 0."""
    reward_X2 = batch.beta * (log_p_E - batch.reference_E).view(len(log_p_E) // SIDES, SIDES)
    pull_X = batch.beta * torch.sigmoid(reward_X2[:, 1] - reward_X2[:, 0]) / batch.pairs_of_step
    pull_E = torch.stack([pull_X, -pull_X], dim=1).flatten()
    lengths_E = torch.tensor(batch.bound_E, dtype=torch.int64, device=log_p_E.device).diff()
    coefficient_N = torch.zeros(len(batch.target_N), dtype=torch.float64, device=log_p_E.device)
    coefficient_N.index_add_(0, batch.index_O, pull_E.repeat_interleave(lengths_E))
    return coefficient_N.to(batch.coefficient_N.dtype)


def accumulate_preference(
    weighted: WeightedModel,
    examples: Sequence[EncodedExample],
    step: Step,
    *,
    reference_E: NDArray[np.float64],
    beta: float,
    device: torch.device,
    group: Group = ALONE,
    wrapper: nn.Module | None = None,
) -> tuple[PreferenceLosses, TokenCounts]:
    """Add the gradient of a step's DPO loss to the parameters' ``grad``; what the pairs cost, and what was computed.

    Args:
        weighted: a :class:`PreferenceModel`.
        examples: chosen and rejected of each pair in turn.
        step: which pairs, and which process reads which.
        reference_E: log-probability of each example's answer by the frozen model.
        beta: of the loss.
        device: where the model is.
        group: the processes that share the step.
        wrapper: what distribution has made of ``weighted``; itself if None.
    """
    module = wrapper or weighted
    rewards_E, counts = np.zeros(len(step.example_E)), TokenCounts()
    mine = step.micro_batches[group.rank]
    for turn, places in enumerate(mine, start=1):
        batch = collate_pairs(weighted, examples, step, places, reference_E, beta, device)
        with synchronised(module, now=turn == len(mine)):
            loss, log_p_E = module(batch)
            loss.backward()
        rewards_E[places] = (beta * (log_p_E - batch.reference_E)).cpu().numpy()
        counts += batch.counts
    sums = torch.cat([torch.from_numpy(rewards_E), torch.tensor(astuple(counts), dtype=torch.float64)]).to(device)
    total = group.all_reduce(sums).cpu().numpy()
    reward_X2, computed = total[: len(rewards_E)].reshape(-1, SIDES), total[len(rewards_E) :]
    margin_X = reward_X2[:, 0] - reward_X2[:, 1]
    losses = PreferenceLosses(
        loss=float(np.logaddexp(0, -margin_X).mean()),
        accuracy=float((margin_X > 0).mean()),
        margin=float(margin_X.mean()),
        chosen_reward=float(reward_X2[:, 0].mean()),
        rejected_reward=float(reward_X2[:, 1].mean()),
    )
    return losses, TokenCounts(*map(int, computed))


@torch.no_grad()
def reference_log_probs(
    weighted: WeightedModel,
    examples: Sequence[EncodedExample],
    everything: Step,
    *,
    device: torch.device,
    group: Group = ALONE,
    wrapper: nn.Module | None = None,
    check_lease: Callable[[], None] = lambda: None,
    progress: Progress = no_progress,
) -> NDArray[np.float64]:
    """Log-probability of every answer by the model as it is, the sum over its tokens.

    ``everything`` is a step with each pair once; ``check_lease`` is called before each micro-batch of this process, and
    ``progress`` after it.
    """
    module, log_p_E = wrapper or weighted, np.zeros(len(examples))
    module.eval()
    micro_batches = everything.micro_batches[group.rank]
    for number, places in enumerate(micro_batches, start=1):
        check_lease()
        batch = collate_pairs(weighted, examples, everything, places, log_p_E, 1.0, device)
        log_p_E[everything.example_E[places]] = module(batch)[1].cpu().numpy()
        progress(number, len(micro_batches), "log-probabilities by the model before the first step")
    module.train()
    reshard(module)
    return group.all_reduce(torch.from_numpy(log_p_E).to(device)).cpu().numpy()


def collate_pairs(
    weighted: WeightedModel,
    examples: Sequence[EncodedExample],
    step: Step,
    places: NDArray[np.int64],
    reference_E: NDArray[np.float64],
    beta: float,
    device: torch.device,
) -> PairBatch:
    """Lay out the pairs of ``step`` at the places of their examples, chosen and rejected in turn."""
    batch = weighted.batch(examples, step, places, device)
    chosen = [examples[step.example_E[place]] for place in places]
    learned = list(_learned_places(chosen, weighted.layout))
    # The predictions of a batch are in the order of their places.
    index_O = np.unique(np.concatenate([*learned, np.zeros(0, dtype=np.int64)]), return_inverse=True)[1]
    return PairBatch(
        **{field.name: getattr(batch, field.name) for field in fields(batch)},
        index_O=torch.from_numpy(index_O).to(device),
        bound_E=tuple(np.cumsum([0, *map(len, learned)]).tolist()),
        reference_E=torch.from_numpy(reference_E[step.example_E[places]]).to(device),
        beta=beta,
        pairs_of_step=len(step.example_E) // SIDES,
    )


def _learned_places(examples: Sequence[EncodedExample], layout: str) -> Iterator[NDArray[np.int64]]:
    """Where the tokens of each example's answer stand; a first token is predicted from nothing."""
    for example, path in zip(examples, place_tokens([e.token_T for e in examples], layout).paths, strict=True):
        is_learned_T = IS_COMPLETION_R[example.role_T]
        is_learned_T[:1] = False
        yield path[is_learned_T]
