"""What the kernel's core does (io_uring/io_uring.c, rsrc.c, timeout.c, cancel.c ...): a ring's requests from its
queue to their CQEs, waits, pollers, and who all this is done for. The
opcodes are given to it: it imports none."""
