"""Root of a user namespace of its own is nobody outside, by whatever way its requests come to the daemon."""

import pytest
from attack import CHANNELS, HERE, Arena, declared


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize("behaviour", declared(HERE / "userns.c"))
def test_it(arena: Arena, oracle: bool, behaviour: str, channel: str) -> None:
    arena.compare(channel, oracle, "userns", behaviour)
