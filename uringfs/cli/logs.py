"""Where the daemon logs: a file, the standard error output, or, in the background, syslog."""

import errno
import logging
import logging.handlers
import os
import socket
import sys
from contextlib import suppress
from pathlib import Path

from uringfs.cli import systemd

DEV_LOG = "/dev/log"
WITH_TIME = "%(asctime)s %(levelname)s %(name)s: %(message)s"
WITHOUT_TIME = "%(levelname)s %(name)s: %(message)s"  # whoever takes it adds the time


class LogFile(logging.FileHandler):
    """A file that SIGHUP opens anew. Lines that cannot be written (a full disk) are lost; that is said once."""

    def __init__(self, path: Path) -> None:
        """OSError if the file cannot be opened."""
        super().__init__(path, encoding="utf-8", errors="backslashreplace")
        self._complained = False

    def reopen(self) -> None:
        """Go on in a new file of the same name; if it cannot be made, in the old one."""
        try:
            stream = self._open()
        except OSError as error:
            logging.getLogger(__name__).error("%s: cannot be opened again: %s", self.baseFilename, error.strerror)
            return
        with suppress(OSError):  # what it still could not write is lost
            if (old := self.setStream(stream)) is not None:
                old.close()
        self._complained = False

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if not self._complained:
            self._complained = True
            print(f"uringfs: {self.baseFilename}: lines are lost: {error}", file=sys.stderr)


def begin(level: str, file: Path | None, *, background: bool = False) -> None:
    """Log from now on. OSError: the file cannot be written."""
    logging.raiseExceptions = False  # no tracebacks about lines that cannot be written
    handler, pattern = _handler(file, background)
    if not isinstance(handler.formatter, systemd.JournalFormatter):
        handler.setFormatter(logging.Formatter(pattern))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


def _handler(file: Path | None, background: bool) -> tuple[logging.Handler, str]:
    if file is not None:
        return LogFile(file), WITH_TIME
    if background:
        return _syslog(), WITHOUT_TIME
    stderr = logging.StreamHandler(sys.stderr)
    if systemd.to_journal():
        stderr.setFormatter(systemd.JournalFormatter(WITHOUT_TIME))
    return stderr, WITH_TIME


def syslog_problem() -> str:
    """Why nobody takes lines there, or nothing."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
            probe.connect(DEV_LOG)
    except OSError as error:
        if error.errno != errno.EPROTOTYPE:  # it takes streams
            return f"{DEV_LOG}: {error.strerror}"
    return ""


def _syslog() -> logging.Handler:
    """By the process that is to log: its id is in each line. Each line tries anew where nobody listens."""
    problem = syslog_problem()
    if problem:
        line = f"{problem}: in the background nothing is logged (--log-file FILE)"
        print(f"uringfs: {line}", file=sys.stderr)
    handler = logging.handlers.SysLogHandler(DEV_LOG, logging.handlers.SysLogHandler.LOG_DAEMON)
    handler.ident = f"uringfs[{os.getpid()}]: "
    handler.append_nul = False
    return handler


def reopen() -> None:
    """SIGHUP: log files are opened anew, as logrotate(8) wants it."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, LogFile):
            handler.reopen()
