"""`uringfs listen`: io_uring for whole containers, whose seccomp profile names our socket as its listenerPath.
docs/run.md"""

import argparse
import errno
import logging
import os
import signal
import socket
import stat
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress

from uringfs.cli import instance, logs, systemd
from uringfs.cli import mountpoint as points
from uringfs.cli.program import FAILED, RunError

log = logging.getLogger(__name__)

BACKLOG = 128
EXITS = {0: "ended by a signal", FAILED: "it cannot listen, or serve"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--socket", metavar="PATH", help="the profile's listenerPath; made. By default the one of a socket unit"
    )
    parser.add_argument(
        "--mount", metavar="DIR", type=points.named, help="a mounted uringfs; by default one of its own"
    )
    parser.add_argument(
        "--trace", action="store_true", help="print each io_uring call to the standard error output"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Until SIGINT, SIGQUIT or SIGTERM: 0; 125 if it cannot."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    logs.begin("info", None)
    try:
        with _listening(args) as listening:
            _serve(listening, instance.mounted(args.mount), 2 if args.trace else -1)
    except RunError as error:
        print(f"uringfs listen: {error}", file=sys.stderr)
        return error.status
    return 0


def _listening(args: argparse.Namespace) -> AbstractContextManager[socket.socket]:
    if args.socket is not None:
        return _bound(args.socket)
    given = systemd.given_socket()
    return given if given is not None else args.error("--socket PATH, where no socket unit has made one")


@contextmanager
def _bound(path: str) -> Iterator[socket.socket]:
    """For its owner alone: who may connect could have containers answered that are not theirs."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with listening:
        before = os.umask(0o177)
        try:
            _clean_stale(path)
            listening.bind(path)
        except OSError as error:
            raise RunError(FAILED, f"{path}: {error.strerror or error}") from error
        finally:
            os.umask(before)
        listening.listen(BACKLOG)
        try:
            yield listening
        finally:
            with suppress(FileNotFoundError):
                os.unlink(path)


def _clean_stale(path: str) -> None:
    """The socket of a listener that is gone. RunError, OSError."""
    if not path:
        raise RunError(FAILED, "the socket's path is an empty word")
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise RunError(FAILED, f"{path}: exists, and is no socket")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        if probe.connect_ex(path) != errno.ECONNREFUSED:
            raise RunError(FAILED, f"{path}: somebody listens there already")
    os.unlink(path)


def _serve(listening: socket.socket, mount: str, trace: int) -> None:
    # Late: everything above must be able to speak where these are missing.
    import trio

    from uringfs import client
    from uringfs.cli import oci

    async def one(connection: trio.socket.SocketType) -> None:
        with connection:
            try:
                async with oci.received(connection) as container:
                    await trio.to_thread.run_sync(client.hand_over, mount, container.listener, trace)
            except oci.StateError as error:
                log.warning("a connection that brought no container: %s", error)
            except OSError as error:
                log.error("a container is left without io_uring: %s: %s", mount, error.strerror)
            else:
                log.info("container %s, process %d: io_uring is served", container.id, container.pid)

    async def accept(nursery: trio.Nursery) -> None:
        sock = trio.socket.from_stdlib_socket(listening)
        log.info("%s: listening; rings are of %s", listening.getsockname(), mount)
        systemd.notify("READY=1", f"STATUS=listening at {listening.getsockname()}")
        while True:
            connection, _ = await sock.accept()
            nursery.start_soon(one, connection)

    async def main() -> None:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGQUIT, signal.SIGTERM) as signals:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(accept, nursery)
                async for _ in signals:
                    break
                nursery.cancel_scope.cancel()

    trio.run(main)
