"""The user ABI: constants and structs, names and values verbatim from <linux/io_uring.h>; with them the numbers of
the machine and the calls of the C library.

May live here: numbers, names, layouts and prototypes. May not: behaviour, I/O, any import of the rest of uringfs.
"""
