"""What is recorded, how faults are repeated, and how they are made fewer."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from uringfs.cli import explore
from uringfs.cli.recording import Hit, Recording, RecordingError, difference, load, save
from uringfs.faults.parser import parse

RULES = ["WRITE:error=EIO:probability=10%", 'RECV:peer="1.2.3.4:80":short=1:when=3+:times=2:expires=1s:seed=5']


def test_chance_becomes_numbers() -> None:
    recording = Recording(RULES, 7, ["x"], hits=[[3, 9], []])
    first, second = recording.decided()
    assert first == "WRITE:error=EIO:when=3,9"
    assert second == 'RECV:peer="1.2.3.4:80":short=1:seed=5:when=4294967296'
    assert [number for number in range(1, 20) if number in parse(first).when] == [3, 9]
    assert not any(number in parse(second).when for number in range(1, 20))


def test_one_number_is_one_request() -> None:
    (rule,) = Recording(RULES[:1], 7, ["x"], hits=[[4]]).decided()
    assert [number for number in range(1, 20) if number in parse(rule).when] == [4]


def test_a_file_holds_all_of_it(tmp_path: Path) -> None:
    recording = Recording(RULES, 7, ["x", "y"], "5.10", -9, [[1], [2, 3]], [[0, "NOP", 0]])
    save(str(tmp_path / "file"), recording)
    assert load(tmp_path / "file") == recording


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 2, "rules": [], "seed": 1, "command": []}'])
def test_what_is_no_recording(tmp_path: Path, text: str) -> None:
    (tmp_path / "file").write_text(text)
    with pytest.raises(RecordingError):
        load(tmp_path / "file")


def test_another_way_is_said() -> None:
    before = [[0, "READ", 4], [0, "WRITE", -5]]
    assert difference(before, before) == ""
    assert difference(before, [[0, "READ", 4], [1, "NOP", 0]]) == (
        "completion 2 is NOP = 0 (ring 1), and was WRITE = -5 (ring 0)"
    )
    assert difference(before, before[:1]) == "it ends after 1 completions; WRITE = -5 (ring 0) came then"
    assert difference(before[:1], before).startswith("completion 2 is WRITE = -5")


@settings(deadline=None)
@given(some.sets(some.integers(0, 40), max_size=5), some.integers(0, 41))
def test_the_fewest_are_found(needed: set[int], more: int) -> None:
    """The failure needs all of some faults, whichever these are."""
    faults = [(number % 3, number) for number in range(max(needed, default=0) + more)]
    needs = {fault for fault in faults if fault[1] in needed}

    def fails(tried: Sequence[Hit]) -> bool:
        return needs <= set(tried)

    assert set(explore.ddmin(faults, fails)) == needs


def test_any_one_of_some_is_found() -> None:
    faults = [(0, number) for number in range(64)]
    assert len(explore.ddmin(faults, lambda tried: bool({5, 9, 60} & {fault[1] for fault in tried}))) == 1
