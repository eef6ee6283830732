"""Releases of distributions: their mirrors, their keys, and what is unpacked of them here."""

import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

HERE = Path(__file__).parent
BUILDING = 600.0  # seconds: packages are fetched, pyfuse3 is compiled
ANSWER = 60.0  # seconds
TRIES = 3
DEBIAN = "http://deb.debian.org/debian"
DEBIAN_KEYS = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
UBUNTU = "http://archive.ubuntu.com/ubuntu"
UBUNTU_KEYS = HERE / "ubuntu-archive-key.asc"
"""Ubuntu Archive Automatic Signing Key (2018), out of Debian's package ubuntu-keyring, which Debian 12 lacks."""


def must(*command: object) -> str:
    """The standard output of a command that must succeed."""
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, timeout=BUILDING, check=False)
    assert done.returncode == 0, f"{words}: {done.stdout[-4000:]}{done.stderr[-4000:]}"
    return done.stdout


@dataclass(frozen=True)
class Release:
    """One that its mirror has by the name of suite, which also names it here."""

    suite: str
    is_out: bool = True
    mirror: str = DEBIAN
    components: str = "main"
    keys: Path = DEBIAN_KEYS
    updates: str = ""
    """A second suite of the same mirror, whose packages replace those of suite; empty without one."""

    def require(self) -> None:
        """Fails with one line where the mirror does not have it or cannot be reached: a test that is left out then
        would look like one that passed."""
        url = f"{self.mirror}/dists/{self.suite}/Release"
        for _ in range(TRIES):
            try:
                urllib.request.urlopen(url, timeout=ANSWER).close()
                return
            except OSError as e:
                why = e
        pytest.fail(f"no packages for these tests: {url}: {why}", pytrace=False)

    def archive(self, file: Path, packages: str, variant: str) -> None:
        """Makes a tar of it with the packages, names with commas between; variant is mmdebstrap's."""
        self.require()
        # a mirror may be some weeks behind: what it has of a release that is not out yet has expired by then
        options = ('Acquire::Check-Valid-Until "false"', f'Acquire::Retries "{TRIES}"')
        apt = [f"--aptopt={option}" for option in options]
        where = f"deb [signed-by={self.keys}] {self.mirror}"
        sources = [f"{where} {suite} {self.components}" for suite in (self.suite, self.updates) if suite]
        must("mmdebstrap", f"--variant={variant}", *apt, f"--include={packages}", self.suite, file, *sources)

    @contextmanager
    def unpacked(self, home: Path, packages: str, variant: str) -> Iterator[Path]:
        """The directory home/root with the files of archive(). It is gone behind the block."""
        file, root = home / "root.tar", home / "root"
        self.archive(file, packages, variant)
        root.mkdir()
        try:
            must("tar", "-xf", file, "-C", root)
            file.unlink()
            yield root
        finally:
            shutil.rmtree(root)


UBUNTU_24_04 = Release("noble", True, UBUNTU, "main universe", UBUNTU_KEYS, "noble-updates")
RELEASED = (Release("bookworm"), Release("trixie"), UBUNTU_24_04)
NEXT = Release("testing", is_out=False)
"""Debian's next one, whatever its name is by now."""
