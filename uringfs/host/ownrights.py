"""What the daemon does with rights of its own: all of it, by module. Everything else that is done for a caller
is done with the caller's (host.identity.credentials, host.helper). A test holds the list against the code, and
docs/security.md shows it: whoever adds to it asks who could gain a right by it.
"""

OWN_RIGHTS = {
    "host.process.program": "pidfds, pidfd_getfd(2) and perf events of callers' threads; /proc/TID/stat and exe",
    "host.process.memory": "process_vm_readv(2), process_vm_writev(2), /proc/TID/mem, maps: the caller's memory",
    "host.identity.credentials": "/proc/TID/status, the user namespace and its maps: who asks",
    "host.identity.identity": "/proc/TID/root, cwd and ns: for helpers to become the caller",
    "host.net.sockets": "setns(2) into the caller's network namespace, for socket(2)",
    "host.net.scm": "SCM_CREDENTIALS that name the caller (CAP_SYS_ADMIN, CAP_SETUID, CAP_SETGID)",
    "host.admission": "capget(2) of writers, /proc/TID/status of who opens and writes",
    "host.local": "capget(2) of callers",
    "host.files.limits": "prlimit(2) of callers, read only; /proc/TID/limits",
    "host.process.advise": "process_madvise(2), /proc/TID/maps and pagemap: MADVISE for clients that do not fetch",
    "host.process.sharedmem": "/proc/TID/maps and map_files: FUTEX_WAKE of those who sleep in shared memory",
    "host.process.asleep": "/proc/PID/task, /proc/TID/syscall, status, mem: whether a program waits, for "
    "--virtual-time",
    "host.events.children": "/proc/PID/task: when a child that WAITID waits for may have ended",
    "host.status": "/proc/TID/status: signals to a supervised thread that waits",
    "host.procfs": "/proc/TID/status",
    "host.files.blind": "/proc/TID/mountinfo: which file system a file is on",
    "register.iowq": "sched_getaffinity(2), prlimit(2): checks of IORING_REGISTER_IOWQ_*",
    "engine.sqpoll": "sched_getaffinity(2): the check of sq_thread_cpu",
    "native.lane.host": "pidfd_getfd(2), process_vm_readv(2), process_vm_writev(2) of a caller in its control "
    "write; preadv2(2) of files whose reads ask nobody, pwritev2(2) to pipes",
    "native.lane.watched": "process_vm_readv(2) of a caller in its control write: the data of a write that "
    "failed, for who may watch it",
    "watch.processes": "/proc/TID/comm: the names of those who submit, for who may watch it",
}
