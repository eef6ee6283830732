"""`uringfs`, `python -m uringfs` and the mount helper: what must be so before anything else is imported."""

import signal
import sys
from collections.abc import Sequence


def end_by_interrupt() -> None:
    """Ctrl-C ends the process, as any other command, while Python still imports: no KeyboardInterrupt. Who
    ignores SIGINT (nohup, a shell's `&`) goes on ignoring it; daemons take it themselves once they serve."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def main(argv: Sequence[str] | None = None) -> int:
    """The command; argv: without its name, by default that of the process. Its exit status."""
    end_by_interrupt()
    from uringfs import cli

    return cli.main(argv)


def mount_helper(argv: Sequence[str] | None = None) -> int:
    """mount.fuse.uringfs, which mount(8) runs for `mount -t fuse.uringfs` and fstab. Its exit status."""
    end_by_interrupt()
    from uringfs.cli import helper, standard

    return standard.run(lambda: helper.main(sys.argv[1:] if argv is None else argv))


if __name__ == "__main__":
    sys.exit(main())
