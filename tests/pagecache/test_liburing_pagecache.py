"""liburing's own test programs on the page-cache backend, as an ordinary user in `unshare -Urm`: the kernel's
passes in the same namespaces are ours."""

import pytest

from tests.programs.liburing import source
from tests.programs.liburing.expected import EXPECTED, UNSTEADY, of_version
from tests.programs.liburing.trial import programs, trial
from tests.programs.liburing.verdicts import complaints, score, summary, table
from tests.support.mounting import Mount, inside

MANY = 80  # fewer that pass on the kernel, and it is not io_uring that was tried
NETWORK = {"socket"}
"""Programs with a SOCKET, in the network of whoever has mounted: another is out of reach (docs/differences.md)."""


@pytest.mark.timeout(900)
def test_the_suite(rootless: Mount, oracle: bool, capsys: pytest.CaptureFixture[str]) -> None:
    assert oracle, "nothing to compare with"
    some, prefix = programs(), inside(rootless)
    lines = trial([each for each in some if each.stem not in NETWORK], rootless, prefix=prefix)
    lines |= trial([each for each in some if each.stem in NETWORK], rootless, "--here", prefix=prefix)
    with capsys.disabled():
        print(f"\nliburing {source.version()}, rootless: {summary(lines)}")
    fails, races = (of_version(names, source.version()) for names in (EXPECTED, UNSTEADY))
    found = complaints(lines, fails, races)
    assert not found, "\n".join([*found, table(lines)])
    assert score(lines)[1] >= MANY, table(lines)
    rootless.assert_clean_log()
