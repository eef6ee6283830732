#!/usr/bin/env python3
"""python mount.py MOUNTPOINT: the same as `uringfs mount MOUNTPOINT`."""

import sys

from uringfs.__main__ import main

if __name__ == "__main__":
    sys.exit(main(["mount", *sys.argv[1:]]))
