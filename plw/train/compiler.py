"""Whether torch.compile can compile here."""

import time

import torch

from plw.errors import UserError


def check_compiler(device: torch.device) -> None:
    """Compile a function of one line on ``device``; takes seconds.

    Raises:
        UserError: torch.compile fails, as where no C++ compiler is installed.
    """
    # A number of its own, so that no compiled function of earlier times is found in torch's caches.
    unique = time.time_ns() / 1e9
    try:
        torch.compile(lambda x: x * unique)(torch.ones(8, device=device))
    # The compilers raise what they like.
    except Exception as error:
        said = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise UserError(
            f"execution.compile=true, but torch.compile does not work here: {said}; install a C++ compiler and "
            "Python's headers (Debian: g++ and python3-dev), or leave it false"
        ) from error
