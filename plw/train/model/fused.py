"""Norm and feed-forward gate of known families with their gradients written out: fewer passes, and less kept for them.

torch's own products run at the processor's peak here; what is left are passes over memory. transformers' norm makes ten
in the backward pass and keeps the normalised states; its feed-forward keeps, of width F, gate, up, the activation and
the gated states.
"""

from collections.abc import Iterator
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

FAMILIES = ("Llama", "Mistral", "Qwen2", "Qwen3")
"""Families in transformers whose norm is weight * x / rms(x), and whose feed-forward is down(silu(gate) * up)."""


def fuse(model: nn.Module) -> list[Any]:
    """Give norms and feed-forwards of known families their fused forward; the changed modules, for :func:`unfuse`.

    On a CPU alone, the norm in fp32, the feed-forward in fp32 and bf16; elsewhere they compute what they did.
    """
    changed = []
    for module, forward in _fusible(model):
        module.forward = MethodType(forward, module)
        changed.append(module)
    return changed


def unfuse(changed: list[Any]) -> None:
    """Undo :func:`fuse`."""
    for module in changed:
        del module.forward


def _fusible(model: nn.Module) -> Iterator[tuple[Any, Any]]:
    module: Any
    for module in model.modules():
        if type(module).__module__.startswith("transformers.models."):
            name = type(module).__name__
            if name in [f"{family}RMSNorm" for family in FAMILIES]:
                yield module, _norm
            elif name in [f"{family}MLP" for family in FAMILIES] and module.config.hidden_act == "silu":
                yield module, _feed_forward


def _norm(self: Any, hidden_states: Tensor) -> Any:
    if not (hidden_states.is_cpu and hidden_states.dtype == self.weight.dtype == torch.float32):
        return type(self).forward(self, hidden_states)
    return _RMSNorm.apply(hidden_states, self.weight, self.variance_epsilon)  # type: ignore[no-untyped-call]


def _feed_forward(self: Any, hidden_states: Tensor) -> Any:
    gate, up = self.gate_proj(hidden_states), self.up_proj(hidden_states)
    if not (gate.is_cpu and gate.dtype == up.dtype and gate.dtype in (torch.float32, torch.bfloat16)):
        return self.down_proj(self.act_fn(gate) * up)
    down = self.down_proj
    if type(down) is not nn.Linear or down.bias is not None:
        return down(_SwiGLU.apply(gate, up))  # type: ignore[no-untyped-call]
    return _SwiGLUDown.apply(gate, up, down.weight.to(gate.dtype))


class _RMSNorm(torch.autograd.Function):
    """weight * x / sqrt(mean(x^2) + epsilon) (arXiv 1910.07467)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight_D: Tensor, epsilon: float) -> Tensor:
        # Autocast would take the squares' sum in bf16.
        with torch.autocast("cpu", enabled=False):
            mean = torch.linalg.vecdot(x, x).unsqueeze(-1).div_(x.shape[-1])
        inverse = mean.add_(epsilon).rsqrt_()
        ctx.save_for_backward(x, weight_D, inverse)
        normed: Tensor = x * inverse
        return normed.mul_(weight_D)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight_D, inverse = ctx.saved_tensors
        normed = x * inverse
        grad_weight_D = None
        if ctx.needs_input_grad[1]:
            grad_weight_D = torch.linalg.vecdot(grad.flatten(0, -2), normed.flatten(0, -2), dim=0)
        slope = grad * weight_D
        along = torch.linalg.vecdot(slope, normed).unsqueeze(-1).div_(-x.shape[-1])
        return slope.addcmul_(normed, along).mul_(inverse), grad_weight_D, None


class _SwiGLU(torch.autograd.Function):
    """silu(gate) * up (arXiv 2002.05202); the activation is computed again in the backward pass."""

    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor) -> Tensor:
        ctx.save_for_backward(gate, up)
        return F.silu(gate).mul_(up)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        gate, up = ctx.saved_tensors
        grad_gate = torch.ops.aten.silu_backward(grad * up, gate)
        return grad_gate, F.silu(gate).mul_(grad)


class _SwiGLUDown(torch.autograd.Function):
    """The same and its projection down; the gated states, a sixth of what would be kept, are computed again too.

    Products are those of torch's own backward pass of a linear layer, to the last bit.
    """

    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor, weight_DF: Tensor) -> Tensor:
        ctx.save_for_backward(gate, up, weight_DF)
        return F.linear(F.silu(gate).mul_(up), weight_DF)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        gate, up, weight_DF = ctx.saved_tensors
        active = F.silu(gate)
        grad_ND = grad.flatten(0, -2)
        grad_weight_DF = grad_ND.t() @ (active * up).flatten(0, -2) if ctx.needs_input_grad[2] else None
        grad_gated = (grad_ND @ weight_DF).view_as(gate)
        grad_up = active.mul_(grad_gated)
        return torch.ops.aten.silu_backward(grad_gated.mul_(up), gate), grad_up, grad_weight_DF
