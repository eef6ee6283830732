"""PostgreSQL as Debian has it, 18 (the first with io_method) or later, with io_method=io_uring, in a container
whose profile has our listener and is else the default one, which refuses io_uring."""

import subprocess
from pathlib import Path

import pytest
from container import LIMITS, OPTIONS
from test_listen import Listening

from tests.support.mounting import open_directory

pytestmark = pytest.mark.timeout(900)  # packages are fetched
SERVER = r"""
export PATH=$(echo /usr/lib/postgresql/*/bin):$PATH LC_ALL=C
initdb -D /tmp/data -U postgres --auth=trust --no-sync >/dev/null
run() {
    options="-c io_method=$1 -c listen_addresses= -c unix_socket_directories=/tmp -c shared_buffers=16MB"
    pg_ctl -D /tmp/data -w -t 60 -l /tmp/log -o "$options" start >/dev/null || { cat /tmp/log >&2; exit 1; }
    shift
    for query; do psql -h /tmp -U postgres -Atqc "$query"; done
    pg_ctl -D /tmp/data -w stop >/dev/null
}
"""
FILL = "create table t as select i, repeat(md5(i::text), 20) v from generate_series(1, 60000) i"
KIND = "select current_setting('server_version_num')::int / 10000 >= 18, current_setting('io_method')"
READ = "select count(*), md5(string_agg(v, '' order by i)) from t"
"""Reads 40 MB with 16 MB of buffers, which are empty at first."""


def said(root: Path, profile: list[str], script: str) -> "subprocess.CompletedProcess[str]":
    where = ["--tmpfs", "/tmp:mode=1777,notmpcopyup", "--user", "postgres", *profile, "--rootfs", str(root)]
    command = ["podman", *OPTIONS, *LIMITS, *where, "sh", "-ec", SERVER + script]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300)


def test_postgres_with_io_uring(next_root: Path) -> None:
    """What it reads by io_uring is what it has read by itself before."""
    with open_directory() as directory:
        listening = Listening(directory, "--trace")
        try:
            profile = ["--security-opt", f"seccomp={listening.profile}"]
            script = f'run sync "{FILL}" checkpoint "{READ}"; run io_uring "{KIND}" "{READ}"'
            done = said(next_root, profile, script)
            assert done.returncode == 0, done.stderr
            before, kind, after = done.stdout.splitlines()
            assert kind == "t|io_uring"
            assert before == after
            assert before.startswith("60000|")
            assert listening.log().count("io_uring_enter(") > 100
        finally:
            listening.stop()


def test_the_default_profile_refuses_it(next_root: Path) -> None:
    done = said(next_root, [], 'run io_uring "show io_method"')
    assert done.returncode != 0
    assert "could not setup io_uring queue" in done.stderr
