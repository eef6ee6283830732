"""What is known of single programs. Both lists may only shrink."""

LEFT_OUT = {
    "multicqes_drain": "does not end on Linux 6.18 either",
    "io_uring_register": "does not end on Linux 6.18 either",
}
"""Not run at all. name -> why."""

EXPECTED = {
    "accept-link": "a LINK_TIMEOUT of 0 ns must win against an accept that is ready",
    "defer-taskrun": "IORING_SQ_TASKRUN is not shown",
    "io-cancel": "",
    "io_uring_setup": "a ring file can be read: what cat shows",
    "madvise": "MADV_DONTNEED of a mapped file",
    "poll-mshot-update": "",
    "recv-multishot": "",
    "ring-leak": "a ring file can be passed by SCM_RIGHTS",
    "sigfd-deadlock": "a signalfd shows the signals of who polls it: the daemon",
    "thread-exit": "",
    "timeout": "",
}
"""Passes on the kernel, not on uringfs. name -> why."""
