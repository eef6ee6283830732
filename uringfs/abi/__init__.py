"""The user ABI: constants and structs, names and values verbatim from <linux/io_uring.h>.

May live here: numbers, names and layouts. May not: behaviour, I/O, any import of uringfs.
"""
