"""The faults of `make mutants` fit the package as it is. Whether the suite finds them, make mutants says."""

import pytest

from tests.mutants.faults import FAULTS, all_in_python
from tests.support.children import Child, in_child
from tests.support.conformance import FAMILIES


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_can_be_put_in(name: str) -> None:
    def put_in(parent: Child) -> None:
        all_in_python()
        FAULTS[name].put_in()

    with in_child(put_in):
        pass


def test_faults_say_what_they_are_and_where_they_show() -> None:
    for fault in FAULTS.values():
        assert fault.what
        assert set(fault.families) <= set(FAMILIES)
        assert fault.families
