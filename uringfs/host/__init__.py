"""The caller: the process whose files and memory a request acts on. `local` is the real one, `fake` serves
the unit tests; both implement `base`."""
