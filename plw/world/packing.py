"""Documents packed into rows of fixed length: no document is cut, and little is padded."""

from collections.abc import Iterable, Sequence
from itertools import islice

import numpy as np
import numpy.typing as npt

LOOKAHEAD = 64
"""Documents among which the next one that fits is sought; small, so that the corpus keeps its order."""


def pack(documents: Iterable[Sequence[int]], rows: int, row_tokens: int, padding: int) -> npt.NDArray[np.int32]:
    """As many documents as fill `rows` rows, as an array [rows, row_tokens]; the free ends hold `padding`.

    Raises:
        ValueError: a document is longer than a row, or there are too few documents.
    """
    packed_BT = np.full((rows, row_tokens), padding, dtype=np.int32)
    following = iter(documents)
    waiting = list(islice(following, LOOKAHEAD))
    for row in range(rows):
        used = 0
        while True:
            chosen = next((index for index, one in enumerate(waiting) if used + len(one) <= row_tokens), None)
            if chosen is None:
                break
            document = waiting.pop(chosen)
            packed_BT[row, used : used + len(document)] = document
            used += len(document)
            waiting.extend(islice(following, 1))
        if not used:
            raise ValueError("a document is longer than a row" if waiting else "too few documents for the rows")
    return packed_BT
