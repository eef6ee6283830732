"""What is behind a descriptor, as traces say it."""

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from uringfs.watch.describe import describe_own


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def said(sock: socket.socket) -> str:
    return describe_own(sock.fileno()).decode()


def connected(stack: ExitStack, kind: int = socket.SOCK_STREAM) -> tuple[socket.socket, socket.socket]:
    """An IPv4 socket and the one that it is connected to, which listens unless they are for datagrams."""
    server = stack.enter_context(socket.socket(type=kind))
    server.bind(("127.0.0.1", 0))
    if kind == socket.SOCK_STREAM:
        server.listen()
    client = stack.enter_context(socket.socket(type=kind))
    client.connect(server.getsockname())
    return client, server


def port(sock: socket.socket) -> str:
    return f"127.0.0.1:{sock.getsockname()[1]}"


def test_addresses(stack: ExitStack) -> None:
    client, server = connected(stack)
    assert said(client) == f"TCP:[{port(client)}->{port(server)}]"
    assert said(server) == f"TCP:[{port(server)}]"
    assert [said(sock) for sock in (client, server)] == [said(sock) for sock in (client, server)]


def test_a_socket_that_is_connected_afterwards(stack: ExitStack) -> None:
    sock = stack.enter_context(socket.socket())
    assert said(sock) == "TCP:[0.0.0.0:0]"
    server = connected(stack)[1]
    sock.connect(server.getsockname())
    assert said(sock) == f"TCP:[{port(sock)}->{port(server)}]"


def test_datagrams_go_elsewhere(stack: ExitStack) -> None:
    one, first = connected(stack, socket.SOCK_DGRAM)
    second = connected(stack, socket.SOCK_DGRAM)[1]
    assert said(one) == f"UDP:[{port(one)}->{port(first)}]"
    one.connect(second.getsockname())
    assert said(one) == f"UDP:[{port(one)}->{port(second)}]"


def test_a_number_that_is_another_socket_now(stack: ExitStack) -> None:
    one, other = connected(stack), connected(stack)
    assert said(one[0]) != said(other[0])
    os.dup2(other[0].fileno(), one[0].fileno())
    assert said(one[0]) == said(other[0])
