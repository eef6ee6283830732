"""Each module that uses the daemon's own rights on callers is listed with what for, and nobody else does."""

import re
from pathlib import Path

import pytest

import uringfs
from uringfs.host.ownrights import OWN_RIGHTS

PACKAGE = Path(uringfs.__file__).parent
DOCS = PACKAGE.parent / "docs" / "security.md"
USES = re.compile(
    r"/proc/\{|/proc/%d|\bnative\.(?:pidfd_\w+|vm_\w+|ExecWatch|mapped_prefix|(?:read|writ)able_prefix|capabilities"
    r"|user_namespace)\b|\bsetns\b|\bprlimit\b|\bsched_getaffinity\b|\bprocess_madvise\b|SCM_CREDENTIALS, \w*ucred"
)
OF_ITSELF = {
    "abi.machine",  # the number of process_madvise(2), no call of it
    "memory.passthrough",  # its own memfds
    "memory.pagecache",  # its own processes
    "memory.pages",
    "cli.instance",
    "cli.umount",  # whether a daemon of its own has ended
    "cli.mountpoint",
}


def using() -> set[str]:
    """Modules whose code does, but for helpers: they have no rights but a caller's."""
    found = set()
    for path in PACKAGE.rglob("*.py"):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        if not name.startswith("host.helper.") and USES.search(_code(path)):
            found.add(name)
    return found - OF_ITSELF


def _code(path: Path) -> str:
    return re.sub(r'"""(?s:.*?)"""|#.*', "", path.read_text())


def test_the_list_is_complete() -> None:
    assert using() - set(OWN_RIGHTS) - {"host.ownrights"} == set()


@pytest.mark.parametrize("module", OWN_RIGHTS)
def test_what_is_listed_is_there(module: str) -> None:
    assert (PACKAGE / f"{module.replace('.', '/')}.py").exists()


def test_the_documentation_shows_it() -> None:
    text = DOCS.read_text()
    for module, what in OWN_RIGHTS.items():
        assert f"| `{module}` | {what} |" in text
