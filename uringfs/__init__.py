"""uringfs: io_uring as a filesystem. Every ring is a file.

Nothing is imported here: which of libfuse's functions pyfuse3 gets depends on the order of imports
(see uringfs.native), so each entry point imports what it needs itself.
"""

__version__ = "0.1.0"
