"""What holds for each run of tests, whichever they are."""

import pytest


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """For .ci/again: whether all tests have run (0 or 1), or something else ended them."""
    if session.config.pluginmanager.has_plugin("cacheprovider"):
        session.config.cache.set("uringfs/exitstatus", int(exitstatus))
