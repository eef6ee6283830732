"""Ring memory: bytes that client and daemon share, behind one interface (base), by one of the backends."""
