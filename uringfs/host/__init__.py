"""The caller: the process whose files and memory a request acts on. `local` is the real one, tests have
another (tests/fakehost); both implement `protocols`."""
