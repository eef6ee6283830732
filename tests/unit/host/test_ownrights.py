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


IN_C = re.compile(
    r"SYS_(?:pidfd_getfd|perf_event_open|setns|process_madvise|prlimit64)\b|\bprocess_vm_\w+\(|\bsetns\(|\bprlimit\("
    r"|\bptrace\(|/proc/%"
)
FOR_PYTHON = {"native.sys.vm", "native.sys.maps", "native.sys.identity", "native.sys.files"}
"""What these do is asked for by the names in USES."""
OF_ITSELF_IN_C = {"native.sys.epoll", "native.wire.keeper"}


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


def test_the_list_is_complete_in_c() -> None:
    found = {
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        for path in PACKAGE.rglob("*.c")
        if IN_C.search(re.sub(r"/\*(?s:.*?)\*/|//.*", "", path.read_text()))
    }
    assert found >= FOR_PYTHON
    assert found - FOR_PYTHON - OF_ITSELF_IN_C == {name for name in OWN_RIGHTS if name.startswith("native.")}


@pytest.mark.parametrize("module", OWN_RIGHTS)
def test_what_is_listed_is_there(module: str) -> None:
    kind = "c" if module.startswith("native.") else "py"
    assert (PACKAGE / f"{module.replace('.', '/')}.{kind}").exists()


def test_the_documentation_shows_it() -> None:
    text = DOCS.read_text()
    for module, what in OWN_RIGHTS.items():
        assert f"| `{module}` | {what} |" in text
