"""What a mount says of itself."""

import logging

import pytest

from uringfs.fs.fuse.session import worth_a_line


@pytest.mark.parametrize(
    ("message", "kept"),
    [
        ("fuse_release(): fuse_reply_* failed with No such file or directory", False),
        ("fuse_release(): fuse_reply_* failed with Invalid argument", True),
        ("No such file or directory", True),
    ],
)
def test_an_answer_nobody_waits_for_is_no_error(message: str, kept: bool) -> None:
    record = logging.LogRecord("pyfuse3", logging.ERROR, __file__, 1, "%s", (message,), None)
    assert worth_a_line(record) is kept
