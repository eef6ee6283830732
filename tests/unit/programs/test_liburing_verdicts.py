"""What the runner of liburing's programs makes of three runs, and of the archives configured for apt."""

import pytest

from tests.programs.liburing.expected import EXPECTED, LEFT_OUT, SINCE, UNSTEADY, of_version
from tests.programs.liburing.source import as_source
from tests.programs.liburing.suite import Outcome, Run
from tests.programs.liburing.verdicts import Line, Verdict, complaints, lines, score, table

P, F, S, T = Outcome.PASS, Outcome.FAIL, Outcome.SKIP, Outcome.TIMEOUT


def run(outcome: Outcome) -> Run:
    return Run(outcome, 0.5, 0, "what it said")


@pytest.mark.parametrize(
    ("refused", "kernel", "ours", "verdict"),
    [
        (F, P, P, Verdict.PASS),
        (S, P, P, Verdict.PASS),
        (T, P, P, Verdict.PASS),
        (F, P, F, Verdict.FAIL),
        (F, P, S, Verdict.FAIL),
        (F, P, T, Verdict.FAIL),
        (P, P, P, Verdict.VACUOUS),
        (P, P, F, Verdict.FAIL),
        (F, F, P, Verdict.NO_ORACLE),
        (F, S, S, Verdict.NO_ORACLE),
        (F, T, F, Verdict.NO_ORACLE),
    ],
)
def test_verdicts(refused: Outcome, kernel: Outcome, ours: Outcome, verdict: Verdict) -> None:
    assert Line(refused, kernel, run(ours)).verdict is verdict


def trial(**outcomes: tuple[Outcome, Outcome, Outcome]) -> dict[str, Line]:
    return lines(*({name: run(three[n]) for name, three in outcomes.items()} for n in range(3)))


def test_the_vacuous_are_not_counted() -> None:
    all_lines = trial(one=(F, P, P), two=(P, P, P), three=(F, P, T), four=(F, S, S))
    assert score(all_lines) == (1, 2)
    assert "1 of the 2 programs" in table(all_lines)
    assert [line.split()[0] for line in table(all_lines).splitlines()[1:-1]] == ["four", "one", "three", "two"]


def test_the_list_holds_in_both_directions() -> None:
    all_lines = trial(good=(F, P, P), bad=(F, P, F), skips=(F, S, F), vacuous=(P, P, P))
    assert complaints(all_lines, {"bad": "why"}, {}) == []
    assert complaints(all_lines, {}, {"bad": "why", "good": "why"}) == []
    (unexpected,) = complaints(all_lines, {}, {})
    assert unexpected.startswith("bad: fail")
    assert "what it said" in unexpected
    for name in ("good", "vacuous"):
        (passes,) = complaints(all_lines, {"bad": "why", name: "why"}, {})
        assert passes.startswith(f"{name}: passes")
    assert complaints(all_lines, {"bad": "why", "skips": "why", "of_another_version": "why"}, {}) == []


def test_expectations_of_a_version() -> None:
    for names in (EXPECTED, UNSTEADY):
        assert of_version(names, "2.3").keys() == names.keys() - SINCE.keys()
        assert of_version(names, "2.10") == names
    assert SINCE.keys() <= EXPECTED.keys() | UNSTEADY.keys()
    assert not EXPECTED.keys() & (UNSTEADY.keys() | LEFT_OUT.keys())
    assert all((EXPECTED | UNSTEADY | LEFT_OUT).values())


def test_archives_as_sources() -> None:
    one_line = "# deb http://a\ndeb [arch=amd64 signed-by=/k] http://a stable main\ndeb-src http://a stable main\n"
    assert as_source(one_line, ".list") == "deb-src [arch=amd64 signed-by=/k] http://a stable main\n"
    blocks = "Types: {}\nURIs: http://a\n\nEnabled: no\nTypes: {}\nURIs: http://b\n"
    assert as_source(blocks.format("deb", "deb deb-src"), ".sources") == blocks.format("deb-src", "deb-src")
