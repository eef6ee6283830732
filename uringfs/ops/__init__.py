"""The opcodes: one module per family, and table, which names them all. An op knows its SQE, its caller and
the host; it does not know the queues: what it returns is posted by the engine."""
