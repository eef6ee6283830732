import signal

import pytest

from uringfs.abi.signals import signal_name


@pytest.mark.parametrize(
    ("number", "name"),
    [
        (15, "SIGTERM"),
        (signal.SIGRTMIN, "SIGRTMIN"),
        (signal.SIGRTMIN + 3, "SIGRTMIN+3"),
        (signal.SIGRTMAX, "SIGRTMAX"),
    ],
)
def test_as_kill_knows_them(number: int, name: str) -> None:
    assert signal_name(number) == name
