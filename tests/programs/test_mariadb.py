"""MariaDB, unmodified: native AIO through io_uring, killed under load and recovered, as on the kernel."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.support.mounting import DEADLINE, Mount, until
from tests.support.programs import SIDES, Calls, Environment, on, on_the_kernel
from uringfs.client.faults import Faults

ROWS = 20_000
KNOWN, BATCH = 100, 50  # transactions that are committed before the crash, and rows of each
USER = ["--user=root"] if os.geteuid() == 0 else []
OPTIONS = [
    "--skip-networking",
    "--innodb-buffer-pool-size=8M",  # less than the data: pages come and go
    "--innodb-log-file-size=4M",  # and checkpoints
    "--innodb-use-native-aio=ON",
    "--innodb-flush-log-at-trx-commit=1",
]


class Server:
    """Answering once constructed."""

    def __init__(self, directory: Path, env: Environment) -> None:
        self.directory = directory
        self.log_path = directory / "server.log"
        offset = self.log_path.stat().st_size if self.log_path.exists() else 0
        places = [f"--datadir={directory}", f"--socket={directory}/socket"]
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                ["mariadbd", "--no-defaults", *USER, *places, *OPTIONS],
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

        def answers() -> bool:
            assert self.process.poll() is None, self.log()
            return "ready for connections" in self.log()[offset:]

        try:
            until(answers, "MariaDB to answer")
        except BaseException:
            self.kill()
            raise

    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def client(self) -> list[str]:
        options = ["--no-defaults", "--batch", "--skip-column-names", "--unbuffered"]
        return ["mariadb", *options, "-uroot", "-S", str(self.directory / "socket")]

    def sql(self, statements: str) -> str:
        done = subprocess.run(
            [*self.client(), "test"], input=statements, capture_output=True, text=True, timeout=DEADLINE
        )
        ended = self.process.poll()  # None while it serves
        assert done.returncode == 0, f"{statements}: {done.stderr}the server: {ended}{self.log()[-4000:]}"
        return done.stdout

    def files(self) -> list[str]:
        found = []
        for fd in Path(f"/proc/{self.process.pid}/fd").iterdir():
            with suppress(FileNotFoundError):  # closed meanwhile
                found.append(os.readlink(fd))
        return found

    def stop(self) -> None:
        self.sql("SHUTDOWN")
        assert self.process.wait(DEADLINE) == 0, self.log()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@contextmanager
def serving(directory: Path, env: Environment) -> Iterator[Server]:
    server = Server(directory, env)
    try:
        yield server
    finally:
        server.kill()


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory as it is when new."""
    directory = tmp_path_factory.mktemp("mariadb") / "data"
    install = ["mariadb-install-db", "--no-defaults", *USER, f"--datadir={directory}"]
    subprocess.run(
        [*install, "--auth-root-authentication-method=normal", "--innodb-log-file-size=4M", "--skip-log-bin"],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return directory


CREATE = f"""
CREATE TABLE loaded (id INT PRIMARY KEY, word CHAR(32), text VARCHAR(600), KEY (word)) ENGINE=InnoDB;
INSERT INTO loaded SELECT seq, MD5(seq), REPEAT(MD5(seq), 15) FROM seq_1_to_{ROWS};
UPDATE loaded SET text = REVERSE(text) WHERE id % 3 = 0;
DELETE FROM loaded WHERE id % 7 = 0;
CREATE TABLE crashed (batch INT, id INT, word CHAR(32), PRIMARY KEY (batch, id)) ENGINE=InnoDB;
"""

CHECK = """
CHECK TABLE loaded EXTENDED; CHECK TABLE crashed EXTENDED; CHECKSUM TABLE loaded EXTENDED;
SELECT COUNT(*), SUM(id), BIT_XOR(CRC32(text)) FROM loaded FORCE INDEX (word);
"""

COUNT = f"""
SELECT COUNT(DISTINCT batch) FROM crashed;
SELECT COUNT(*) FROM (SELECT batch FROM crashed GROUP BY batch HAVING COUNT(*) = {BATCH}) AS whole;
SELECT SUM(CRC32(word) = CRC32(MD5(id + batch))) DIV {BATCH} FROM crashed;
"""


def transaction(number: int, end: str = "COMMIT") -> bytes:
    """BATCH rows; the client says its number once it has been committed."""
    rows = f"SELECT {number}, seq, MD5(seq + {number}) FROM seq_1_to_{BATCH}"
    return f"BEGIN; INSERT INTO crashed {rows}; {end}; SELECT {number};\n".encode()


def killed_under_load(server: Server, after: int) -> None:
    """SIGKILL of the server when so many transactions are known to be committed, and one more is open."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([*server.client(), "test"], **pipes) as client:
        assert client.stdin is not None
        assert client.stdout is not None
        for number in range(after):
            client.stdin.write(transaction(number))
            client.stdin.flush()
            assert int(client.stdout.readline()) == number
        client.stdin.write(transaction(after, "SELECT 'open'; SELECT SLEEP(60)"))
        client.stdin.flush()
        assert client.stdout.readline().startswith(b"open")
        server.kill()
        client.kill()


def life(directory: Path, env: Environment, ring: str) -> str:
    """Create, load, crash, recover, check; what the checks say. ring: what io_uring's descriptor shows as."""
    with serving(directory, env) as server:
        assert server.sql("SELECT @@innodb_use_native_aio") == "1\n", server.log()
        assert ring in server.files(), server.log()
        server.sql(CREATE)
        killed_under_load(server, after=KNOWN)
    with serving(directory, env) as server:
        assert ring in server.files()
        assert "crash recovery" in server.log()
        said = server.sql(CHECK)
        committed, whole, right = map(int, server.sql(COUNT).split())
        assert committed == whole == right == KNOWN
        server.stop()
    return said


def test_create_load_crash_recover_check(empty: Path, mount: Mount, tmp_path: Path) -> None:
    said = []
    environments = (on_the_kernel(), on(mount))
    for side, env, ring in zip(SIDES, environments, ("anon_inode:[io_uring]", str(mount / "new")), strict=True):
        shutil.copytree(empty, tmp_path / side)
        said.append(life(tmp_path / side, env, ring))
    assert said[0] == said[1]
    assert re.findall("(\\w+)\tcheck\tstatus\tOK", said[1]) == ["loaded", "crashed"]
    kernel, ours = (Calls.traced((tmp_path / side / "server.log").read_text()) for side in SIDES)
    assert kernel == Calls(0, 0, 0)
    assert ours.setup == 2
    assert ours.enter > 1000
    mount.assert_clean_log()


FAULTS = {
    "%read:path=*/loaded.ibd:short=4096": "",
    "%write:path=*/loaded.ibd:short=4096:when=1+3": "",
    "%read:path=*/loaded.ibd:error=EAGAIN:when=20": "",
    "%write:path=*/loaded.ibd:error=EAGAIN:when=20": "",
    "%read:path=*/loaded.ibd:error=EIO:when=20": "(?i)(read|I/?O) error:? 5",
    "%write:path=*/loaded.ibd:error=EIO:when=20": "(?i)(write|I/?O) error:? 5",
}


@pytest.fixture(scope="module")
def checked(empty: Path, mount: Mount, tmp_path_factory: pytest.TempPathFactory) -> str:
    """What CHECK says where nothing is broken."""
    directory = tmp_path_factory.mktemp("whole") / "data"
    shutil.copytree(empty, directory)
    with serving(directory, on(mount)) as server:
        server.sql(CREATE)
        said = server.sql(CHECK)
        server.stop()
    assert said.count("status\tOK") == 2
    return said


@pytest.mark.parametrize("rule", FAULTS)
def test_faults(rule: str, checked: str, empty: Path, mount: Mount, tmp_path: Path) -> None:
    """It does the rest, or all of it, again: a short transfer and EAGAIN are no errors, EIO is one that it names.
    No row is another one, nor is one when it has been killed and has recovered."""
    shutil.copytree(empty, tmp_path / "data")
    with serving(tmp_path / "data", on(mount)) as server, Faults(mount.path).injected(rule) as injected:
        server.sql(CREATE)
        assert server.sql(CHECK) == checked
        assert injected.injected >= 1
        assert re.search(FAULTS[rule], server.log())
        server.kill()
    with serving(tmp_path / "data", on(mount)) as server:
        assert server.sql(CHECK) == checked
        server.stop()
