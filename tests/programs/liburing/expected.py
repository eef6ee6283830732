"""What is known of single programs. Both lists may only shrink."""

LEFT_OUT = {
    "io_uring_register": "does not end on Linux 6.18",
    "multicqes_drain": "does not end on Linux 6.18",
    "poll-mshot-update": "2 million polls: 3 s of the kernel's time, a minute of ours",
}
"""Not run. name -> why."""

EXPECTED = {
    "defer-taskrun": "IORING_SQ_TASKRUN must show as soon as write(2) of a polled eventfd returns: here it is noticed later",
    "io_uring_setup": "read(2) of a ring's descriptor must fail: here it is what cat shows",
    "madvise": "MADV_DONTNEED of a private mapping of a file",
    "recv-multishot": "",
    "ring-leak": "a ring that is under way in a socket which it has registered: the kernel refuses to send it",
    "sigfd-deadlock": "a signalfd shows the signals of who polls it, which is the daemon",
}
"""Passes on the kernel, not on uringfs. name -> why."""
