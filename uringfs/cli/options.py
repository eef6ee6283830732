"""What may stand behind -o: libfuse's options, the kernel's, and those that are for mount(8) and fstab alone."""

from collections.abc import Sequence

from uringfs.cli.mountpoint import MountFailure

BAD_OPTION = 19
FOR_OTHERS = frozenset("defaults rw auto noauto user users nouser owner group nofail _netdev relatime".split())
"""Read by mount(8), systemd and init scripts, or what is so anyway."""
FOR_OTHERS_PREFIXES = ("x-", "X-", "comment=", "user=")
REFUSED = {
    "ro": "rings are written to: mount it without ro (who may use a ring is up to the file's mode)",
    "max_read": "libfuse takes it from nobody but the file system itself: leave it out",
    "subtype": "the type is fuse.uringfs, by which its mounts are known: leave it out",
}


def split(words: Sequence[str]) -> list[str]:
    """Lists with commas, as one list."""
    return [option for word in words for option in word.split(",") if option]


def for_libfuse(words: Sequence[str]) -> frozenset[str]:
    """The options that libfuse has to see. MountError for what cannot work."""
    wanted = split(words)
    for option in wanted:
        name = option.partition("=")[0]
        if name in REFUSED:
            raise MountFailure(BAD_OPTION, f"-o {option}: {REFUSED[name]}")
        if not option.isascii():
            raise MountFailure(BAD_OPTION, f"-o {option!a}: options are ASCII")
    return frozenset(option for option in wanted if not _for_others(option))


def _for_others(option: str) -> bool:
    return option in FOR_OTHERS or option.startswith(FOR_OTHERS_PREFIXES)
