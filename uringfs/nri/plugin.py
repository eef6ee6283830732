"""What the runtime asks the plugin (service Plugin of NRI's api.proto), and what it answers."""

import logging
import re
from collections.abc import Callable, Iterator

from uringfs.nri import ttrpc
from uringfs.nri.policy import PolicyError, listening
from uringfs.nri.proto import Message, ProtoError

log = logging.getLogger(__name__)

NAME = "uringfs"
KEY = "uringfs"
"""The annotations that are looked at: uringfs/container.NAME, uringfs/pod, uringfs. The first that is there
counts, as for GetEffectiveAnnotation()."""
LISTEN, NONE = "listen", "none"
OLDEST = {"containerd": (2, 2), "cri-o": (1, 34)}
"""Older ones drop a seccomp policy without a word: the container would run, and its io_uring would be refused."""
_RUNTIME, _PLUGIN = "nri.pkg.api.v1alpha1.Runtime", "nri.pkg.api.v1alpha1.Plugin"
_CREATE_CONTAINER = 1 << 4 - 1  # Event.CREATE_CONTAINER of a mask


class PluginError(Exception):
    """The plugin cannot go on; one line."""


class Plugin:
    """One connection. Bytes of the runtime in, bytes for it out. index: two digits, the place among plugins."""

    def __init__(self, listener: str, index: str) -> None:
        self._listener = listener
        self._index = index
        self._calls = ttrpc.Frames()
        self._methods: dict[str, Callable[[Message], Message]] = {
            "Configure": self._configure,
            "Synchronize": self._synchronize,
            "CreateContainer": self._create_container,
            "Shutdown": lambda request: Message(),
        }
        self.configured = False
        """The runtime has taken it: containers come by from now on."""

    def register(self) -> bytes:
        """The first bytes for the runtime."""
        return ttrpc.request(_RUNTIME, "RegisterPlugin", Message().add(1, NAME).add(2, self._index), 1)

    def received(self, data: bytes) -> Iterator[bytes]:
        """Answers, each of which is to be sent before the next is asked for. PluginError"""
        try:
            for call in self._calls.received(data):
                if call.kind == ttrpc.REQUEST:
                    yield from self._answer(call)
                elif error := ttrpc.error_of(call.body):
                    raise PluginError(f"the runtime does not take the plugin: {error}")
        except (ProtoError, ttrpc.WireError) as error:
            raise PluginError(f"this is no NRI socket: {error}") from error

    def _answer(self, call: ttrpc.Call) -> Iterator[bytes]:
        method = self._methods.get(call.body.string(2)) if call.body.string(1) == _PLUGIN else None
        if method is None:
            yield ttrpc.failure(call.stream, ttrpc.UNIMPLEMENTED, f"{call.body.string(2)}: not implemented")
            return
        try:
            yield ttrpc.response(call.stream, method(Message.parse(call.body.one(3))))
        except (ProtoError, PolicyError) as error:
            log.error("%s: %s", call.body.string(2), error)
            yield ttrpc.failure(call.stream, ttrpc.INVALID_ARGUMENT, f"uringfs: {error}")
        except PluginError as error:
            yield ttrpc.failure(call.stream, ttrpc.FAILED_PRECONDITION, f"uringfs: {error}")
            raise

    def _configure(self, request: Message) -> Message:
        name, version = request.string(2), request.string(3)
        _check_version(name, version)
        log.info("registered with %s %s; containers get %s", name, version, self._listener)
        self.configured = True
        return Message().add(2, _CREATE_CONTAINER)

    def _synchronize(self, request: Message) -> Message:
        """Containers that run stay as they are. more: there is another part, which may come."""
        return Message().add(2, request.number(3))

    def _create_container(self, request: Message) -> Message:
        pod, container = request.message(1) or Message(), request.message(2) or Message()
        name = container.string(3)
        if not _wanted(pod.mapping(6), name):
            return Message()
        linux = container.message(11) or Message()
        policy = listening(linux.message(8), self._listener)
        log.info("pod %s/%s, container %s: gets the listener", pod.string(4), pod.string(2), name)
        adjustment = Message().add(6, Message().add(6, policy))  # linux.seccomp_policy
        return Message().add(1, adjustment)


def _wanted(annotations: dict[str, str], container: str) -> bool:
    """PolicyError: an annotation that says something else."""
    for key in (f"{KEY}/container.{container}", f"{KEY}/pod", KEY):
        if key in annotations:
            value = annotations[key]
            if value not in (LISTEN, NONE):
                raise PolicyError(f"annotation {key}: {value!r} is neither {LISTEN} nor {NONE}")
            return value == LISTEN
    return False


def _check_version(name: str, version: str) -> None:
    """PluginError. A runtime that is not known here is trusted."""
    oldest = OLDEST.get(name)
    found = re.match(r"v?(\d+)\.(\d+)", version)
    if oldest is not None and found is not None and (int(found[1]), int(found[2])) < oldest:
        needed = ".".join(map(str, oldest))
        raise PluginError(f"{name} {version} takes no seccomp policy from a plugin: {needed} or newer does")
