"""Programs that have rights and drop them go on with the rings they have, as on the kernel."""

import pytest
from attack import CHANNELS, HERE, Arena, declared

SETUID = "a_setuid_program_with_a_ring_of_its_own"


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize("behaviour", [name for name in declared(HERE / "drops.c") if name != SETUID])
def test_as_root(arena: Arena, oracle: bool, behaviour: str, channel: str) -> None:
    arena.compare(channel, oracle, "drops.plain", behaviour, user=0)


@pytest.mark.parametrize("channel", ["control", "notify"])
def test_a_setuid_program(arena: Arena, oracle: bool, channel: str) -> None:
    """Nothing is preloaded into one."""
    arena.compare(channel, oracle, "drops.setuid", SETUID)
