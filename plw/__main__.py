"""The ``plw`` command, and ``python -m plw``: signals are handled before the imports, which take a second."""

import sys

from plw.launch.threads import spin_briefly
from plw.runtime.interrupt import Interrupted, interruptible
from plw.runtime.memory import collect_rarely


def start() -> None:
    """Run the command; SIGINT ends it with 130 and SIGTERM with 143, also while it is being imported."""
    try:
        with interruptible():
            spin_briefly()
            collect_rarely()
            from plw.cli import main

            main()
    except Interrupted as signal:
        print(signal.line, file=sys.stderr)  # noqa: T201
        sys.exit(signal.exit_code)


if __name__ == "__main__":
    start()
