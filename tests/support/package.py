"""The package as users get it."""

import os
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


def wheel(home: Path) -> Path:
    """What `make wheel` makes for this Python, in the directory home, where sdist() has been."""
    script = home / "tree/contrib/provision/wheel.sh"
    env = {**os.environ, "PYTHON": sys.executable}
    done = subprocess.run([script, home / "made"], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (made,) = (home / "made").glob("*.whl")
    return made
