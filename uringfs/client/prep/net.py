"""Requests on sockets. Addresses are struct sockaddr as bytes: uringfs.client.sockaddr() makes them."""

from typing import Unpack

from uringfs.client.enums import Op
from uringfs.client.prep.common import Common
from uringfs.client.request import Buffer, Memory, Msghdr, Request, Struct, View, make


def socket(domain: int, type: int, protocol: int = 0, *, file_index: int = 0, **common: Unpack[Common]) -> Request:
    return make(Op.SOCKET, fd=domain, off=type, len=protocol, file_index=file_index, **common)


def accept(
    fd: int,
    accept_flags: int = 0,
    *,
    addr: Buffer | None = None,
    addrlen: Buffer | None = None,
    file_index: int = 0,
    **common: Unpack[Common],
) -> Request:
    """accept4(2). addr: room for the peer's address; addrlen: its size, array('I', [n]), read and written.
    ioprio: AcceptFlag."""
    views = [View(buffer, writable=True) for buffer in (addr, addrlen) if buffer is not None]
    address, size = (views[0].address, views[1].address) if len(views) == 2 else (0, 0)
    return make(
        Op.ACCEPT, *views, fd=fd, addr=address, off=size, rw_flags=accept_flags, file_index=file_index, **common
    )


def connect(fd: int, addr: bytes, **common: Unpack[Common]) -> Request:
    name = Struct(addr)
    return make(Op.CONNECT, name, fd=fd, addr=name.address, off=name.size, **common)


def bind(fd: int, addr: bytes, **common: Unpack[Common]) -> Request:
    name = Struct(addr)
    return make(Op.BIND, name, fd=fd, addr=name.address, off=name.size, **common)


def listen(fd: int, backlog: int, **common: Unpack[Common]) -> Request:
    return make(Op.LISTEN, fd=fd, len=backlog, **common)


def shutdown(fd: int, how: int, **common: Unpack[Common]) -> Request:
    return make(Op.SHUTDOWN, fd=fd, len=how, **common)


def _send(
    op: Op, fd: int, buf: Memory, len: int | None, msg_flags: int, addr: bytes, buf_index: int, common: Common
) -> Request:
    view, to = View(buf, len, writable=False), Struct(addr)
    return make(
        op,
        view,
        to,
        fd=fd,
        addr=view.address,
        len=view.length,
        rw_flags=msg_flags,
        off=to.address if addr else 0,
        file_index=to.size,
        buf_index=buf_index,
        **common,
    )


def send(
    fd: int,
    buf: Memory,
    msg_flags: int = 0,
    *,
    len: int | None = None,
    addr: bytes = b"",
    buf_group: int = 0,
    **common: Unpack[Common],
) -> Request:
    """send(2), or sendto(2) with addr."""
    return _send(Op.SEND, fd, buf, len, msg_flags, addr, buf_group, common)


def send_zc(
    fd: int,
    buf: Memory,
    msg_flags: int = 0,
    *,
    len: int | None = None,
    addr: bytes = b"",
    buf_index: int = 0,
    **common: Unpack[Common],
) -> Request:
    """Two CQEs: the result, and one with CqeFlag.NOTIF when the buffer is free. buf_index: of a registered buffer,
    with IORING_RECVSEND_FIXED_BUF (4) in ioprio."""
    return _send(Op.SEND_ZC, fd, buf, len, msg_flags, addr, buf_index, common)


def recv(
    fd: int,
    buf: Memory,
    msg_flags: int = 0,
    *,
    len: int | None = None,
    buf_group: int = 0,
    **common: Unpack[Common],
) -> Request:
    """With SqeFlag.BUFFER_SELECT buf is 0, len what is wanted at most. ioprio: IORING_RECV_MULTISHOT (2)."""
    view = View(buf, len, writable=True)
    return make(
        Op.RECV, view, fd=fd, addr=view.address, len=view.length, rw_flags=msg_flags, buf_index=buf_group, **common
    )


def recv_zc(fd: int, zcrx_ifq_idx: int = 0, *, len: int = 0, **common: Unpack[Common]) -> Request:
    """Needs ioprio IORING_RECV_MULTISHOT (2), and an interface queue, which no mount has."""
    return make(Op.RECV_ZC, fd=fd, len=len, file_index=zcrx_ifq_idx, **common)


def sendmsg(fd: int, msg: Msghdr, msg_flags: int = 0, **common: Unpack[Common]) -> Request:
    view = View(msg, writable=False)
    return make(Op.SENDMSG, msg, view, fd=fd, addr=view.address, len=1, rw_flags=msg_flags, **common)


def sendmsg_zc(fd: int, msg: Msghdr, msg_flags: int = 0, **common: Unpack[Common]) -> Request:
    """Two CQEs, as of send_zc()."""
    view = View(msg, writable=False)
    return make(Op.SENDMSG_ZC, msg, view, fd=fd, addr=view.address, len=1, rw_flags=msg_flags, **common)


def recvmsg(fd: int, msg: Msghdr, msg_flags: int = 0, *, buf_group: int = 0, **common: Unpack[Common]) -> Request:
    """TypeError if the message has a read-only buffer."""
    if msg.copied:
        raise TypeError("a buffer of the message is read-only")
    view = View(msg, writable=True)
    return make(
        Op.RECVMSG, msg, view, fd=fd, addr=view.address, len=1, rw_flags=msg_flags, buf_index=buf_group, **common
    )
