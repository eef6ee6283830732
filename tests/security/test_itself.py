"""Paths that mean whoever looks them up: in a request the caller, and no process of the daemon's."""

import pytest
from attack import CHANNELS, CONTROL, Arena

FILES = (
    "/proc/self/exe",
    "/proc/./self/exe",
    "//proc/self/exe",
    "/proc//self/exe",
    "/./proc/self/exe",
    "/proc/self/./exe",
    "/proc/self/../self/exe",
    "/proc/../proc/self/exe",
    "/proc/thread-self/exe",
    "/proc/./thread-self/exe",
    "/proc/self/task/../exe",
    "/proc/./self/maps",
    "/proc/./self/status",
    "/proc/./thread-self/status",
    "/proc/self/../self/status",
    "self/exe",
    "self/status",
    "exe",
    "maps",
    "status",
    "proc/self/exe",
    "proc/self/status",
)
DESCRIPTORS = (
    *("/proc/./self/fd/0", "/proc/./self/fd/1", "/proc/./thread-self/fd/1", "/dev/stdin", "/dev/stdout"),
    *("/dev/./stdin", "/dev/./stdout", "/dev/fd/0", "/dev/fd/1", "/dev/./fd/1", "fd/0", "fd/1", "stdin", "stdout"),
    *("self/fd/1", "proc/self/fd/1"),
)
ANY = ("/proc/./self/exe", "/proc/./self/status", "self/status", "/dev/./fd/1", "/dev/stdout")
DIRECTORIES = ("/proc/self", "/proc/./self", "self", "/proc/./self/fd", "/dev/fd", "/dev/./fd", "fd", "proc/self")
INSIDE_PROC = ("self/exe", "./self/exe", "self/status", "thread-self/status", "../proc/self/status")


@pytest.mark.parametrize("behaviour", ["an_open", "an_openat2"])
@pytest.mark.parametrize("path", FILES)
def test_a_file(arena: Arena, oracle: bool, path: str, behaviour: str) -> None:
    arena.compare(CONTROL, oracle, "itself", behaviour, SECURITY_PATH=path)


@pytest.mark.parametrize("path", [path for path in FILES if path.endswith("exe")])
def test_a_program(arena: Arena, oracle: bool, path: str) -> None:
    """Files of procfs have no inode that lasts; this is a link to one that has."""
    arena.compare(CONTROL, oracle, "itself", "a_statx", SECURITY_PATH=path)


@pytest.mark.parametrize("behaviour", ["an_open", "a_statx"])
@pytest.mark.parametrize("path", DESCRIPTORS)
def test_a_descriptor(arena: Arena, oracle: bool, path: str, behaviour: str) -> None:
    arena.compare(CONTROL, oracle, "itself", behaviour, SECURITY_PATH=path)


@pytest.mark.parametrize("path", DIRECTORIES)
def test_a_directory(arena: Arena, oracle: bool, path: str) -> None:
    arena.compare(CONTROL, oracle, "itself", "an_open_of_a_directory", SECURITY_PATH=path)


@pytest.mark.parametrize("variable", ["SECURITY_CWD", "SECURITY_DIRFD"])
@pytest.mark.parametrize("path", INSIDE_PROC)
def test_from_within_procfs(arena: Arena, oracle: bool, path: str, variable: str) -> None:
    arena.compare(CONTROL, oracle, "itself", "an_open", SECURITY_PATH=path, **{variable: "/proc"})


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize("path", ANY)
def test_whatever_the_way(arena: Arena, oracle: bool, path: str, channel: str) -> None:
    arena.compare(channel, oracle, "itself", "an_open", SECURITY_PATH=path)
