#!/usr/bin/env python3
"""Makes a seccomp profile for `uringfs listen` of another one, as Docker, Podman and CRI-O take them:

    contrib/oci/profile.py [BASE] >contrib/oci/seccomp.json

io_uring's system calls are answered at the listenerPath; all else is as in BASE, by default this machine's
/usr/share/containers/seccomp.json."""

import json
import sys
from pathlib import Path

BASE = Path("/usr/share/containers/seccomp.json")
SOCKET = "/run/uringfs.sock"
CALLS = ["io_uring_setup", "io_uring_enter", "io_uring_register"]


def with_listener(profile: dict) -> dict:
    """The profile, with one rule more, and no other for io_uring."""
    rules = []
    for rule in profile["syscalls"]:
        names = [name for name in rule["names"] if name not in CALLS]
        if names:
            rules.append(rule | {"names": names})
    rules.append({"names": CALLS, "action": "SCMP_ACT_NOTIFY", "args": [], "includes": {}, "excludes": {}})
    return profile | {"listenerPath": SOCKET, "syscalls": rules}


if __name__ == "__main__":
    base = Path(sys.argv[1]) if len(sys.argv) > 1 else BASE
    print(json.dumps(with_listener(json.loads(base.read_text())), indent="\t"))
