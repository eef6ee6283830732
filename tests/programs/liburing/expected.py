"""What is known of single programs. The lists may only shrink."""

from collections.abc import Mapping

LEFT_OUT = {
    "io_uring_register": "does not end on Linux 6.18",
    "multicqes_drain": "does not end on Linux 6.18",
    "poll-mshot-update": "2 million polls: 3 s of the kernel's time, a minute of ours",
    "pollfree": "passes without io_uring, after half a minute",
    "ring-leak": "sends a ring through a socket which that ring has registered, and the daemon keeps both: "
    "the kernel refuses to send rings",
}
"""Not run. name -> why."""

EXPECTED = {
    "futex": "passes with 20 rounds in place of 500 of 8 kinds, each with up to 6 rings: these take over a minute",
}
"""Passes on the kernel, not on uringfs. name -> why."""

SINCE = {"futex": (2, 6), "poll": (2, 9)}
"""The version of liburing from which on a program is to fail, if not all."""

UNSTEADY = {
    "d4ae271dfaae": "breaks off where a poller is 4 ms late, and then waits for ever: by the kernel's, too",
    "defer-taskrun": "IORING_SQ_TASKRUN must show when write(2) of a polled eventfd returns: it is noticed later",
    "eploop": "counts the events of a loop of rings and epoll instances",
    "evloop": "counts the events of a loop of a ring and an eventfd",
    "poll": "two events of a multishot poll, before task work has run, are to be one CQE",
    "read-mshot": "writes to a pipe every millisecond: of two that the daemon finds there one is cut short",
    "sqpoll-sleep": "measures 100 ms by the clock: a busy machine takes longer",
    "timeout": "measures 200 ms by the clock: a busy machine takes longer",
    "recv-multishot": "looks for 8 completions 1 ms after it has sent the datagrams: they are posted later",
}
"""A race with the daemon: passes or not, perhaps at the second try. name -> why."""


def of_version(names: Mapping[str, str], version: str) -> dict[str, str]:
    """The expectations that hold of that version of liburing."""
    numbers = tuple(map(int, version.split(".")[:2]))
    return {name: why for name, why in names.items() if numbers >= SINCE.get(name, (0, 0))}
