"""Sockets: of callers, and those that go between them and the daemon."""
