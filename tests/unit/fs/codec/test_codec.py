"""Control writes, binary and text: any bytes are either understood or refused with an errno."""

import errno
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uringfs.abi import control as abi
from uringfs.errors import UringError
from uringfs.fs.codec import control, text

CODES = {
    abi.URINGFS_CMD_SETUP: (abi.SETUP, abi.Setup),
    abi.URINGFS_CMD_ENTER: (abi.ENTER, abi.Enter),
    abi.URINGFS_CMD_REGISTER: (abi.REGISTER, abi.Register),
}


def refusal(data: bytes) -> int:
    with pytest.raises(UringError) as caught:
        control.decode(data)
    return caught.value.errno


def attempt(codec: Callable[[bytes], Any], data: bytes) -> Any:
    """What it makes of data, or the errno."""
    try:
        return codec(data)
    except UringError as error:
        return error.errno


@pytest.mark.parametrize("cmd", CODES)
def test_whole_messages(cmd: int) -> None:
    body, make = CODES[cmd]
    fields = tuple(range(11, 11 + len(make._fields)))
    data = abi.HEADER.pack(cmd, abi.HEADER.size + body.size) + body.pack(*fields)
    assert control.decode(data) == make(*fields)
    assert not control.is_text(data)


@pytest.mark.parametrize("cmd", CODES)
@pytest.mark.parametrize("off_by", [-32, -8, -1, 1, 8, 4096])
def test_sizes_that_do_not_match(cmd: int, off_by: int) -> None:
    body, _ = CODES[cmd]
    size = abi.HEADER.size + body.size
    whole = abi.HEADER.pack(cmd, size) + bytes(body.size)
    assert refusal((whole + bytes(4096))[: max(size + off_by, 8)]) == errno.EINVAL
    lying = abi.HEADER.pack(cmd, (size + off_by) & 0xFFFFFFFF) + bytes(body.size)
    assert refusal(lying) == errno.EINVAL


@pytest.mark.parametrize("cmd", CODES)
@pytest.mark.parametrize("bit", [0, 1, 8, 16, 24, 31])
def test_commands_that_do_not_match(cmd: int, bit: int) -> None:
    body, _ = CODES[cmd]
    other = cmd ^ 1 << bit
    data = abi.HEADER.pack(other, abi.HEADER.size + body.size) + bytes(body.size)
    if other in CODES and CODES[other][0].size == body.size:
        assert isinstance(control.decode(data), CODES[other][1])
    else:
        assert refusal(data) == (errno.EINVAL if other in CODES else errno.ENOTTY)


@pytest.mark.parametrize("length", range(0, 4097, 17))
def test_zeros_of_any_length_are_no_message(length: int) -> None:
    assert refusal(bytes(length)) == (errno.EINVAL if length < 8 else errno.ENOTTY)


@given(data=st.binary(max_size=4096))
def test_any_bytes_are_a_message_or_an_errno(data: bytes) -> None:
    outcome = attempt(control.decode, data)
    assert outcome in (errno.EINVAL, errno.ENOTTY) or isinstance(outcome, abi.Setup | abi.Enter | abi.Register)


@given(data=st.binary(min_size=1, max_size=4096))
def test_any_bytes_are_commands_or_einval(data: bytes) -> None:
    outcome = attempt(text.parse, data)
    assert outcome == errno.EINVAL or len(outcome) <= data.count(b"\n") + 1


@pytest.mark.parametrize("first", range(256))
def test_the_first_byte_tells_text_from_messages(first: int) -> None:
    assert control.is_text(bytes([first]) + b"xyz") == (first in b"\t\n\v\f\r" or first >= 0x20)


@pytest.mark.parametrize(
    ("line", "command"),
    [
        (b"setup 8", text.SetupCommand(8, None, 0)),
        (b"setup 0x10 cq=64 flags=CLAMP|SUBMIT_ALL", text.SetupCommand(16, 64, 0x90)),
        (b"  setup\t8  ", text.SetupCommand(8, None, 0)),
        (b"setup 8 flags=1", text.SetupCommand(8, None, 1)),
        (b"nop", text.NopCommand(0, 0)),
        (b"nop user_data=18446744073709551615 flags=IO_LINK", text.NopCommand((1 << 64) - 1, 4)),
        (b"readv path=/etc/hostname", text.ReadvCommand("/etc/hostname", 4096, 0, 0, 0)),
        (b"readv path=a=b len=7 off=9 user_data=3", text.ReadvCommand("a=b", 7, 9, 3, 0)),
        (b"enter", text.EnterCommand(None, 0)),
        (b"enter 3 wait=2", text.EnterCommand(3, 2)),
        (b"reap", text.ReapCommand(None)),
        (b"reap 1", text.ReapCommand(1)),
    ],
)
def test_commands(line: bytes, command: text.Command) -> None:
    assert text.parse(line) == [command]


def test_several_lines_blank_ones_and_remarks() -> None:
    data = b"\n# a ring\nsetup 8\n\n  \nnop\r\nnop\n#end"
    assert [type(command) for command in text.parse(data)] == [text.SetupCommand, text.NopCommand, text.NopCommand]
    assert text.parse(b"\n") == []


@pytest.mark.parametrize(
    "line",
    [
        b"fly",
        b"SETUP 8",
        b"setup",
        b"setup eight",
        b"setup -1",
        b"setup 4294967296",
        b"setup 8 9",
        b"setup 8 cq=-1",
        b"setup 8 cq=",
        b"setup 8 flags=NOPE",
        b"setup 8 flags=CLAMP|",
        b"setup 8 flags=4294967296",
        b"setup 8 cq=8 cq=8",
        b"setup 8 colour=red",
        b"nop 1",
        b"nop user_data=18446744073709551616",
        b"nop user_data=-1",
        b"nop user_data=0x",
        b"nop user_data=1e3",
        b"nop =1",
        b"nop =",
        b"readv",
        b"readv path=",
        b"readv path=/x len=1048577",
        b"readv path=/x off=9223372036854775808",
        b"enter 1 2",
        b"enter wait=4294967296",
        b"reap x",
        b"nop\0",
        b"\xff\xfe",
        b"nop user_data=\xd9\xa3\xff",
        b"nop " + b"x" * 4096,
        b"n" * (1 << 20),
    ],
    ids=lambda line: repr(line[:40]),
)  # fmt: skip
def test_lines_that_are_refused(line: bytes) -> None:
    for data in (line, b"nop\n" + line + b"\nnop"):
        with pytest.raises(UringError) as caught:
            text.parse(data)
        assert caught.value.errno == errno.EINVAL
        assert len(str(caught.value)) < 10_000
