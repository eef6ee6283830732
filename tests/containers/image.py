"""The image of contrib/oci/Containerfile, built on Debian userlands that are made here: no registry is asked."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from container import LIMITS

from tests.support.mounting import ROOT

BUILDING = 600.0  # seconds: packages are fetched, pyfuse3 is compiled
IN_BASE = "ca-certificates,fuse3,python3"
TO_BUILD = "gcc,libc6-dev,libfuse3-dev,pkg-config,python3-dev,python3-venv"
MIRROR = "http://deb.debian.org/debian"
RUN = ("podman", "--runtime", "runc", "run", "--rm", "--network", "none", "--log-driver", "none", *LIMITS)


def _must(*command: object) -> str:
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, timeout=BUILDING, check=False)
    assert done.returncode == 0, f"{words}: {done.stdout[-4000:]}{done.stderr[-4000:]}"
    return done.stdout


@contextmanager
def built(suite: str, home: Path) -> Iterator[str]:
    """The name of the image, on that release of Debian. It is gone behind the block."""
    base, image = f"localhost/uringfs-test-{suite}-base", f"localhost/uringfs-test-{suite}"
    archive = home / f"{suite}.tar"
    _must("mmdebstrap", "--variant=apt", f"--include={IN_BASE}", suite, archive)
    try:
        _must("podman", "import", archive, base)
        archive.unlink()
        how = ["--runtime", "runc", "build", "--network", "host", "--isolation", "chroot", "--layers=false"]
        # whom this machine trusts as an index of packages
        trusted = ["--volume", "/etc/ssl/certs:/etc/ssl/certs:ro"]
        recipe = ROOT / "contrib/oci/Containerfile"
        _must("podman", *how, *trusted, "--build-arg", f"BASE={base}", "--tag", image, "--file", recipe, ROOT)
        yield image
    finally:
        subprocess.run(["podman", "rmi", "--force", image, base], capture_output=True, check=False)


def unpacked(suite: str, packages: str, home: Path, variant: str = "essential") -> Path:
    """home/root: the files of that release of Debian with the packages. variant: of mmdebstrap."""
    archive, root = home / "root.tar", home / "root"
    # a mirror may be some weeks behind: what it has of a release that is not out yet has expired by then
    late = '--aptopt=Acquire::Check-Valid-Until "false"'
    source = f"deb {MIRROR} {suite} main"
    _must("mmdebstrap", f"--variant={variant}", late, f"--include={packages}", suite, archive, source)
    root.mkdir()
    _must("tar", "-xf", archive, "-C", root)
    archive.unlink()
    return root
