"""The fuzzer on the page-cache backend, as an ordinary user in `unshare -Urm`, by each way: always the same
programs, fewer than on passthrough."""

from itertools import islice

import pytest

from tests.fuzz.compare import WAYS, Comparison, build
from tests.fuzz.test_fuzz import UNSETTLED
from tests.support.mounting import Mount, inside

FIRST, PROGRAMS = 1000, 100


@pytest.mark.timeout(600)
def test_programs_are_the_same_on_both(rootless: Mount, oracle: bool, capsys: pytest.CaptureFixture[str]) -> None:
    assert oracle, "nothing to compare with"
    build()
    comparison = Comparison(rootless.path, list(WAYS), prefix=inside(rootless))
    differences = list(islice(comparison.programs(FIRST, FIRST + PROGRAMS), 3))
    with capsys.disabled():
        print(f"\nrootless, {', '.join(WAYS)}: {comparison.statistics}")
    assert not differences, "\n".join(map(str, differences))
    assert comparison.statistics.programs == PROGRAMS
    most = PROGRAMS * len(WAYS) // UNSETTLED
    assert len(comparison.unsettled | comparison.once) <= most, (comparison.unsettled, comparison.once)
    rootless.assert_clean_log()
