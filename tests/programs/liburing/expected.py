"""What is known of single programs. The lists may only shrink."""

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
    "defer-taskrun": "IORING_SQ_TASKRUN must show when write(2) of a polled eventfd returns: it is noticed later",
    "madvise": "MADV_DONTNEED of a private mapping of a file",
    "sigfd-deadlock": "a signalfd shows the signals of who polls it, which is the daemon",
}
"""Passes on the kernel, not on uringfs. name -> why."""

UNSTEADY = {
    "recv-multishot": "looks for 8 completions 1 ms after it has sent the datagrams: they are posted later",
}
"""Passes when the daemon is quick enough. name -> why."""
