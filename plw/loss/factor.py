"""The factor g of a token's term: a number from the model's own prediction of that token, without a gradient.

DFT (arXiv 2508.05629) is p; p ** k, and thresholds on p, are of arXiv 2510.00526; ProFit (2601.09195) masks tokens of
low p; EAFT (2601.02151) takes the entropy of the twenty most probable tokens; focal loss is (1 - p) ** k (1708.02002).
"""

import torch
from torch import Tensor

from plw.config.loss import FactorConfig


def token_factor(factor: FactorConfig, cross_entropy_L1: Tensor, entropy_L1: Tensor | None) -> Tensor:
    """G of each row, [rows, 1].

    Args:
        factor: its kind and numbers.
        cross_entropy_L1: -log p of each row's token, in nats.
        entropy_L1: from ``entropy``; needed by the kind ``entropy`` alone.
    """
    # Rounding may leave a cross-entropy of -1e-7: its p would lie above 1.
    log_p_L1 = -cross_entropy_L1.clamp(min=0)
    if factor.kind == "power":
        return (factor.exponent * log_p_L1).exp()
    if factor.kind == "focal":
        return (-log_p_L1.expm1()).pow(factor.exponent)
    if factor.kind == "threshold":
        p_L1 = log_p_L1.exp()
        return ((p_L1 >= factor.low) & (p_L1 <= factor.high)).to(p_L1.dtype)
    if factor.kind == "entropy" and entropy_L1 is not None:
        return (entropy_L1.clamp(min=0) / factor.divisor).pow(factor.exponent)
    return torch.ones_like(cross_entropy_L1)


def entropy(logit_LV: Tensor, top: int | None = None) -> Tensor:
    """Entropy of each row's softmax in nats, [rows, 1]; of its ``top`` greatest logits alone if given."""
    if top is not None:
        logit_LV = logit_LV.topk(min(top, logit_LV.shape[1]), dim=1).values
    mean_L: Tensor = torch.linalg.vecdot(logit_LV.softmax(dim=1), logit_LV)
    return logit_LV.logsumexp(dim=1, keepdim=True) - mean_L[:, None]
