import logging
from collections.abc import AsyncIterator, Iterator

import pytest
import trio

from tests.unit.support import Bench, Here
from uringfs.host.events import scheduling


@pytest.fixture
async def bench(nursery: trio.Nursery) -> Bench:
    return Bench(nursery)


@pytest.fixture
def as_they_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks run in the order they were scheduled in, as in the daemon: pytest-trio shuffles them."""
    monkeypatch.setattr(trio._core._run, "_ALLOW_DETERMINISTIC_SCHEDULING", False)
    monkeypatch.setattr(trio._core._run, "_r", scheduling._AsTheyCome())


@pytest.fixture(autouse=True)
def no_errors_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """The engine logs an error where it had to give up on a request: never in passing."""
    yield
    for when in ("setup", "call"):
        errors = [record.getMessage() for record in caplog.get_records(when) if record.levelno >= logging.ERROR]
        assert errors == []


@pytest.fixture
async def here(nursery: trio.Nursery) -> AsyncIterator[Here]:
    here = Here(nursery)
    yield here
    here.context.close()
    nursery.cancel_scope.cancel()
