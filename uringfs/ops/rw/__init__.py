"""Reads and writes, and the buffers that are provided for them."""
