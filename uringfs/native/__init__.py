"""The C extension: shared-memory words, the caller's memory and files, and the FUSE wire.

Import it before pyfuse3. It is loaded with RTLD_GLOBAL so that pyfuse3, loaded later, binds its
`fuse_session_mount`, `fuse_reply_open` and so on to the hooks in fusewire.c; `hooks_taken()` tells after
the mount whether that worked. Nothing but C code lives here: `_native.pyi` documents it.
"""

import os
import sys

from uringfs._words import Words

_EXTENSION = f"{__name__}._native"

if _EXTENSION not in sys.modules and "pyfuse3" in sys.modules:
    raise ImportError(
        "pyfuse3 was imported before uringfs.native, so its calls already go past our hooks: "
        "import uringfs (any module of it that mounts) before pyfuse3"
    )

_flags = sys.getdlopenflags()
sys.setdlopenflags(_flags | os.RTLD_GLOBAL)
try:
    from uringfs.native._native import (
        EventBatch,
        EventNote,
        EventQueue,
        EventRecorder,
        ExecWatch,
        HookTable,
        Taker,
        Watcher,
        act_as,
        act_own,
        backing_close,
        backing_open,
        capabilities,
        close_soon,
        current,
        emptied,
        epoll_ctl,
        fd_identity,
        hooks_taken,
        interrupt_fd,
        keeper_map,
        keeper_pid,
        keeper_unmap,
        know_mount,
        mapped_prefix,
        pagecache_granted,
        pager_pid,
        passthrough_granted,
        pidfd_getfd,
        pidfd_open,
        poll_answer,
        poll_mask,
        preadv2,
        pwritev2,
        readable_prefix,
        session_fd,
        shortcut_set,
        sock_accept,
        sock_bind,
        sock_connect,
        sock_getsockopt,
        sock_kind,
        sock_listen,
        sock_preadv2,
        sock_queue,
        sock_recvmsg,
        sock_sendmsg,
        sock_setsockopt,
        sock_shutdown,
        sock_socket,
        take_interrupts,
        unread,
        user_namespace,
        vm_read,
        vm_readv,
        vm_write,
        vm_writev,
        want_pagecache,
        want_passthrough,
        writable_prefix,
        writable_prefix_text,
    )
except ModuleNotFoundError as exc:
    raise ImportError(
        "uringfs's C extension is not built: run `pip install .`, or "
        "`python setup.py build_ext --inplace` in the source tree"
    ) from exc
finally:
    sys.setdlopenflags(_flags)

__all__ = [
    "EventBatch",
    "EventNote",
    "EventQueue",
    "EventRecorder",
    "ExecWatch",
    "HookTable",
    "Taker",
    "Watcher",
    "Words",
    "act_as",
    "act_own",
    "backing_close",
    "backing_open",
    "capabilities",
    "close_soon",
    "current",
    "emptied",
    "epoll_ctl",
    "fd_identity",
    "hooks_taken",
    "interrupt_fd",
    "keeper_map",
    "keeper_pid",
    "keeper_unmap",
    "know_mount",
    "mapped_prefix",
    "pagecache_granted",
    "pager_pid",
    "passthrough_granted",
    "pidfd_getfd",
    "pidfd_open",
    "poll_answer",
    "poll_mask",
    "preadv2",
    "pwritev2",
    "readable_prefix",
    "session_fd",
    "shortcut_set",
    "sock_accept",
    "sock_bind",
    "sock_connect",
    "sock_getsockopt",
    "sock_kind",
    "sock_listen",
    "sock_preadv2",
    "sock_queue",
    "sock_recvmsg",
    "sock_sendmsg",
    "sock_setsockopt",
    "sock_shutdown",
    "sock_socket",
    "take_interrupts",
    "unread",
    "user_namespace",
    "vm_read",
    "vm_readv",
    "vm_write",
    "vm_writev",
    "want_pagecache",
    "want_passthrough",
    "writable_prefix",
    "writable_prefix_text",
]
