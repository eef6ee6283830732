"""A ring: its geometry, its two queues in shared memory, and its state. No I/O, no clients, no files."""
