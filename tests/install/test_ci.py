"""contrib/ci: a workflow by its schema, whose commands are commands."""

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.mounting import DEADLINE, ROOT, URINGFS

WORKFLOW = ROOT / "contrib/ci/github-actions.yml"
JOB = yaml.safe_load(WORKFLOW.read_text())["jobs"]["uringfs"]
SCRIPTS = [step["run"] for step in JOB["steps"] if "run" in step]
RUNS = JOB["strategy"]["matrix"]["run"]


def must(*command: object, stdin: str = "", **options: Any) -> None:
    words = [str(word) for word in command]
    done = subprocess.run(words, input=stdin, capture_output=True, text=True, timeout=DEADLINE, **options)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_schema() -> None:
    check = (sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows")
    must(*check, WORKFLOW)


@pytest.mark.parametrize("script", SCRIPTS)
def test_shellcheck(script: str) -> None:
    must(Path(sys.executable).with_name("shellcheck"), "-s", "bash", "-", stdin=script)


@pytest.mark.parametrize("run", RUNS)
def test_each_run_is_one(tmp_path: Path, run: str) -> None:
    """The step's script, by whoever runs this instead of by sudo."""
    (script,) = (script for script in SCRIPTS if "uringfs run" in script)
    for name, text in (("uringfs", f'exec {shlex.join(URINGFS)} "$@"'), ("tests.sh", "echo tested >tested")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    env = {"RUN": run, "RUNNER_TEMP": str(tmp_path), "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    must("bash", "-ec", f'sudo() {{ "$@"; }}\n{script}', cwd=tmp_path, env={**os.environ, **env})
    assert (tmp_path / "tested").read_text() == "tested\n"
    assert (tmp_path / "trace").exists()
