"""What the daemon performs on a caller's descriptors it performs with the caller's rights, not with its own."""

import subprocess

import pytest
from attack import CHANNELS, HERE, KERNEL, Arena, declared


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize("behaviour", declared(HERE / "creds.c"))
def test_sockets_hear_the_caller(arena: Arena, oracle: bool, behaviour: str, channel: str) -> None:
    arena.compare(channel, oracle, "creds", behaviour)


WHOLE = ["what_looks_at_current_credentials", "what_looks_at_current_credentials_in_a_worker"]
PARTS = [name for name in declared(HERE / "procfs.c") if name not in WHOLE]


def outcomes(done: "subprocess.CompletedProcess[str]") -> dict[str, tuple[int, int]]:
    """File -> what came of it natively and by the ring."""
    fields = [line.split("\t") for line in done.stdout.splitlines()]
    return {name: (int(native), int(ring)) for name, native, ring in fields}


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize("behaviour", WHOLE)
def test_files_that_look_at_who_reads_and_writes(arena: Arena, oracle: bool, behaviour: str, channel: str) -> None:
    """By our ring no more than natively or by the kernel's. Less it may be, in both: what only the thread itself
    may do is refused to workers."""
    kernel = outcomes(arena.run(KERNEL, "procfs", behaviour)) if oracle else {}
    ours = outcomes(arena.run(channel, "procfs", behaviour))
    assert len(ours) > 40
    right = {name: (native, *kernel.get(name, ())) for name, (native, _) in ours.items()}
    more = {name: pair for name, pair in ours.items() if pair[1] >= 0 and pair[1] not in right[name]}
    assert not more, "(natively, by the ring)"


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize("behaviour", PARTS)
def test_what_others_hide(arena: Arena, oracle: bool, behaviour: str, channel: str) -> None:
    arena.compare(channel, oracle, "procfs", behaviour)
