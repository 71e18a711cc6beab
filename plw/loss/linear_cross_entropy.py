"""Weighted linear cross-entropy: projection to the vocabulary, cross-entropy and coefficients in one operation.

Rows of coefficient 0 never reach the projection, and no [tokens, vocabulary] tensor is ever whole in memory.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from plw.config.loss import FactorConfig
from plw.loss.factor import entropy, token_factor

CHUNK_BYTES = 64 << 20
"""Size of one chunk's logits on a CPU, in the type of the product."""
CHUNK_ROWS = {"cpu": 256, "cuda": 2048}
"""Rows of a chunk at least, on a CPU in fp32 (in bf16 twice as many). Each chunk reads and writes the whole gradient of
the head's weight: with few rows that costs as much as the products themselves, the sooner the faster these are."""
WIDE_ROWS = 64
"""Rows of a bf16 chunk that are fp32 at a time on a CPU; on a GPU all of them are."""
TINY = torch.finfo(torch.float32).tiny


@dataclass(frozen=True, kw_only=True)
class LossOutput:
    """The loss, and what its rows cost before any weight."""

    loss: Tensor
    """Scalar, sum of coefficient * factor * (smoothed) cross-entropy, with a gradient."""
    cross_entropy_N: Tensor
    """Cross-entropy of each computed row, in nats, without weight, factor or smoothing; detached, fp32 (fp64 for
    fp64)."""
    computed_N: Tensor
    """Which rows of the hidden states were computed, int64: those of coefficient not 0, ascending, or ``row_N``."""


def weighted_linear_cross_entropy(
    hidden_TD: Tensor,
    weight_VD: Tensor,
    target_T: Tensor,
    coefficient_T: Tensor,
    *,
    row_N: Tensor | None = None,
    bias_V: Tensor | None = None,
    chunk: int | None = None,
    softcap: float | None = None,
    logit_scale: float = 1.0,
    label_smoothing: float = 0.0,
    factor: FactorConfig | None = None,
) -> LossOutput:
    """Sum over rows t of coefficient_t * CE(softmax(z_t), target_t), z_t = cap(scale * (weight @ hidden_t + bias)).

    With a factor, sum of coefficient_t * g_t * CE_t: g_t is of the row's own logits and has no gradient.

    Row t of ``hidden_TD`` predicts ``target_T[t]``: the caller has shifted. Logits, cross-entropy and sums are fp32,
    also where the matrix products are bf16 (under autocast, or bf16 inputs). The gradients are computed in the forward,
    so nothing is kept or computed twice; a second derivative does not exist. What needs no gradient (a frozen head, any
    input under ``no_grad``) costs nothing.

    Args:
        hidden_TD: final hidden states [tokens, width].
        weight_VD: the head's weight [vocabulary, width].
        target_T: int64 token to predict per row; not read where the coefficient is 0.
        coefficient_T: c_t per row.
        row_N: int64, the rows of the hidden states to compute, where the caller knows them; target and coefficient
            then are theirs, [N]. A row may come several times with a target each, where examples that begin alike part.
        bias_V: the head's bias [vocabulary].
        chunk: rows projected at a time at most, chosen by ``chunk_rows`` if None; changes the result by rounding alone.
        softcap: cap(z) = softcap * tanh(z / softcap), the final soft-capping of Gemma 2 (arXiv 2408.00118, section 2).
        logit_scale: multiplies the logits, before the cap (Cohere's ``logit_scale``; 1 / Granite's ``logits_scaling``).
        label_smoothing: share of the target's mass that is spread over the whole vocabulary, as
            ``torch.nn.functional.cross_entropy`` does.
        factor: g; None or one of kind ``none``: 1.
    """
    if row_N is None:
        row_N = coefficient_T.nonzero().squeeze(1)
        target_T, coefficient_T = target_T[row_N], coefficient_T[row_N]
    loss, cross_entropy_N = _WeightedLinearCrossEntropy.apply(  # type: ignore[no-untyped-call]
        hidden_TD.index_select(0, row_N),
        weight_VD,
        bias_V,
        target_T,
        coefficient_T,
        _Options(
            chunk=chunk,
            softcap=softcap,
            logit_scale=logit_scale,
            label_smoothing=label_smoothing,
            factor=None if factor is None or factor.kind == "none" else factor,
            # Inside a Function's forward gradients are always off, and its inputs do not tell of no_grad.
            gradients=torch.is_grad_enabled(),
        ),
    )
    return LossOutput(loss=loss, cross_entropy_N=cross_entropy_N, computed_N=row_N)


