"""Protocol buffers as bytes: fields by number. What is not looked at is kept as it came, so that messages of newer
runtimes lose nothing on their way through (protobuf.dev, "Encoding")."""

from collections.abc import Iterator
from typing import NamedTuple, Self

VARINT, I64, LEN, I32 = 0, 1, 2, 5
_FIXED = {I64: 8, I32: 4}  # bytes
_MOST = 10  # bytes of a varint


class ProtoError(ValueError):
    """Raised for bytes that are no message."""


class Field(NamedTuple):
    number: int
    wire: int
    value: int | bytes
    """An int for VARINT, else bytes."""


class Message:
    """Fields in their order."""

    def __init__(self, *fields: Field) -> None:
        self.fields = list(fields)

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """ProtoError"""
        return cls(*_fields(data))

    def __bytes__(self) -> bytes:
        return b"".join(map(_encoded, self.fields))

    def add(self, number: int, value: "int | str | bytes | Message") -> Self:
        """Append a field. An int is a VARINT >= 0."""
        if isinstance(value, int):
            self.fields.append(Field(number, VARINT, value))
        else:
            self.fields.append(Field(number, LEN, value.encode() if isinstance(value, str) else bytes(value)))
        return self

    def without(self, number: int) -> "Message":
        return Message(*(field for field in self.fields if field.number != number))

    def all(self, number: int) -> list[bytes]:
        """A repeated field of LEN. ProtoError: it is another kind of field."""
        return [_bytes(field) for field in self.fields if field.number == number]

    def one(self, number: int) -> bytes:
        """The last one, which wins; b"", the default, without any. ProtoError"""
        return (self.all(number) or [b""])[-1]

    def string(self, number: int) -> str:
        """ProtoError"""
        return _text(self.one(number))

    def strings(self, number: int) -> list[str]:
        """ProtoError"""
        return [_text(value) for value in self.all(number)]

    def message(self, number: int) -> "Message | None":
        """None: it is absent, which is not an empty one. Of several all fields are merged. ProtoError"""
        found = self.all(number)
        return Message.parse(b"".join(found)) if found else None

    def mapping(self, number: int) -> dict[str, str]:
        """map<string, string>. ProtoError"""
        entries = map(Message.parse, self.all(number))
        return {entry.string(1): entry.string(2) for entry in entries}

    def number(self, number: int) -> int:
        """A VARINT; 0, the default, without one. ProtoError"""
        found = [field.value for field in self.fields if field.number == number]
        value = (found or [0])[-1]
        if not isinstance(value, int):
            raise ProtoError(f"field {number} is no number")
        return value


def _bytes(field: Field) -> bytes:
    if field.wire != LEN or not isinstance(field.value, bytes):
        raise ProtoError(f"field {field.number} is a number")
    return field.value


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ProtoError(str(error)) from error


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _varint_at(data: bytes, at: int) -> tuple[int, int]:
    """The value, and where it ends. ProtoError"""
    value = 0
    for place in range(_MOST):
        if at + place >= len(data):
            raise ProtoError("cut short")
        byte = data[at + place]
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return value & (1 << 64) - 1, at + place + 1
    raise ProtoError("a number without an end")


def _fields(data: bytes) -> Iterator[Field]:
    at = 0
    while at < len(data):
        key, at = _varint_at(data, at)
        number, wire = key >> 3, key & 7
        if wire == VARINT:
            value, at = _varint_at(data, at)
            yield Field(number, wire, value)
            continue
        size = _FIXED.get(wire)
        if wire == LEN:
            size, at = _varint_at(data, at)
        if size is None or number == 0 or at + size > len(data):
            raise ProtoError("cut short" if size is not None and number else f"a field of kind {wire}")
        yield Field(number, wire, data[at : at + size])
        at += size


def _encoded(field: Field) -> bytes:
    key = varint(field.number << 3 | field.wire)
    if isinstance(field.value, int):
        return key + varint(field.value)
    return key + (varint(len(field.value)) if field.wire == LEN else b"") + field.value
