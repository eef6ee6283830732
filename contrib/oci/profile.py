#!/usr/bin/env python3
"""Makes a seccomp profile for `uringfs listen` of another one, as Docker, Podman and CRI-O take them:

    contrib/oci/profile.py [BASE] >contrib/oci/seccomp.json
    contrib/oci/profile.py --flat [--socket PATH] [--caps CAP_CHOWN,...] [BASE] >uringfs.json

io_uring's system calls are answered at the listenerPath; all else is as in BASE, by default this machine's
/usr/share/containers/seccomp.json. --flat: as the runtime's specification has it (linux.seccomp), which is what
containerd takes: conditions are decided now, for this machine's architecture and containers with those
capabilities (by default the ones that containerd gives)."""

import argparse
import json
import platform
from pathlib import Path

BASE = Path("/usr/share/containers/seccomp.json")
SOCKET = "/run/uringfs.sock"
CALLS = ["io_uring_setup", "io_uring_enter", "io_uring_register"]
CAPABILITIES = (  # containerd's oci.WithDefaultUnixCaps, and Docker's
    "CAP_CHOWN,CAP_DAC_OVERRIDE,CAP_FSETID,CAP_FOWNER,CAP_MKNOD,CAP_NET_RAW,CAP_SETGID,CAP_SETUID,CAP_SETFCAP,"
    "CAP_SETPCAP,CAP_NET_BIND_SERVICE,CAP_SYS_CHROOT,CAP_KILL,CAP_AUDIT_WRITE"
)
MACHINES = {"x86_64": ("amd64", "SCMP_ARCH_X86_64"), "aarch64": ("arm64", "SCMP_ARCH_AARCH64")}
"""What profiles call a machine, in conditions and in archMap."""
SPECIFIED = ("names", "action", "errnoRet", "args")
"""What the runtime's specification knows of a rule."""


def with_listener(profile: dict, socket: str = SOCKET) -> dict:
    """The profile, with one rule more, and no other for io_uring."""
    rules = []
    for rule in profile["syscalls"]:
        names = [name for name in rule["names"] if name not in CALLS]
        if names:
            rules.append(rule | {"names": names})
    rules.append({"names": CALLS, "action": "SCMP_ACT_NOTIFY", "args": [], "includes": {}, "excludes": {}})
    return profile | {"listenerPath": socket, "syscalls": rules}


def holds(rule: dict, arch: str, caps: frozenset[str]) -> bool:
    """A rule's conditions, as Docker and Podman decide them when a container starts. Kernels that are older than a
    minKernel have no uringfs."""
    includes, excludes = rule.get("includes") or {}, rule.get("excludes") or {}
    if arch in (excludes.get("arches") or ()) or caps & set(excludes.get("caps") or ()):
        return False
    arches = includes.get("arches")
    return (not arches or arch in arches) and caps.issuperset(includes.get("caps") or ())


def flat(profile: dict, machine: str, caps: frozenset[str]) -> dict:
    """linux.seccomp of the runtime's specification. KeyError: not a machine of uringfs."""
    arch, native = MACHINES[machine]
    others = [one.get("subArchitectures") or [] for one in profile["archMap"] if one["architecture"] == native]
    rules = [
        {name: rule[name] for name in SPECIFIED if rule.get(name) not in (None, [])}
        for rule in profile["syscalls"]
        if holds(rule, arch, caps)
    ]
    kept = {name: profile[name] for name in ("defaultAction", "defaultErrnoRet", "flags") if name in profile}
    architectures = [native, *(name for names in others for name in names)]
    return kept | {"architectures": architectures, "listenerPath": profile["listenerPath"], "syscalls": rules}


def main() -> None:
    parser = argparse.ArgumentParser(description="Makes a seccomp profile for `uringfs listen`.")
    parser.add_argument("base", nargs="?", type=Path, default=BASE, help="the profile it differs from by a rule")
    parser.add_argument("--socket", default=SOCKET, help="of `uringfs listen`; default %(default)s")
    parser.add_argument("--flat", action="store_true", help="for containerd")
    parser.add_argument("--caps", default=CAPABILITIES, help="that containers will have; for --flat")
    args = parser.parse_args()
    profile = with_listener(json.loads(args.base.read_text()), args.socket)
    if args.flat:
        profile = flat(profile, platform.machine(), frozenset(args.caps.split(",")))
    print(json.dumps(profile, indent="\t"))


if __name__ == "__main__":
    main()
