"""Where torch's streams of random numbers stand, in JSON's types."""

import base64
from collections.abc import Iterable, Mapping


def random_state() -> dict[str, str]:
    """The state of the CPU's stream and, where there is CUDA, of the current GPU's; in base64."""
    import torch

    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    return {kind: base64.b64encode(state.numpy().tobytes()).decode() for kind, state in states.items()}


def has_streams(kinds: Iterable[str]) -> bool:
    """Whether this machine has streams of just these kinds."""
    import torch

    return set(kinds) == ({"cpu", "cuda"} if torch.cuda.is_available() else {"cpu"})


def restore_random_state(states: Mapping[str, str]) -> None:
    """Put the streams where :func:`random_state` found them."""
    import torch

    for kind, text in states.items():
        state = torch.frombuffer(bytearray(base64.b64decode(text)), dtype=torch.uint8)
        if kind == "cuda":
            torch.cuda.set_rng_state(state)
        else:
            torch.set_rng_state(state)
