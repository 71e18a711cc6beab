"""The Minkowski penalty: factor * sum of |weight - base weight| ** p, its gradient added without a graph of its own."""

import torch
from torch import Tensor, nn

from plw.launch.group import ALONE, Group
from plw.train.model.parallel import local_tensor


class MinkowskiPenalty:
    """Pulls the trained weights towards where they stood when this was made.

    The sum runs over all trained numbers and is divided by nothing, so ``factor`` has to go with the model's size.
    The gradient is factor * p * |d| ** (p - 1) * sign(d), d the difference; 0 at d = 0, also for p = 1.
    """

    def __init__(self, model: nn.Module, *, p: float, factor: float) -> None:
        self.p, self.factor = p, factor
        self._pairs = [
            (parameter, local_tensor(parameter.detach()).clone())
            for parameter in model.parameters()
            if parameter.requires_grad
        ]

    @torch.no_grad()
    def add_gradient(self, group: Group = ALONE, *, sharded: bool = False) -> float:
        """Add the penalty's gradient to the parameters' ``grad``; the penalty."""
        sums: list[Tensor] = []
        for parameter, base in self._pairs:
            assert parameter.grad is not None
            difference = local_tensor(parameter).float() - base.float()
            size = difference.abs()
            slope = size.pow(self.p - 1)
            sums.append((size * slope).sum(dtype=torch.float64))
            local_tensor(parameter.grad).add_((slope * difference.sign()).to(base.dtype), alpha=self.factor * self.p)
        total = torch.stack(sums).sum()
        return self.factor * float(group.all_reduce(total) if sharded else total)
