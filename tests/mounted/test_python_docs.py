"""docs/python.md: every example runs, as it stands there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.mounting import DEADLINE, ROOT, Mount

EXAMPLES = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs/python.md").read_text(), re.MULTILINE | re.DOTALL)


def test_there_are_examples() -> None:
    assert len(EXAMPLES) == 6


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_an_example(mount: Mount, tmp_path: Path, number: int) -> None:
    """In a process of its own, where a warning is an error."""
    code = f"MOUNT, TMP = {str(mount.path)!r}, {str(tmp_path)!r}\n{EXAMPLES[number]}"
    command = [sys.executable, "-W", "error", "-W", "ignore::ResourceWarning", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=DEADLINE, check=False)
    assert (done.returncode, done.stderr) == (0, "")
