"""The rule language: what each word says, and what is said about a rule that is wrong."""

import errno
import random
import signal

import pytest

from uringfs.abi import constants as abi
from uringfs.faults import sets, values
from uringfs.faults.parser import RuleError, parse
from uringfs.faults.rule import Rule
from uringfs.faults.words import WORDS


def test_opcodes_by_name_class_and_prefix() -> None:
    assert parse("write:error=EIO").opcodes == {abi.IORING_OP_WRITE}
    assert parse("IORING_OP_READ,readv:error=EIO").opcodes == {abi.IORING_OP_READ, abi.IORING_OP_READV}
    assert parse("%write:error=EIO").opcodes == sets.WRITES
    assert parse("!%write,NOP:error=EIO").opcodes == sets.ALL - sets.WRITES - {abi.IORING_OP_NOP}
    assert parse("all:error=EIO").opcodes == sets.ALL


def test_calls() -> None:
    rule = parse("enter:error=EINTR:when=2")
    assert (rule.call, rule.opcodes, rule.error, rule.when) == (
        *("enter", frozenset(), errno.EINTR),
        values.When(2, 2),
    )


CASES = {
    "NOP:path=/data/*.wal:error=5": {"path": "/data/*.wal", "error": 5},
    'NOP:peer="127.0.0.1:80":error=EIO': {"peer": "127.0.0.1:80"},
    r'NOP:path="a\"b:c":error=EIO': {"path": 'a"b:c'},
    "NOP:fd=3:error=EIO": {"fd": values.Range(3, 3)},
    "NOP:user_data=0x10..0x1f:error=EIO": {"user_data": values.Range(16, 31)},
    "NOP:flags=IOSQE_IO_LINK|async:error=EIO": {"flags": abi.IOSQE_IO_LINK | abi.IOSQE_ASYNC},
    "NOP:chain=2..:error=EIO": {"chain": values.Range(2, 0xFFFFFFFFFFFFFFFF)},
    "WRITE:range=..4095:error=EIO": {"range": values.Range(0, 4095)},
    "NOP:pid=12:ring=db*:error=EIO": {"pid": 12, "ring": "db*"},
    "NOP:probability=25%:error=EIO": {"probability": 0.25},
    "NOP:probability=0.5:seed=7:error=EIO": {"probability": 0.5, "seed": 7},
    "NOP:times=3:expires=1.5s:error=EIO": {"times": 3, "expires": 1.5},
    "NOP:retval=-17": {"retval": -17, "result": -17},
    "NOP:error=EAGAIN:after": {"after": True, "result": -errno.EAGAIN},
    "READ:short=10": {"short": 10},
    "WRITE:torn=512": {"torn": 512},
    "WRITE:misdirect=-4096": {"misdirect": -4096},
    "WRITE:corrupt=2": {"corrupt": 2},
    "WRITE:corrupt=5..6": {"corrupt": values.Range(5, 6)},
    "RECV:nobufs": {"nobufs": True},
    "ASYNC_CANCEL:late": {"late": True},
    "NOP:delay_enter=100": {"delay_enter": values.Fixed(1e-4)},
    "NOP:delay_exit=1ms..5ms": {"delay_exit": values.Uniform(1e-3, 5e-3)},
    "NOP:delay_exit=exp(2s)": {"delay_exit": values.Exponential(2.0)},
    "NOP:delay_exit=normal(2s,10ms)": {"delay_exit": values.Normal(2.0, 0.01)},
    "NOP:hold": {"hold": "enter"},
    "NOP:hold=exit": {"hold": "exit"},
    "NOP:reorder=4": {"reorder": 4},
    "NOP:stall": {"stall": 0.0},
    "NOP:stall=2s": {"stall": 2.0},
    "WRITE:unsynced": {"unsynced": True},
    "NOP:overflow": {"overflow": True},
    "NOP:lose": {"lose": True},
    "RECV:nomore": {"nomore": 1},
    "RECV:hidemore": {"hidemore": 0},
    "RECV:hidemore=2": {"hidemore": 2},
    "RECV:nomore=3": {"nomore": 3},
    "NOP:signal=KILL": {"signal": signal.SIGKILL},
    "NOP:release=4": {"release": 4},
    " write : error = EIO : when = 3 ": {"error": errno.EIO, "when": values.When(3, 3)},
}


@pytest.mark.parametrize("text", CASES)
def test_words(text: str) -> None:
    rule = parse(text)
    assert {name: getattr(rule, name) for name in CASES[text]} == CASES[text]
    assert rule.text == text


def test_every_word_is_tried_here() -> None:
    said = " ".join(CASES).replace(" ", "")
    assert [word.name for word in WORDS if f":{word.name}" not in said] == []


@pytest.mark.parametrize(
    ("text", "counted"),
    [
        ("3", [3]),
        ("3+", [3, 4, 5, 6, 7, 8, 9]),
        ("3+2", [3, 5, 7, 9]),
        ("2..4", [2, 3, 4]),
        ("2..8+3", [2, 5, 8]),
    ],
)
def test_when_is_as_straces(text: str, counted: list[int]) -> None:
    when = parse(f"NOP:error=EIO:when={text}").when
    assert [count for count in range(1, 10) if count in when] == counted


