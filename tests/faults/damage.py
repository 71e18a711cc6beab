"""Files that are no longer what was written: cut, emptied, with a byte flipped, or full of zeros."""

import random
from pathlib import Path

WAYS = ("cut", "emptied", "a bit flipped", "a block of zeros")
BLOCK = 4096


def damage(path: Path, dice: random.Random) -> str:
    """Damage a file in place, as a disk or a crash does; the way."""
    content = bytearray(path.read_bytes())
    way = dice.choice(WAYS)
    if way == "cut":
        content = content[: dice.randrange(1, len(content))]
    elif way == "emptied":
        content.clear()
    elif way == "a bit flipped":
        content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
    else:
        start = dice.randrange(len(content))
        content[start : start + BLOCK] = bytes(len(content[start : start + BLOCK]))
    path.write_bytes(content)
    return way
