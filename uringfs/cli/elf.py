"""What an ELF file says about itself, as far as who executes it has to know."""

from struct import Struct
from typing import BinaryIO

_EHDR = Struct("<16sHHIQQQIHHHHHH")  # Elf64_Ehdr
_EHDR_MACHINE, _EHDR_PHOFF, _EHDR_PHENTSIZE, _EHDR_PHNUM = 2, 5, 9, 10
_PHDR = Struct("<IIQQQQQQ")  # Elf64_Phdr: type, flags, offset, vaddr, paddr, filesz, memsz, align
_DYN = Struct("<QQ")  # Elf64_Dyn
_PT_LOAD, _PT_DYNAMIC, _PT_INTERP, _PT_NOTE = 1, 2, 3, 4
_DT_STRTAB, _DT_STRSZ = 5, 10
_ELFCLASS64 = 2
_GO_NOTE = b"Go\0\0"
_MOST = 1 << 20
"""Bytes of a note or table that are looked at."""


class Elf:
    """An open file. OSError; ValueError if it is none, or not what it says."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        head = self._read(0, _EHDR.size)
        if head[:4] != b"\x7fELF" or len(head) < _EHDR.size:
            raise ValueError("no ELF file")
        self.is_64bit = head[4] == _ELFCLASS64
        header = _EHDR.unpack(head)
        self.machine = header[_EHDR_MACHINE]
        size = header[_EHDR_PHENTSIZE] * header[_EHDR_PHNUM] if self.is_64bit else 0
        table = self._read(header[_EHDR_PHOFF], size)
        self._segments = [
            _PHDR.unpack_from(table, at)
            for at in range(0, len(table) - _PHDR.size + 1, header[_EHDR_PHENTSIZE] or _PHDR.size)
        ]

    def _read(self, offset: int, size: int) -> bytes:
        self._file.seek(min(offset, 1 << 62))
        return self._file.read(min(size, _MOST))

    def is_static(self) -> bool:
        """No dynamic linker has to do with it."""
        return all(segment[0] != _PT_INTERP for segment in self._segments)

    def is_go(self) -> bool:
        """The Go tool chain has left its mark."""
        return any(_GO_NOTE in self._read(one[2], one[5]) for one in self._segments if one[0] == _PT_NOTE)

    def strings(self) -> bytes:
        """The dynamic linker's: names of libraries it needs, among others, each between zeros."""
        for segment in self._segments:
            if segment[0] == _PT_DYNAMIC:
                data = self._read(segment[2], segment[5])
                tags = dict(_DYN.iter_unpack(data[: len(data) // _DYN.size * _DYN.size]))
                return self._read(self._offset(tags.get(_DT_STRTAB, 0)), tags.get(_DT_STRSZ, 0))
        return b""

    def _offset(self, address: int) -> int:
        for kind, _, offset, start, _, size, *_ in self._segments:
            if kind == _PT_LOAD and start <= address < start + size:
                return int(address - start + offset)
        return 0
