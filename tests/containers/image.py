"""The image of contrib/oci/Containerfile, built on Debian userlands that are made here: no registry is asked."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from container import LIMITS
from release import Release, must

from tests.support.mounting import ROOT

IN_BASE = "ca-certificates,fuse3,python3"
TO_BUILD = "gcc,libc6-dev,libfuse3-dev,pkg-config,python3-dev,python3-venv"
RUN = ("podman", "--runtime", "runc", "run", "--rm", "--network", "none", "--log-driver", "none", *LIMITS)


@contextmanager
def built(release: Release, home: Path) -> Iterator[str]:
    """The name of the image, on that release. It is gone behind the block."""
    image = f"localhost/uringfs-test-{release.suite}"
    base, archive = f"{image}-base", home / f"{release.suite}.tar"
    release.archive(archive, IN_BASE, "apt")
    try:
        must("podman", "import", archive, base)
        archive.unlink()
        how = ["--runtime", "runc", "build", "--network", "host", "--isolation", "chroot", "--layers=false"]
        # whom this machine trusts as an index of packages
        trusted = ["--volume", "/etc/ssl/certs:/etc/ssl/certs:ro"]
        recipe = ROOT / "contrib/oci/Containerfile"
        must("podman", *how, *trusted, "--build-arg", f"BASE={base}", "--tag", image, "--file", recipe, ROOT)
        yield image
    finally:
        subprocess.run(["podman", "rmi", "--force", image, base], capture_output=True, check=False)
