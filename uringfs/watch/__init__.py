"""Watching: one event for each request, made from the hook points (engine/hooks.py), and what reads them.

May live here: the events, who may see them, and the ways to show them. It looks at requests, and changes none;
while nobody watches nothing here is called.
"""
