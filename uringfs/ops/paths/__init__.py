"""Requests that name files."""
