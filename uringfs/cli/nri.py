"""`uringfs nri`: pods with an annotation get the listener, on nodes without a profile file."""

import argparse
import re
import signal
import sys

from uringfs.cli import logs, systemd
from uringfs.cli.program import FAILED

SOCKET = "/var/run/nri/nri.sock"
LISTENER = "/run/uringfs/listener.sock"
EXITS = {0: "ended by a signal", FAILED: "the runtime cannot be reached, is too old, or has ended the connection"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--nri-socket", metavar="PATH", default=SOCKET, help="of the runtime; default %(default)s")
    parser.add_argument(
        "--socket", metavar="PATH", default=LISTENER, help="of `uringfs listen`; default %(default)s"
    )
    parser.add_argument(
        "--index", type=_index, default="90", help="00 to 99: the place among plugins; default %(default)s"
    )
    parser.set_defaults(run=run)


def _index(word: str) -> str:
    if re.fullmatch(r"[0-9]{2}", word) is None:
        raise argparse.ArgumentTypeError(f"{word!r} is not two digits")
    return word


def run(args: argparse.Namespace) -> int:
    """Until SIGINT, SIGQUIT or SIGTERM: 0; 125 if it cannot."""
    # Late: usage and --help need no trio
    from uringfs.nri.plugin import PluginError

    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    logs.begin("info", None)
    try:
        _serve(args)
    except PluginError as error:
        print(f"uringfs nri: {args.nri_socket}: {error}", file=sys.stderr)
        return FAILED
    return 0


def _serve(args: argparse.Namespace) -> None:
    import trio

    from uringfs.nri.plugin import Plugin, PluginError

    async def talk(plugin: Plugin, stream: trio.SocketStream) -> None:
        ready = False
        await stream.send_all(plugin.register())
        async for data in stream:
            for answer in plugin.received(bytes(data)):
                await stream.send_all(answer)
            if plugin.configured and not ready:
                ready = True
                systemd.notify("READY=1")
        raise PluginError("the runtime has ended the connection")

    async def connected() -> None:
        try:
            async with await trio.open_unix_socket(args.nri_socket) as stream:
                await talk(Plugin(args.socket, args.index), stream)
        except OSError as error:
            raise PluginError(error.strerror or str(error)) from error
        except trio.BrokenResourceError as error:
            raise PluginError("the runtime has ended the connection") from error

    async def main() -> PluginError | None:
        """Why it has failed; None: it need not go on."""
        failed = None
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGQUIT, signal.SIGTERM) as signals:
            async with trio.open_nursery() as nursery:

                async def stop() -> None:
                    async for _ in signals:
                        nursery.cancel_scope.cancel()

                nursery.start_soon(stop)
                try:
                    await connected()
                except PluginError as error:
                    failed = error
                nursery.cancel_scope.cancel()
        return failed

    failed = trio.run(main)
    if failed is not None:
        raise failed
