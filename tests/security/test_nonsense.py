"""What any user may write to the files of a mount, as text: nonsense is refused with EINVAL, and is no error
of the daemon's."""

import errno
import os

import pytest
from attack import Arena, become

from tests.support.calls import answer
from tests.support.children import Child, in_child

DIGITS = "9" * 5000
"""More than int() takes."""
NONSENSE = {
    ".control": [
        *(f"uninject {DIGITS}", f"release {DIGITS}", f"kernel 6.1 pid={DIGITS}", f"kernel {DIGITS}.1 pid=1"),
        *(f"inject READ:error=EIO:pid={DIGITS}", "inject READ:error=EIO:pid=4294967297"),
        *("inject READ:error=EIO:probability=nan", "inject READ:delay_exit=exp(nan)", "inject " + "a:" * 500),
        *("inject READ:when=9+0", "inject READ:path=", 'inject READ:path="', "\0", "\udcff"),
    ],
    ".trace": [f"data={DIGITS}", f"ring={DIGITS}", f"tree=0x{DIGITS},x", "trace=\udcff", "'", "data=\u0665\udcff"],
    ".rings": [f"ring={DIGITS}", "ring=-1", "ring=\u0665", "\udcff"],
    "new": [
        f"setup {DIGITS}",
        f"uninject {DIGITS}",
        f"nop user_data={DIGITS}",
        f"nop flags={DIGITS}",
        "nop user_data=",
    ],
}
EACH = [(name, text) for name, texts in NONSENSE.items() for text in texts]


@pytest.mark.parametrize(("name", "text"), EACH, ids=[f"{name}-{text[:24]!a}" for name, text in EACH])
def test_nonsense(arena: Arena, name: str, text: str) -> None:
    def user(_: Child) -> None:
        become()
        file = os.open(arena.mount / name, os.O_RDWR)
        assert answer(lambda: os.write(file, text.encode("utf-8", "surrogateescape"))) == errno.EINVAL

    with in_child(user):
        pass
