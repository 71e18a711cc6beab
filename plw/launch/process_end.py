"""Processes that end with the one that began them, and what it says of a process that a signal has ended."""

import os
import signal
import threading
import time

LOOK_EVERY_S = 0.5


def signal_words(number: int) -> str:
    """The signal that ended a process, by name; and why that may be, where it is one that nobody handles."""
    try:
        name = signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
    return f"{name}, by hand or for want of memory" if number == signal.SIGKILL else name


def end_with_parent(parent: int) -> None:
    """Watch from a thread for the end of ``parent``, and then end this process at once.

    A process killed with -9 cannot tell its children; each looks for itself, so that none works on unseen.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(LOOK_EVERY_S)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
