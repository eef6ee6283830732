"""contrib/provision: what the Makefile installs, and what it says where it cannot."""

import os
import subprocess
from pathlib import Path

from tests.support.mounting import DEADLINE, ORDINARY, ROOT

PACKAGES = ROOT / "contrib/provision/packages.sh"


def test_a_package_that_apt_does_not_install_is_named(tmp_path: Path) -> None:
    """Where apt's lists do not know g++ it takes that for a pattern, installs nothing, and exits with 0."""
    for tool in ("apt-get", "apt-cache", "dpkg-query"):
        (tmp_path / tool).write_text("#!/bin/sh\n")
        (tmp_path / tool).chmod(0o755)
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run([PACKAGES, "base"], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "has not installed gcc" in done.stderr


def test_the_demo_as_an_ordinary_user() -> None:
    """In namespaces of its own, through the page cache; by itself it ends with nothing mounted and no daemon."""
    subprocess.run(["make", "-s", "-C", ROOT / "contrib/examples"], check=True)  # where that user may not write
    command = [*ORDINARY, "env", "HOME=/tmp", str(ROOT / "contrib/demo.sh")]
    done = subprocess.run(command, cwd="/", capture_output=True, text=True, timeout=3 * DEADLINE, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "backend pagecache" in done.stdout
    assert done.stdout.endswith("nothing mounted, no daemon left\n")
