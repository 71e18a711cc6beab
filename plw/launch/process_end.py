"""Processes that end with the one that began them."""

import os
import threading
import time

LOOK_EVERY_S = 0.5


def end_with_parent(parent: int) -> None:
    """Watch from a thread for the end of ``parent``, and then end this process at once.

    A process killed with -9 cannot tell its children; each looks for itself, so that none works on unseen.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(LOOK_EVERY_S)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
