"""Requests on open files, on descriptors, and on the ring's own table of them."""
