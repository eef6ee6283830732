"""The C library, opened once, with the prototypes of what a plain int does not fit.

A call that fails leaves its errno in ctypes.get_errno().
"""

import ctypes

libc = ctypes.CDLL(None, use_errno=True)

_INT, _UINT, _OFF = ctypes.c_int, ctypes.c_uint, ctypes.c_int64
_SIZE, _SSIZE, _POINTER = ctypes.c_size_t, ctypes.c_ssize_t, ctypes.c_void_p
libc.syscall.restype = libc.pwritev2.restype = ctypes.c_long
libc.mmap.argtypes, libc.mmap.restype = (_POINTER, _SIZE, _INT, _INT, _INT, _OFF), _POINTER
libc.munmap.argtypes = (_POINTER, _SIZE)
libc.fallocate.argtypes = (_INT, _INT, _OFF, _OFF)
libc.sync_file_range.argtypes = (_INT, _OFF, _OFF, _UINT)
libc.posix_fadvise.argtypes = (_INT, _OFF, _OFF, _INT)
libc.ftruncate.argtypes = (_INT, _OFF)
libc.splice.argtypes, libc.splice.restype = (_INT, _POINTER, _INT, _POINTER, _SIZE, _UINT), _SSIZE
libc.tee.argtypes, libc.tee.restype = (_INT, _INT, _SIZE, _UINT), _SSIZE
