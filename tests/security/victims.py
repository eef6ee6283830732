"""The programs of this tier: built, and the victims among them given their rights."""

import os
import shutil
import subprocess
from pathlib import Path

from attack import CAPABILITY, SECRET, SECRETS_GROUP, as_user

HERE = Path(__file__).parent
VICTIMS = ("holder", "deputy", "copier", "rights", "drops")


def build(out: Path, *variables: str) -> None:
    done = subprocess.run(["make", "-C", HERE, "-j2", f"OUT={out}", *variables], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def give_rights(directory: Path) -> None:
    """victim.plain, .setuid, .setgid and .caps of each."""
    for name in VICTIMS:
        (directory / name).rename(directory / f"{name}.plain")
        for kind in ("setuid", "setgid", "caps"):
            shutil.copy(directory / f"{name}.plain", directory / f"{name}.{kind}")
        os.chown(directory / f"{name}.setgid", 0, SECRETS_GROUP)
        (directory / f"{name}.setuid").chmod(0o4755)
        (directory / f"{name}.setgid").chmod(0o2755)
        subprocess.run(["setcap", CAPABILITY, directory / f"{name}.caps"], check=True)


def put_secret(directory: Path) -> None:
    path = directory / "secret"
    path.write_text(SECRET)
    os.chown(path, 0, SECRETS_GROUP)
    path.chmod(0o640)


def assert_armed(directory: Path) -> None:
    """Where the bits do not count (a file system mounted nosuid, no xattrs) each attack would fail for that."""
    for kind, status in (("plain", 1), ("setuid", 0), ("setgid", 0), ("caps", 0)):
        done = subprocess.run([*as_user(), directory / f"rights.{kind}", directory / "secret"])
        assert done.returncode == status, f"{directory}: a {kind} program has not the rights it should have"
