"""For tests of programs that use io_uring: a pytest plugin (docs/pytest.md), and what it is made of."""
