"""Requests that wait for something, end other requests, or tell other rings."""
