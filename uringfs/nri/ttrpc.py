"""ttrpc over one socket, in both directions: frames of NRI's multiplexer, and in them ttrpc's
(containerd/nri, pkg/net/multiplex; containerd/ttrpc, PROTOCOL.md). Bytes in, calls out: there is no I/O here."""

import struct
from collections.abc import Iterator
from typing import NamedTuple

from uringfs.nri.proto import Message

PLUGIN, RUNTIME = 1, 2
"""Connections: where the runtime calls the plugin, and where the plugin calls the runtime."""
REQUEST, RESPONSE = 1, 2
INVALID_ARGUMENT, FAILED_PRECONDITION, UNIMPLEMENTED = 3, 9, 12  # of google.rpc.Code

_MUX = struct.Struct(">II")  # connection, length
_FRAME = struct.Struct(">IIBB")  # length, stream, type, flags
_MOST = 4 << 20  # bytes of a message
_CHUNK = 4096
"""Bytes: the other end reads into a buffer of this size, and fails with ENOMEM for what is more."""


class WireError(Exception):
    """An end of the connection does not speak ttrpc."""


class Call(NamedTuple):
    """A message of either kind, as it has come."""

    connection: int
    stream: int
    kind: int
    body: Message


class Frames:
    """The bytes of a socket, which come in any pieces."""

    def __init__(self) -> None:
        self._trunk = bytearray()
        self._connections = {PLUGIN: bytearray(), RUNTIME: bytearray()}

    def received(self, data: bytes) -> Iterator[Call]:
        """What is complete now. WireError, ProtoError"""
        self._trunk += data
        while len(self._trunk) >= _MUX.size:
            connection, size = _MUX.unpack_from(self._trunk)
            if size > _MOST + _FRAME.size:
                raise WireError(f"{size} bytes at once")
            if len(self._trunk) < _MUX.size + size:
                return
            piece = bytes(self._trunk[_MUX.size : _MUX.size + size])
            del self._trunk[: _MUX.size + size]
            if connection in self._connections:  # others are nobody's, as in the multiplexer
                yield from self._messages(connection, piece)

    def _messages(self, connection: int, piece: bytes) -> Iterator[Call]:
        data = self._connections[connection]
        data += piece
        while len(data) >= _FRAME.size:
            size, stream, kind, _ = _FRAME.unpack_from(data)
            if size > _MOST or kind not in (REQUEST, RESPONSE):
                raise WireError(f"a message of kind {kind} and {size} bytes")
            if len(data) < _FRAME.size + size:
                return
            body = Message.parse(bytes(data[_FRAME.size : _FRAME.size + size]))
            del data[: _FRAME.size + size]
            yield Call(connection, stream, kind, body)


def request(service: str, method: str, payload: Message, stream: int) -> bytes:
    """For the runtime. stream: an odd number, another one for each."""
    body = Message().add(1, service).add(2, method).add(3, payload)
    return _framed(RUNTIME, stream, REQUEST, bytes(body))


def response(stream: int, payload: Message) -> bytes:
    return _framed(PLUGIN, stream, RESPONSE, bytes(Message().add(2, payload)))


def failure(stream: int, code: int, text: str) -> bytes:
    """The call fails with that text at its caller's."""
    status = Message().add(1, code).add(2, text)
    return _framed(PLUGIN, stream, RESPONSE, bytes(Message().add(1, status)))


def error_of(answer: Message) -> str:
    """What a response says of a failure; "" for none. ProtoError"""
    status = answer.message(1)
    return "" if status is None or not status.number(1) else status.string(2) or f"code {status.number(1)}"


def _framed(connection: int, stream: int, kind: int, body: bytes) -> bytes:
    data = _FRAME.pack(len(body), stream, kind, 0) + body
    pieces = (data[at : at + _CHUNK] for at in range(0, len(data), _CHUNK))
    return b"".join(_MUX.pack(connection, len(piece)) + piece for piece in pieces)
