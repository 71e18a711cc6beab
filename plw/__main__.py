"""``python -m plw`` is the ``plw`` command."""

from plw.cli import main

if __name__ == "__main__":
    main()