WRONG = {
    "": (1, "begins with opcodes", "all"),
    "error=EIO": (1, "begins with opcodes", "WRITE"),
    "WIRTE:error=EIO": (1, "'WIRTE' is no opcode", "WRITE"),
    "!all:error=EIO": (1, "leaves no opcode", "%read"),
    "WRITE:eror=EIO": (7, "'eror' is no word of a rule (perhaps 'error')", "error=ERRNO"),
    "WRITE:error=EIOO": (13, "'EIOO' is no errno", "EIO"),
    "WRITE:error=0": (13, "not within 1..", "1..0xfff"),
    "WRITE:error": (12, "'error' needs a value", "=ERRNO"),
    "WRITE:error=EIO:error=EIO": (17, "given twice", "when=WHEN"),
    "WRITE:error=EIO:retval=3": (17, "cannot stand beside 'error'", "after"),
    "WRITE:short=1:error=EIO": (15, "cannot stand beside 'short'", "delay_exit=DELAY"),
    "WRITE:when=0:error=EIO": (12, "counts nothing", "N..LAST"),
    "WRITE:when=5..3:error=EIO": (12, "ends before it begins", "N..LAST"),
    "WRITE:when=5+0:error=EIO": (12, "a step of 0", "N+STEP"),
    "WRITE:path=x": (13, "the rule does nothing", "error=ERRNO"),
    "WRITE:after:hold": (17, "'after' goes with another word", "error=ERRNO"),
    "WRITE:overflow=1": (16, "takes no value", "overflow"),
    "WRITE:hold=between": (12, "is no place", "enter"),
    "WRITE:delay_exit=soon": (18, "is no time", "5ms"),
    "WRITE:delay_exit=poisson(3ms)": (18, "is no distribution", "exp(MEAN)"),
    "WRITE:delay_exit=5ms..1ms": (18, "ends before it begins", "A..B"),
    "WRITE:probability=2:error=EIO": (19, "is no probability", "25%"),
    "WRITE:misdirect=5": (17, "which way", "+BYTES"),
    "WRITE:fd=x:error=EIO": (10, "is no number", "0..0xffffffffffffffff"),
    "WRITE:user_data=5..3:error=EIO": (17, "is no range", "A..B"),
    "WRITE:user_data=..:error=EIO": (17, "is no range", "A..B"),
    "WRITE:flags=LINK:error=EIO": (13, "is no flag", "IO_LINK"),
    "WRITE:signal=KIL": (14, "is no signal", "SIGKILL"),
    'WRITE:path="x:error=EIO': (12, "a quote is not closed", '"'),
    "WRITE:path=:error=EIO": (12, "empty", "GLOB"),
    "NOP:short=1": (5, "'short' means nothing to these opcodes", "error=ERRNO"),
    "READ:torn=1": (6, "means nothing to these opcodes", "short=BYTES"),
    "enter:path=x:error=EIO": (7, "'path' means nothing to enter", "error=ERRNO"),
    "setup:short=1": (7, "means nothing to setup", "error=ERRNO"),
    "NOP:": (5, "'' is no word", "hold[=enter, exit]"),
    "NOP:reorder=1": (13, "not within 2..", "2..0x8000"),
    "NOP:delay_enter=100000s": (17, "more than a day", "at most 86400s"),
}


@pytest.mark.parametrize("text", WRONG)
def test_a_malformed_rule_names_the_column_and_what_fits(text: str) -> None:
    column, what, fits = WRONG[text]
    with pytest.raises(RuleError) as raised:
        parse(text)
    assert (raised.value.column, what in str(raised.value)) == (column, True), str(raised.value)
    assert fits in raised.value.fits
    assert f"column {column}: " in str(raised.value)


def test_words_that_cannot_follow_are_not_offered() -> None:
    with pytest.raises(RuleError) as raised:
        parse("WRITE:error=EIO:nonsense")
    names = {word.partition("=")[0] for word in raised.value.fits}
    assert "after" in names
    assert not names & {"error", "retval", "short", "torn", "nomore", "late"}


def test_a_rule_has_an_end() -> None:
    with pytest.raises(RuleError) as raised:
        parse(f"NOP:error=EIO:path={'x' * 2000}")
    assert raised.value.column == 1025


def test_delays_are_the_seeds() -> None:
    for text in ("5ms", "1ms..9ms", "exp(3ms)", "normal(5ms,2ms)"):
        delay = values.delay(text)
        drawn = [[delay.sample(chance) for _ in range(200)] for chance in (random.Random(7), random.Random(7))]
        assert drawn[0] == drawn[1]
        assert all(0 <= seconds < 0.1 for seconds in drawn[0])
        assert 0.002 < sum(drawn[0]) / 200 < 0.007


def test_ranges_overlap() -> None:
    some = values.Range(100, 199)
    assert some.overlaps(0, 101)
    assert some.overlaps(199, 1)
    assert not some.overlaps(0, 100)
    assert not some.overlaps(200, 50)
    assert not some.overlaps(150, 0)


def test_what_is_not_said() -> None:
    rule = parse("NOP:error=EIO")
    assert rule == Rule("NOP:error=EIO", "", frozenset({abi.IORING_OP_NOP}), error=errno.EIO)
    assert rule.result == -errno.EIO
    assert parse("NOP:hold").result is None
