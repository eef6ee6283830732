"""python daemon.py MOUNTPOINT ...: mount.py, with the fault that URINGFS_FAULT names put in. Nothing but this
file reads that variable; the package knows nothing of faults."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.mutants.faults import FAULTS, all_in_python
from uringfs.cli import main

if __name__ == "__main__":
    if name := os.environ.get("URINGFS_FAULT"):
        all_in_python()
        FAULTS[name].put_in()
        print(f"fault: {name}", file=sys.stderr, flush=True)
    sys.exit(main(["mount", *sys.argv[1:]]))
