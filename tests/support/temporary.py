"""What a program of the tests leaves in its TMPDIR goes with it, however it ends."""

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


@contextmanager
def temporary(env: Mapping[bytes, bytes]) -> Iterator[dict[bytes, bytes]]:
    """The environment, with a TMPDIR that all users may write to. It is gone behind the block."""
    with tempfile.TemporaryDirectory(prefix="uringfs-tmp-", ignore_cleanup_errors=True) as directory:
        os.chmod(directory, 0o1777)
        yield {**env, b"TMPDIR": os.fsencode(directory)}
