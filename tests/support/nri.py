"""The runtime's end of an NRI socket: its messages are encoded by Google's protobuf, its frames by this file.
Names and numbers are those of containerd/nri's api.proto, of ttrpc's request.proto and of google.rpc.Status."""

import socket
import struct
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_TEXT, _BYTES, _I32, _I64, _U64, _U32, _BOOL = 9, 12, 5, 3, 4, 13, 8  # FieldDescriptorProto.Type
_MESSAGE, _ONE, _MANY = 11, 1, 3
_MANY_TEXT = (_TEXT, _MANY)

MESSAGES: dict[str, dict[str, tuple[int, Any]]] = {
    "Status": {"code": (1, _I32), "message": (2, _TEXT)},
    "Request": {"service": (1, _TEXT), "method": (2, _TEXT), "payload": (3, _BYTES), "timeout_nano": (4, _I64)},
    "Response": {"status": (1, "Status"), "payload": (2, _BYTES)},
    "RegisterPluginRequest": {"plugin_name": (1, _TEXT), "plugin_idx": (2, _TEXT)},
    "ConfigureRequest": {
        "config": (1, _TEXT),
        "runtime_name": (2, _TEXT),
        "runtime_version": (3, _TEXT),
        "registration_timeout": (4, _I64),
        "request_timeout": (5, _I64),
    },
    "ConfigureResponse": {"events": (2, _I32)},
    "Entry": {"key": (1, _TEXT), "value": (2, _TEXT)},  # of a map
    "PodSandbox": {
        "id": (1, _TEXT),
        "name": (2, _TEXT),
        "uid": (3, _TEXT),
        "namespace": (4, _TEXT),
        "labels": (5, ("Entry", _MANY)),
        "annotations": (6, ("Entry", _MANY)),
        "pid": (9, _U32),
    },
    "OptionalUInt32": {"value": (1, _U32)},
    "LinuxSeccompArg": {"index": (1, _U32), "value": (2, _U64), "value_two": (3, _U64), "op": (4, _TEXT)},
    "LinuxSyscall": {
        "names": (1, _MANY_TEXT),
        "action": (2, _TEXT),
        "errno_ret": (3, "OptionalUInt32"),
        "args": (4, ("LinuxSeccompArg", _MANY)),
    },
    "LinuxSeccomp": {
        "default_action": (1, _TEXT),
        "default_errno": (2, "OptionalUInt32"),
        "architectures": (3, _MANY_TEXT),
        "flags": (4, _MANY_TEXT),
        "listener_path": (5, _TEXT),
        "listener_metadata": (6, _TEXT),
        "syscalls": (7, ("LinuxSyscall", _MANY)),
    },
    "LinuxContainer": {"cgroups_path": (5, _TEXT), "seccomp_policy": (8, "LinuxSeccomp")},
    "Container": {
        "id": (1, _TEXT),
        "pod_sandbox_id": (2, _TEXT),
        "name": (3, _TEXT),
        "state": (4, _I32),
        "args": (7, _MANY_TEXT),
        "linux": (11, "LinuxContainer"),
        "created_at": (14, _I64),
    },
    "SynchronizeRequest": {
        "pods": (1, ("PodSandbox", _MANY)),
        "containers": (2, ("Container", _MANY)),
        "more": (3, _BOOL),
    },
    "SynchronizeResponse": {"more": (2, _BOOL)},
    "CreateContainerRequest": {"pod": (1, "PodSandbox"), "container": (2, "Container")},
    "LinuxContainerAdjustment": {"cgroups_path": (3, _TEXT), "seccomp_policy": (6, "LinuxSeccomp")},
    "ContainerAdjustment": {
        "annotations": (2, ("Entry", _MANY)),
        "linux": (6, "LinuxContainerAdjustment"),
    },
    "CreateContainerResponse": {"adjust": (1, "ContainerAdjustment")},
    "Empty": {},
}


def _classes() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="nri.proto", package="nri", syntax="proto3")
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            kind, label = kind if isinstance(kind, tuple) else (kind, _ONE)
            made = message.field.add(name=field, number=number, label=label)
            if isinstance(kind, str):
                made.type, made.type_name = _MESSAGE, f".nri.{kind}"
            else:
                made.type = kind
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"nri.{name}")) for name in MESSAGES}


CLASSES = _classes()
_MUX, _FRAME = struct.Struct(">II"), struct.Struct(">IIBB")


class Failed(Exception):
    """The plugin's answer is a failure: its text."""


class Runtime:
    """The runtime's end of one plugin's connection. piece: how many bytes of a message come at once."""

    def __init__(self, connection: socket.socket, piece: int = 4096) -> None:
        self._connection = connection
        self._piece = piece
        self._stream = -1
        self.largest = 0
        """Bytes of a frame that came."""

    def registration(self, error: str = "") -> Any:
        """What the plugin registers as; it is told that error."""
        connection, stream, kind, data = self._receive()
        assert (connection, stream, kind) == (2, 1, 1)
        request = CLASSES["Request"].FromString(data)
        assert (request.service, request.method) == ("nri.pkg.api.v1alpha1.Runtime", "RegisterPlugin")
        status = {"status": {"code": 2, "message": error}} if error else {}
        self._send(2, stream, 2, CLASSES["Response"](**status).SerializeToString())
        return CLASSES["RegisterPluginRequest"].FromString(request.payload)

    def call(self, method: str, answer: str, request: Any = None, service: str = "Plugin") -> Any:
        """Failed"""
        self._stream += 2
        payload = request.SerializeToString() if request is not None else b""
        call = CLASSES["Request"](
            service=f"nri.pkg.api.v1alpha1.{service}", method=method, payload=payload, timeout_nano=2 * 10**9
        )
        self._send(1, self._stream, 1, call.SerializeToString())
        connection, stream, kind, data = self._receive()
        assert (connection, stream, kind) == (1, self._stream, 2)
        response = CLASSES["Response"].FromString(data)
        if response.status.code:
            raise Failed(response.status.message)
        return CLASSES[answer].FromString(response.payload)

    def configure(self, name: str = "containerd", version: str = "v2.2.1") -> int:
        """The plugin's mask of events."""
        request = CLASSES["ConfigureRequest"](runtime_name=name, runtime_version=version, request_timeout=2000)
        return int(self.call("Configure", "ConfigureResponse", request).events)

    def _send(self, connection: int, stream: int, kind: int, data: bytes) -> None:
        data = _FRAME.pack(len(data), stream, kind, 0) + data
        for at in range(0, len(data), self._piece):
            piece = data[at : at + self._piece]
            self._connection.sendall(_MUX.pack(connection, len(piece)) + piece)

    def _receive(self) -> tuple[int, int, int, bytes]:
        connection, data = self._frame()
        length, stream, kind, flags = _FRAME.unpack_from(data)
        assert flags == 0
        while len(data) < _FRAME.size + length:
            same, more = self._frame()
            assert same == connection
            data += more
        return connection, stream, kind, data[_FRAME.size :]

    def _frame(self) -> tuple[int, bytes]:
        connection, length = _MUX.unpack(self._exactly(_MUX.size))
        self.largest = max(self.largest, length)
        return connection, self._exactly(length)

    def _exactly(self, size: int) -> bytes:
        data = self._connection.recv(size, socket.MSG_WAITALL)
        assert len(data) == size, "the plugin has ended the connection"
        return data
