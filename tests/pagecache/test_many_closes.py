"""Rings that are closed all at once: of messages that nobody waits for the kernel has a few under way, no more
(max_background), and those that write pages back are of these, too."""

import subprocess
import sys
import tempfile
from pathlib import Path

from tests.support.mounting import DEADLINE, ROOT, URINGFS, Mount, until

RINGS = 64
ROUNDS = 8
PROGRAM = f"""
import os, sys
sys.path.insert(0, {str(ROOT)!r})
from uringfs.client import Ring

rings = [Ring(sys.argv[1], 8) for _ in range({RINGS})]
reader, writer = os.pipe()
for ring in rings:
    ring.readv(reader, [bytearray(8)])
    ring.submit()
print("pending", flush=True)
os._exit(0)
"""
"""Ends with a request pending on each ring: its cancellation is stored in pages that only the daemon still has."""


def test_a_process_with_many_rings_ends() -> None:
    """Again and again, on a mount of its own: one that waits for itself serves nobody."""
    with (
        tempfile.TemporaryDirectory(prefix="uringfs-closes-") as directory,
        Mount(Path(directory) / "mnt", "--backend", "pagecache") as mount,
    ):
        for _ in range(ROUNDS):
            command = [sys.executable, "-c", PROGRAM, str(mount / "new")]
            done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=False)
            assert done.stdout == "pending\n", done.stderr
            status = [*URINGFS, "status", "-q", "--timeout", str(DEADLINE), str(mount.path)]
            assert subprocess.run(status, check=False, timeout=2 * DEADLINE).returncode == 0
        until(lambda: list(mount.path.iterdir()) == [], "no ring")
