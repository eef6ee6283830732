"""Requests on sockets."""
