"""What kvlog promises, kept when things go wrong (docs/examples.md). Each test but the first fails on kvlog,
and passes on kvlog-fixed: KVLOG=./kvlog-fixed pytest test_kvlog.py"""

import os
import subprocess

import pytest

KVLOG = os.environ.get("KVLOG", "./kvlog")


def records(log):
    done = subprocess.run([KVLOG, log, "get"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_what_is_stored_is_there(uringfs_run, tmp_path):
    log = tmp_path / "log"
    done = uringfs_run(KVLOG, log, "put", "a=1", "b=2").check()
    assert done.stdout.split() == ["stored", "a", "stored", "b"]
    assert records(log) == ["a=1", "b=2"]


@pytest.mark.uringfs_matrix("WRITE:path=*/log:short=3:times=1", "WRITE:path=*/log:short=1")
def test_a_short_write(uringfs_run, tmp_path):
    log = tmp_path / "log"
    done = uringfs_run(KVLOG, log, "put", "a=1", "b=2").check()
    assert done.injected
    assert records(log) == ["a=1", "b=2"]


@pytest.mark.uringfs_matrix("WRITE:overflow")
def test_a_completion_that_finds_the_queue_full(uringfs_run, tmp_path):
    log = tmp_path / "log"
    uringfs_run(KVLOG, log, "put", "a=1", "b=2", timeout=30).check()
    assert records(log) == ["a=1", "b=2"]


@pytest.mark.uringfs_matrix("WRITE:path=*/log:unsynced")
def test_the_power_fails(uringfs_run, tmp_path):
    log = tmp_path / "log"
    uringfs_run(KVLOG, log, "put", "a=1", "b=2").check()
    assert records(log) == ["a=1", "b=2"]


DELAY = os.environ.get("DELAY", "1s")


@pytest.mark.uringfs_matrix([f"WRITE:path=*/log:delay_enter={DELAY}", "FSYNC:signal=KILL:when=2"])
def test_killed_when_the_second_record_is_synced(uringfs_run, tmp_path):
    log = tmp_path / "log"
    done = uringfs_run(KVLOG, log, "put", "a=1", "b=2")
    assert done.stdout.split() == ["stored", "a"]
    assert "a=1" in records(log)


@pytest.mark.uringfs_matrix(kernels=["5.10", "6.1"])
def test_an_older_kernel(uringfs_run, tmp_path):
    uringfs_run(KVLOG, tmp_path / "log", "put", "a=1").check()
