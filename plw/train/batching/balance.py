"""How a step's examples are laid out: which process takes which, and which go through the model together."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

IMBALANCE_TOLERANCE = 0.05
"""Tokens of two processes within a step count as even when they differ by no more than this share of the larger."""

SWAP_ROUNDS = 64
"""Swaps tried on a step that is not even; each narrows the gap, few are needed."""

MAX_KV_FACTOR = 4
"""Tokens that the examples of a micro-batch see at most, as a multiple of the token budget. Keys and values are
written once for each example that sees them, however few are computed."""

Places = NDArray[np.int64]


def assign_microbatches(
    length_E: Places, *, processes: int, token_budget: int, packed: bool, prefix_E: Places | None = None
) -> list[list[Places]]:
    """Micro-batches of one step by process, every process with the same number of them.

    A process with too few gets more by cutting its longest ones in two; where it has too few examples even for
    that, it gets empty ones, because every process has to take part in every collective.

    Args:
        length_E: tokens of each example.
        processes: how many share the step.
        token_budget: tokens of a micro-batch at most; no example may be longer.
        packed: tokens of a micro-batch are the sum of its lengths; else rows times the longest.
        prefix_E: tokens of the prefix that each example has in common with the one before it, if these are to count
            once in a micro-batch; examples with a common prefix are then neighbours.

    Returns:
        ``[process][micro-batch]`` -> places in ``length_E``.
    """
    parts_by_rank = []
    for share in balance_across_ranks(length_E if prefix_E is None else length_E - prefix_E, processes):
        if prefix_E is None:
            parts = micro_batches(length_E[share], token_budget, packed=packed)
        else:
            parts = neighbours(length_E[share], _prefixes_among(share, prefix_E), token_budget)
        parts_by_rank.append([share[part] for part in parts])
    most = max(len(parts) for parts in parts_by_rank)
    return [_cut_into(parts, most, length_E) for parts in parts_by_rank]


def balance_across_ranks(length_E: Places, processes: int) -> list[Places]:
    """Split places so that tokens per process differ by no more than 5% where that is found.

    Longest first to whoever has least; then, while the step is not even, the swap or move between the fullest and
    the emptiest process that narrows their gap most. Places keep their order within a process.
    """
    if processes == 1:
        return [np.arange(len(length_E), dtype=np.int64)]
    lengths = length_E.tolist()
    shares: list[list[int]] = [[] for _ in range(processes)]
    tokens = [0] * processes
    for place in np.argsort(-length_E, kind="stable").tolist():
        least = tokens.index(min(tokens))
        shares[least].append(place)
        tokens[least] += lengths[place]
    for _ in range(SWAP_ROUNDS):
        most, least = tokens.index(max(tokens)), tokens.index(min(tokens))
        gap = tokens[most] - tokens[least]
        if gap <= IMBALANCE_TOLERANCE * tokens[most] or not _narrow(shares[most], shares[least], lengths, gap):
            break
        for process in (most, least):
            tokens[process] = sum(lengths[place] for place in shares[process])
    return [np.array(sorted(share), dtype=np.int64) for share in shares]


def micro_batches(length_E: Places, token_budget: int, *, packed: bool = False) -> list[Places]:
    """Split examples so that each part stays within the budget, padded to its longest or packed without padding.

    The longest come first, so that memory peaks at once and, padded, neighbours are of like length. Packed, an example
    goes into the first part that still has room for it.
    """
    parts: list[list[int]] = []
    room: list[int] = []
    for index in np.argsort(-length_E, kind="stable").tolist():
        length = int(length_E[index])
        first = 0 if packed else max(0, len(parts) - 1)
        for part in range(first, len(parts)):
            # Padded, an example takes as many tokens as the part's first and longest.
            taken = length if packed else int(length_E[parts[part][0]])
            if room[part] >= taken:
                parts[part].append(index)
                room[part] -= taken
                break
        else:
            parts.append([index])
            room.append(token_budget - length)
    return [np.array(part, dtype=np.int64) for part in parts]


def neighbours(length_E: Places, prefix_E: Places, token_budget: int) -> list[Places]:
    """Cut the examples, in their order, where the next one's own tokens would exceed the budget.

    The first of a part brings all of its tokens, each other those beyond its common prefix with the one before.
    """
    parts: list[list[int]] = []
    room = seen = 0
    for index, (length, prefix) in enumerate(zip(length_E.tolist(), prefix_E.tolist(), strict=True)):
        seen += length
        if parts and room >= length - prefix and seen <= MAX_KV_FACTOR * token_budget:
            parts[-1].append(index)
            room -= length - prefix
        else:
            parts.append([index])
            room, seen = token_budget - length, length
    return [np.array(part, dtype=np.int64) for part in parts]


def _prefixes_among(share: Places, prefix_E: Places) -> Places:
    """Prefix that each of the chosen has in common with the one chosen before it: the least on the way between them."""
    if len(share) < 2:
        return np.zeros(len(share), dtype=np.int64)
    return np.array([0, *np.minimum.reduceat(prefix_E[: share[-1] + 1], share[:-1] + 1)], dtype=np.int64)


def _narrow(fuller: list[int], emptier: list[int], lengths: Sequence[int], gap: int) -> bool:
    """Swap two places, or move one, so that the gap shrinks most; False if nothing shrinks it."""
    mine, theirs = np.array([lengths[p] for p in fuller]), np.array([*(lengths[p] for p in emptier), 0])
    # The last column stands for nothing in return: a move.
    left_EE = np.abs(gap - 2 * (mine[:, None] - theirs[None, :]))
    row, column = divmod(int(left_EE.argmin()), len(theirs))
    # Where the fuller has but one, to move it leaves no less than there was: nobody is left without.
    if left_EE[row, column] >= gap:
        return False
    given = fuller.pop(row)
    if column < len(emptier):
        fuller.append(emptier.pop(column))
    emptier.append(given)
    return True


def _cut_into(parts: list[Places], number: int, length_E: Places) -> list[Places]:
    parts = list(parts)
    while len(parts) < number:
        sizes = [int(length_E[part].sum()) if len(part) > 1 else 0 for part in parts]
        if not any(sizes):
            parts += [np.array([], dtype=np.int64)] * (number - len(parts))
            break
        heaviest = sizes.index(max(sizes))
        part = parts[heaviest]
        parts[heaviest : heaviest + 1] = [part[: len(part) // 2], part[len(part) // 2 :]]
    return parts
