"""Programs that drop rights by `int $0x80`, or by a number of x32: nothing that they have as threads of their own
keeps these rights."""

import signal

import pytest
from attack import CHANNELS, KERNEL, PASSED, TRAP, Arena, report


@pytest.mark.parametrize("channel", [KERNEL, *CHANNELS])
@pytest.mark.parametrize("how", ["i386", "x32"])
def test_dropped_by_a_call_of_another_architecture(arena: Arena, oracle: bool, how: str, channel: str) -> None:
    """Under the launcher it is killed, if it has had workers: docs/run.md. Many kernels have no x32."""
    if channel == KERNEL and not oracle:
        return
    done = arena.run(channel, "compat", "what_is_asynchronous_has_the_rights_of_now", user=0, BY=how)
    allowed = (PASSED, -signal.SIGSYS) if channel == TRAP else (PASSED,)
    assert done.returncode in allowed, report(channel, done)
