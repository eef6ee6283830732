"""tests/mounted/run_probe.c: programs that know nothing of uringfs, for `uringfs run`."""

import re
import subprocess
from pathlib import Path

from tests.support.mounting import ROOT

SOURCE = ROOT / "tests/mounted/run_probe.c"
INTERACTIVE = ("busy", "until_refused")
BEHAVIOURS = [
    name for name in re.findall(r"^TEST\((\w+)\)", SOURCE.read_text(), re.MULTILINE) if name not in INTERACTIVE
]


def build(program: Path) -> Path:
    harness = ROOT / "tests/conformance"
    sources = [SOURCE, harness / "harness.c", harness / "harness_ring.c"]
    flags = ["-std=c11", "-O2", "-g", "-Wall", "-Wextra", "-D_GNU_SOURCE", f"-I{ROOT / 'contrib'}", "-pthread"]
    done = subprocess.run(["cc", *flags, "-o", program, *sources], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return program
