"""How events are shown: arguments by name, what the documentation says, events as bytes."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import uringfs
from tests.support import tracefile
from uringfs.abi.constants import OPCODES
from uringfs.abi.structs import Sqe
from uringfs.watch import arguments
from uringfs.watch.filters import WORDS
from uringfs.watch.jsonlines import SCHEMA, Objects, fields, schema_table
from uringfs.watch.perfetto import MOMENT, REMEMBERED, Moments, Slices
from uringfs.watch.record import Record, RecordKind, blank, each, pack, unpack
from uringfs.watch.strace import Lines, call
from uringfs.watch.summary import Summary
from uringfs.watch.values import KINDS

DOCS = Path(uringfs.__file__).parents[1] / "docs" / "watch.md"


def test_the_documentation_has_the_schema() -> None:
    assert schema_table() in DOCS.read_text()


def test_the_documentation_has_the_words() -> None:
    text = DOCS.read_text()
    assert all(f"| `{word}=" in text for word in WORDS)


def test_every_opcode_has_arguments() -> None:
    assert set(arguments.ARGUMENTS) == set(OPCODES)
    for opcode in range(len(OPCODES)):
        for field, kind in arguments.of(opcode):
            assert hasattr(Sqe, field)
            assert kind in KINDS


@pytest.mark.parametrize("opcode", range(len(OPCODES) + 1))
def test_every_field_has_a_name_and_is_shown(opcode: int) -> None:
    sqe = Sqe(opcode, 1, *range(2, 14))
    named = fields(sqe)
    assert len(named) >= 11
    values = {name: getattr(sqe, name) for name in named}
    assert named == values
    assert call(blank(RecordKind.REQUEST, sqe=sqe)).startswith(arguments.opcode_name(opcode))


def some(**more: object) -> Record:
    return blank(RecordKind.REQUEST, ring=3, id=4, sqe=Sqe(22, user_data=9), taken=1000, completed=3500, **more)


def test_an_event_as_bytes() -> None:
    record = some(comm=b"program", file=b"/a", name=b"n", name2=b"", data=b"\0\1", res=-2, queued=1 << 60)
    data = pack(record)
    assert unpack(data) == (record, len(data))
    assert list(each(data * 2)) == [record, record]


def test_another_release() -> None:
    data = bytearray(pack(some()))
    data[4] += 1
    with pytest.raises(ValueError, match="release"):
        unpack(bytes(data))


@pytest.mark.parametrize("kind", RecordKind)
def test_every_event_is_in_the_schema(kind: RecordKind) -> None:
    told = Objects().object(some()._replace(kind=kind))
    assert set(told) == {"event", *SCHEMA[told["event"]]}


def test_slices_do_not_overlap_on_a_thread() -> None:
    slices = Slices()
    lines = []
    for number, (taken, completed) in enumerate([(10, 20), (15, 30), (5, 40), (30, 50)]):
        lines += slices.lines(some()._replace(id=number + 1, taken=taken, completed=completed))
    events = [json.loads(line.strip(",\n")) for line in lines]
    ends: dict[int, float] = {}
    for event in sorted((one for one in events if one.get("cat") == "request" and one["ph"] == "X"), key=_begin):
        assert ends.get(event["tid"], 0) <= event["ts"]
        ends[event["tid"]] = event["ts"] + event["dur"]
    assert len(ends) == 3


@given(st.lists(st.tuples(st.integers(1, 3000), st.integers(0, 3000)), max_size=40))
def test_a_file_of_slices_can_be_read(requests: list[tuple[int, int]]) -> None:
    slices, lines = Slices(), list[str]()
    for number, (taken, lasts) in enumerate(sorted(requests, key=sum), 1):
        lines += slices.lines(some()._replace(id=number, taken=taken, completed=taken + lasts))
    text = slices.begin + "".join(lines)
    tracefile.assert_readable(json.loads(text + slices.end))
    assert tracefile.load(text) == json.loads(text + slices.end)


def test_a_file_that_cannot_be_read_is_noticed() -> None:
    one = {"ph": "X", "pid": 1, "tid": 1, "name": "one", "ts": 1.0, "dur": 1.0}
    step = {"ph": "s", "pid": 1, "tid": 1, "id": 1, "name": "flow", "ts": 2.5}
    assert tracefile.misplaced(tracefile.slices_of([one, {**one, "ts": 1.5}])[1, 1]) == [(1500, 2500)]
    assert tracefile.misplaced(tracefile.slices_of([one, {**one, "ts": 1.5, "dur": 0.5}])[1, 1]) == []
    assert tracefile.lost_steps([one, step]) == [step]


def test_moments_are_forgotten() -> None:
    moments = Moments()
    assert {moments.length(2 * MOMENT * number) for number in range(2 * REMEMBERED)} == {MOMENT}
    assert len(vars(moments)["_begins"]) <= REMEMBERED


def _begin(event: dict[str, float]) -> float:
    return event["ts"]


def test_percentiles_of_a_summary() -> None:
    summary = Summary()
    summary.note(some()._replace(taken=1, completed=1 + 1000 * (n + 1)) for n in range(100))
    summary.note([some(res=-5)._replace(taken=0), blank(RecordKind.LOST, id=7)])
    told = summary.object()
    read = told["ops"]["READ"]
    assert (read["count"], read["errors"], read["max_ns"], told["lost"]) == (101, 1, 100_000, 7)
    for percent in (50, 95, 99):
        assert read[f"p{percent}_ns"] == pytest.approx(percent * 1000, rel=0.03)
    assert summary.lines()[2].split()[-1] == "READ"


@pytest.mark.parametrize("kind", [RecordKind.REQUEST, RecordKind.CQE, RecordKind.INJECTED])
def test_names_do_not_steer_a_terminal(kind: RecordKind) -> None:
    """A descriptor's path, a path that is named, a rule: any user gives them, and root looks."""
    hostile = b"a\x1b[2J\n"
    names = {"file": hostile + b"\x9b", "name": hostile, "name2": hostile, "comm": hostile, "data": hostile}
    for opcode in range(len(OPCODES)):
        line = Lines(times=True).line(
            blank(kind, id=1, completed=1, sqe=Sqe(opcode, fd=3, addr=1, off=1), **names)
        )
        assert line.endswith("\n")
        assert line[:-1].isprintable(), line
