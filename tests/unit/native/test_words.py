"""Words: bounds, alignment, wrapping, and what holds the buffer."""

import mmap
import struct
import sys
import threading

import pytest

from uringfs.native import Words


def test_store_and_load_are_native_u32_at_byte_offsets() -> None:
    buf = bytearray(16)
    words = Words(buf)
    for off in (0, 4, 8, 12):
        words.store(off, 0x01020300 + off)
    assert struct.unpack("=4I", buf) == (0x01020300, 0x01020304, 0x01020308, 0x0102030C)
    assert [words.load(off) for off in (12, 8, 4, 0)] == [0x0102030C, 0x01020308, 0x01020304, 0x01020300]


@pytest.mark.parametrize(
    "access", [lambda w, o: w.load(o), lambda w, o: w.store(o, 1), lambda w, o: w.fetch_or(o, 1),
               lambda w, o: w.fetch_and(o, 0)], ids=["load", "store", "fetch_or", "fetch_and"]
)  # fmt: skip
@pytest.mark.parametrize(
    ("offset", "error"),
    [(-4, IndexError), (-1, IndexError), (16, IndexError), (12 + 4 - 3, IndexError), (1 << 63, IndexError),
     (-(1 << 63) - 1, IndexError), (1 << 200, IndexError), (1, ValueError), (2, ValueError), (11, ValueError),
     ("0", TypeError), (1.0, TypeError)],
)  # fmt: skip
def test_an_offset_that_names_no_word_touches_nothing(access, offset, error) -> None:
    buf = bytearray(b"\xa5" * 16)
    with pytest.raises(error):
        access(Words(buf), offset)
    assert buf == b"\xa5" * 16


def test_a_tail_that_is_no_whole_word_is_out_of_bounds() -> None:
    words = Words(bytearray(7))
    words.store(0, 7)
    assert len(words) == 1
    with pytest.raises(IndexError):
        words.load(4)


@pytest.mark.parametrize("size", [0, 1, 3])
def test_a_buffer_smaller_than_a_word_has_none(size: int) -> None:
    with pytest.raises(IndexError):
        Words(bytearray(size)).load(0)


@pytest.mark.parametrize(
    ("value", "stored"),
    [(0, 0), (1 << 32, 0), ((1 << 32) + 5, 5), (-1, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF)],
)
def test_values_wrap_to_32_bits(value: int, stored: int) -> None:
    words = Words(bytearray(b"\x11" * 4))
    words.store(0, value)
    assert words.load(0) == stored


def test_fetch_or_and_fetch_and_return_the_value_before() -> None:
    words = Words(bytearray(8))
    words.store(4, 0b1100)
    assert words.fetch_or(4, 0b0110) == 0b1100
    assert words.load(4) == 0b1110
    assert words.fetch_and(4, ~0b0100) == 0b1110
    assert words.load(4) == 0b1010
    assert words.load(0) == 0


def test_a_value_that_is_no_int_is_refused() -> None:
    words = Words(bytearray(4))
    with pytest.raises(TypeError):
        words.store(0, "1")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        words.store(0)  # type: ignore[call-arg]


def test_read_only_and_misaligned_buffers_are_refused() -> None:
    with pytest.raises(BufferError):
        Words(b"1234")
    with pytest.raises(ValueError, match="multiple of 4"):
        Words(memoryview(bytearray(16))[1:])
    with pytest.raises(TypeError):
        Words(5)  # type: ignore[arg-type]


def test_the_buffer_is_exported_until_release() -> None:
    mem = mmap.mmap(-1, 4096)
    words = Words(mem)
    with pytest.raises(BufferError):
        mem.close()
    words.release()
    words.release()
    mem.close()
    assert len(words) == 0
    with pytest.raises(ValueError, match="released"):
        words.load(0)
    with pytest.raises(ValueError, match="released"):
        words.store(0, 1)


def test_a_with_block_releases() -> None:
    buf = bytearray(4)
    with Words(buf) as words:
        words.store(0, 9)
    buf.append(1)  # BufferError while exported
    assert buf[0] == (9 if sys.byteorder == "little" else 0)


def test_a_refused_buffer_is_not_kept_exported() -> None:
    buf = bytearray(16)
    view = memoryview(buf)[1:]
    with pytest.raises(ValueError, match="multiple of 4"):
        Words(view)
    view.release()
    buf.append(1)


def test_fetch_or_loses_no_bit_between_threads() -> None:
    words = Words(bytearray(4))
    start = threading.Barrier(8)

    def setter(lane: int) -> None:
        start.wait(30)
        for bit in range(lane, 32, 8):
            words.fetch_or(0, 1 << bit)

    threads = [threading.Thread(target=setter, args=(i,)) for i in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(30)
    assert words.load(0) == 0xFFFFFFFF


def test_bytes_are_copied_at_any_offset() -> None:
    buf = bytearray(range(16))
    words = Words(buf)
    assert words.read(3, 5) == bytes(range(3, 8))
    words.write(1, b"abc")
    words.write(16, b"")
    assert (bytes(buf[:5]), words.read(16, 0), words.read(0, 16)) == (b"\0abc\x04", b"", bytes(buf))


@pytest.mark.parametrize(("offset", "size"), [(-1, 1), (16, 1), (9, 8), (0, 17), (0, -1), (1 << 40, 1)])
def test_bytes_that_are_not_all_there_are_none(offset: int, size: int) -> None:
    buf = bytearray(b"\xa5" * 16)
    words = Words(buf)
    with pytest.raises(IndexError):
        words.read(offset, size)
    if size > 0:
        with pytest.raises(IndexError):
            words.write(offset, bytes(size))
    assert buf == b"\xa5" * 16


def test_a_released_buffer_is_neither_read_nor_written() -> None:
    words = Words(bytearray(16))
    words.release()
    with pytest.raises(ValueError, match="released"):
        words.read(0, 1)
    with pytest.raises(ValueError, match="released"):
        words.write(0, b"a")
