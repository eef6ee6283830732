import pytest
import trio

from tests.unit.fs.supervised.support import Supervised


@pytest.fixture
async def supervised(nursery: trio.Nursery) -> Supervised:
    made = Supervised(nursery)
    await made.start()
    return made
