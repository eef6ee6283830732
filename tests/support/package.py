"""The package as users get it."""

import shutil
import subprocess
import sys
from pathlib import Path

from tests.support.mounting import ROOT
from uringfs import __version__

_BUILT = (".*", "build", "out", "out-*", "__pycache__", "*.so", "*.egg-info")


def sdist(home: Path) -> Path:
    """An sdist of this checkout, in the directory home."""
    shutil.copytree(ROOT, home / "tree", ignore=shutil.ignore_patterns(*_BUILT))
    command = [sys.executable, "-W", "ignore", "setup.py", "-q", "sdist", "--dist-dir", str(home)]
    done = subprocess.run(command, cwd=home / "tree", capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return home / f"uringfs-{__version__}.tar.gz"
