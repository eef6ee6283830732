"""io_uring_register(2): one module per resource, and table, which names all opcodes."""
