"""A caller's process: the program it executes, and its memory."""
