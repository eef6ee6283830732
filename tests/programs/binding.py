"""A program of PyPI's liburing binding, for test_binding.py: what it prints is the same wherever io_uring is."""

import errno

from liburing import (
    IOSQE_IO_LINK,
    O_CREAT,
    O_RDONLY,
    O_RDWR,
    Cqe,
    Iovec,
    Ring,
    Statx,
    io_uring_cqe_seen,
    io_uring_get_sqe,
    io_uring_prep_close,
    io_uring_prep_mkdir,
    io_uring_prep_nop,
    io_uring_prep_open,
    io_uring_prep_read,
    io_uring_prep_readv,
    io_uring_prep_rename,
    io_uring_prep_statx,
    io_uring_prep_timeout,
    io_uring_prep_unlink,
    io_uring_prep_write,
    io_uring_prep_writev,
    io_uring_queue_exit,
    io_uring_queue_init,
    io_uring_submit,
    io_uring_wait_cqe,
    timespec,
)

ring, cqe = Ring(), Cqe()
io_uring_queue_init(8, ring)


def queue(prep, *args, user_data=0, flags=0, **named):
    sqe = io_uring_get_sqe(ring)
    prep(sqe, *args, **named)
    sqe.user_data, sqe.flags = user_data, flags


def reap():
    """(user_data, res) of the next completion; what failed is an exception here."""
    io_uring_wait_cqe(ring, cqe)
    entry = cqe[0]
    try:
        return entry.user_data, entry.res
    except OSError as error:
        return entry.user_data, errno.errorcode[error.errno]
    finally:
        io_uring_cqe_seen(ring, entry)


def do(prep, *args, **named):
    queue(prep, *args, **named)
    assert io_uring_submit(ring) == 1
    _, res = reap()
    print(prep.__name__, res)
    return res


do(io_uring_prep_mkdir, "dir", 0o700)
fd = do(io_uring_prep_open, "dir/file", O_CREAT | O_RDWR, 0o600)
do(io_uring_prep_write, fd, b"hi... bye!", offset=0)
buffer = bytearray(10)
do(io_uring_prep_read, fd, buffer, offset=0)
print(buffer)
do(io_uring_prep_writev, fd, Iovec([b"one ", b"two ", b"three"]), offset=4096)
parts = [bytearray(4), bytearray(9)]
do(io_uring_prep_readv, fd, Iovec(parts), offset=4096)
print(parts)
stat = Statx()
do(io_uring_prep_statx, stat, "dir/file")
print(stat.size, stat.isfile, oct(stat.mode))

# a chain that holds, one that breaks, and what is not there
for number in range(3):
    queue(io_uring_prep_nop, user_data=number, flags=IOSQE_IO_LINK if number < 2 else 0)
print("submitted", io_uring_submit(ring), [reap() for _ in range(3)])
queue(io_uring_prep_open, "missing", O_RDONLY, user_data=1, flags=IOSQE_IO_LINK)
queue(io_uring_prep_nop, user_data=2)
print("submitted", io_uring_submit(ring), [reap() for _ in range(2)])
do(io_uring_prep_timeout, timespec(0.01), 0)

do(io_uring_prep_close, fd)
do(io_uring_prep_close, fd)
do(io_uring_prep_rename, "dir/file", "moved")
do(io_uring_prep_unlink, "dir/file")
io_uring_queue_exit(ring)
