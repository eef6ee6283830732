"""What signals are called."""

import signal


def signal_name(number: int) -> str:
    """SIGTERM, SIGRTMIN+3, as kill(1) knows them."""
    try:
        return signal.Signals(number).name
    except ValueError:  # Python names the first and the last real-time signal only
        return f"SIGRTMIN+{number - signal.SIGRTMIN}"
