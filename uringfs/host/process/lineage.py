"""Where a process comes from."""

from uringfs.host import procfs

DEEPEST = 64


def lineage(tid: int) -> tuple[int, ...]:
    """A thread's process, that one's parent, and so on, as far as they live and are seen."""
    found: list[int] = []
    try:
        while tid and len(found) < DEEPEST:
            fields = procfs.status(tid)
            found.append(int(fields["Tgid"][0]))
            tid = int(fields["PPid"][0])
    except OSError:
        pass
    return tuple(found)