def chunk_rows(vocabulary: int, device: str, product: torch.dtype) -> int:
    """Rows whose logits fill ``CHUNK_BYTES``, but no fewer than ``CHUNK_ROWS``."""
    least = CHUNK_ROWS["cuda"] if device != "cpu" else CHUNK_ROWS["cpu"] * 4 // product.itemsize
    return max(least, CHUNK_BYTES // (product.itemsize * vocabulary))


@dataclass(frozen=True, kw_only=True)
class _Options:
    chunk: int | None
    softcap: float | None
    logit_scale: float
    label_smoothing: float
    factor: FactorConfig | None
    gradients: bool


class _WeightedLinearCrossEntropy(torch.autograd.Function):
    """The gradient is linear in the incoming one, so the forward computes it and the backward scales it."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden_ND: Tensor,
        weight_VD: Tensor,
        bias_V: Tensor | None,
        target_N: Tensor,
        coefficient_N: Tensor,
        options: _Options,
    ) -> tuple[Tensor, Tensor]:
        needs_hidden, needs_weight, needs_bias = (options.gradients and needed for needed in ctx.needs_input_grad[:3])
        needs_slope = needs_hidden or needs_weight or needs_bias
        device = hidden_ND.device.type
        product = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden_ND.dtype
        total = torch.promote_types(product, torch.float32)
        is_short = product == torch.float16
        head_VD, coefficient_N1 = weight_VD.to(product), coefficient_N[:, None].to(total)
        loss_N, cross_entropy_N = coefficient_N1.new_empty(2, len(target_N)).unbind()
        grad_hidden_ND = torch.empty_like(hidden_ND, dtype=_kept(hidden_ND)) if needs_hidden else None
        grad_weight_VD = torch.empty_like(weight_VD, dtype=total) if needs_weight else None
        grad_bias_V = torch.zeros_like(bias_V, dtype=total) if needs_bias and bias_V is not None else None
        if grad_weight_VD is not None and len(target_N) == 0:
            grad_weight_VD.zero_()
        chunk = _even(len(target_N), options.chunk or chunk_rows(len(weight_VD), device, product))
        room = _Room(chunk, head_VD, total, weight_gradient=needs_weight)
        with torch.autocast(device, enabled=False):
            for first in range(0, len(target_N), max(1, chunk)):
                part = slice(first, first + chunk)
                hidden_LD, scale_L1 = hidden_ND[part].to(product), coefficient_N1[part].clone()
                slope_LV = torch.mm(hidden_LD, head_VD.T, out=room.logit_LV[: len(hidden_LD)])
                for rows in room.blocks(len(hidden_LD)):
                    at = slice(first + rows.start, first + rows.stop)
                    exact_RV = room.widened(slope_LV[rows])
                    loss_N[at], cross_entropy_N[at], slope_RV = _loss_and_slope(
                        exact_RV, scale_L1[rows], target_N[at, None], bias_V, options, needs_slope, is_short
                    )
                    if slope_RV is None:
                        continue
                    if grad_bias_V is not None:
                        grad_bias_V += slope_RV.T @ scale_L1[rows].squeeze(1)
                    if room.widens or slope_RV is not exact_RV:
                        slope_LV[rows] = slope_RV
                # The gradient is scale * slope: rows are scaled where they are D wide, not V wide.
                if grad_hidden_ND is not None:
                    grad_hidden_ND[part] = (slope_LV @ head_VD).to(total).mul_(scale_L1).to(grad_hidden_ND.dtype)
                if grad_weight_VD is not None:
                    # A step's coefficients may all lie below what fp16 holds.
                    size = scale_L1.abs().amax().clamp(min=TINY) if is_short else None
                    scaled_LD = (hidden_ND[part] * (scale_L1 if size is None else scale_L1 / size)).to(product)
                    _add_product(grad_weight_VD, slope_LV.T, scaled_LD, room.product_VD, size, new=first == 0)
        ctx.dtypes = [None if leaf is None else leaf.dtype for leaf in (hidden_ND, weight_VD, bias_V)]
        ctx.save_for_backward(
            grad_hidden_ND,
            None if grad_weight_VD is None else grad_weight_VD.to(_kept(weight_VD)),
            None if grad_bias_V is None or bias_V is None else grad_bias_V.to(_kept(bias_V)),
        )
        ctx.mark_non_differentiable(cross_entropy_N)
        return (loss_N * coefficient_N1.squeeze(1)).sum(), cross_entropy_N

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_loss: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        # On a CPU reading the factor is free and copying a head's gradient is not; on CUDA it is the other way round.
        if grad_loss.is_cpu and grad_loss == 1 and torch.float16 not in ctx.dtypes:
            return (*ctx.saved_tensors, None, None, None)
        scaled = [
            None if grad is None else (grad * grad_loss.to(grad.dtype)).to(dtype)
            for grad, dtype in zip(ctx.saved_tensors, ctx.dtypes, strict=True)
        ]
        return (*scaled, None, None, None)


def _kept(leaf: Tensor) -> torch.dtype:
    """The type in which a leaf's gradient waits for the incoming one.

    fp16 is too short for it: who trains in fp16 multiplies the loss, so that gradients do not vanish.
    """
    return torch.float32 if leaf.dtype == torch.float16 else leaf.dtype


def _even(rows: int, limit: int) -> int:
    """Rows of a chunk: as many chunks as the limit asks for, of one size.

    A short last one would run its products at a fraction of their speed.
    """
    return -(-rows // max(1, -(-rows // limit)))


class _Room:
    """Memory for all chunks in turn: fresh memory of this size costs more than the softmax in it."""

    def __init__(self, chunk: int, head_VD: Tensor, total: torch.dtype, *, weight_gradient: bool) -> None:
        self.widens = head_VD.dtype != total
        in_parts = self.widens and not head_VD.is_cuda
        self._block = max(1, min(chunk, WIDE_ROWS) if in_parts else chunk)
        self.logit_LV = head_VD.new_empty(chunk, len(head_VD))
        self._wide_RV = head_VD.new_empty(self._block, len(head_VD), dtype=total) if self.widens else None
        # CUDA's kernels sum in the total's precision by themselves.
        self.product_VD = torch.empty_like(head_VD) if weight_gradient and in_parts else None

    def widened(self, logit_RV: Tensor) -> Tensor:
        """Some rows' logits in the total's precision; those of the rows before are gone."""
        return logit_RV if self._wide_RV is None else self._wide_RV[: len(logit_RV)].copy_(logit_RV)

    def blocks(self, rows: int) -> list[slice]:
        """The rows of a chunk, as many at a time as are made wide."""
        return [slice(first, min(first + self._block, rows)) for first in range(0, rows, self._block)]


def _loss_and_slope(
    product_RV: Tensor,
    scale_R1: Tensor,
    target_R1: Tensor,
    bias_V: Tensor | None,
    options: _Options,
    needs_slope: bool,
    is_short: bool,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Loss and plain cross-entropy of some rows, and their slope: the gradient by the product is scale * slope.

    ``product_RV`` is used up. ``scale_R1`` comes with the rows' coefficients and is made the scale in place.
    """
    _finish_logits(product_RV, bias_V, options)
    loss_R1, cross_entropy_R1, slope_RV, factor_R1 = _cross_entropy(product_RV, target_R1, options, needs_slope)
    if is_short and slope_RV is not None:
        # Softmax's denominator may be as large as the vocabulary, and so may the slope.
        size_R1 = slope_RV.abs().amax(dim=1, keepdim=True).clamp_(min=TINY)
        slope_RV /= size_R1
        factor_R1 *= size_R1
    scale_R1.mul_(factor_R1).mul_(options.logit_scale)
    return loss_R1.squeeze(1), cross_entropy_R1.squeeze(1), slope_RV


def _finish_logits(logit_LV: Tensor, bias_V: Tensor | None, options: _Options) -> None:
    """From the matrix product to the model's logits, in place."""
    if bias_V is not None:
        logit_LV += bias_V
    if options.logit_scale != 1:
        logit_LV *= options.logit_scale
    if options.softcap is not None:
        logit_LV.div_(options.softcap).tanh_().mul_(options.softcap)


def _cross_entropy(
    logit_LV: Tensor, target_L1: Tensor, options: _Options, needs_slope: bool
) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
    """Loss and plain cross-entropy per row, and the loss's derivative by the uncapped logits in two factors.

    Returns loss_L1, cross_entropy_L1, slope_LV and scale_L1: the derivative is scale * slope. Softmax's denominator
    stays in the scale, so that the large matrix, made in the place of the logits, is gone over fewer times.
    """
    smoothing, vocabulary = options.label_smoothing, logit_LV.shape[1]
    target_logit_L1 = logit_LV.gather(1, target_L1)
    mean_L1 = logit_LV.mean(dim=1, keepdim=True) if smoothing else target_logit_L1
    flatness_LV = None
    if needs_slope and options.softcap is not None:
        flatness_LV = 1 - (logit_LV / options.softcap).square_()
    top_L1 = logit_LV.amax(dim=1, keepdim=True)
    shifted_LV = logit_LV.sub_(top_L1)
    factor = options.factor
    entropy_L1 = None
    if factor is not None and factor.kind == "entropy" and factor.top is not None:
        entropy_L1 = entropy(shifted_LV, factor.top)
    if factor is not None and factor.kind == "entropy" and factor.top is None:
        # The exponentials serve twice; only this needs the logits beside them.
        slope_LV = shifted_LV.exp()
        sum_L1 = slope_LV.sum(dim=1, keepdim=True)
        entropy_L1 = sum_L1.log() - torch.linalg.vecdot(slope_LV, shifted_LV)[:, None] / sum_L1
    else:
        slope_LV = shifted_LV.exp_()
        sum_L1 = slope_LV.sum(dim=1, keepdim=True)
    norm_L1 = top_L1 + sum_L1.log()
    cross_entropy_L1 = norm_L1 - target_logit_L1
    loss_L1 = torch.lerp(cross_entropy_L1, norm_L1 - mean_L1, smoothing) if smoothing else cross_entropy_L1
    scale_L1 = sum_L1.reciprocal()
    if factor is not None:
        factor_L1 = token_factor(factor, cross_entropy_L1, entropy_L1)
        loss_L1, scale_L1 = loss_L1 * factor_L1, scale_L1.mul_(factor_L1)
    if not needs_slope:
        return loss_L1, cross_entropy_L1, None, scale_L1
    slope_LV.scatter_add_(1, target_L1, -(1 - smoothing) * sum_L1)
    if smoothing:
        slope_LV -= sum_L1 * (smoothing / vocabulary)
    if flatness_LV is not None:
        slope_LV *= flatness_LV
    return loss_L1, cross_entropy_L1, slope_LV, scale_L1


def _add_product(
    total_VD: Tensor, left_VL: Tensor, right_LD: Tensor, product_VD: Tensor | None, size: Tensor | None, *, new: bool
) -> None:
    """Add left @ right, in the total's precision as far as the device's kernels go; ``new`` overwrites the total.

    ``product_VD``: where the product goes first if its precision is not the total's; CUDA's kernels need none.
    ``size``: what the product is multiplied by, in the total's precision; None: 1.
    """
    if left_VL.dtype == total_VD.dtype:
        # With beta 0 the old content is not read, so nobody has to fill it with zeros.
        total_VD.addmm_(left_VL, right_LD, beta=0 if new else 1)
        return
    if product_VD is None:
        product_VD = torch.mm(left_VL, right_LD, out_dtype=total_VD.dtype)
    else:
        torch.mm(left_VL, right_LD, out=product_VD)
    if size is not None:
        product_VD = product_VD.to(total_VD.dtype) * size
    if new:
        total_VD.copy_(product_VD)
    else:
        total_VD += product_VD
