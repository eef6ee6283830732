"""Builds the extension modules and the library that `uringfs run` preloads, and puts what is no Python beside the
modules; all else is in pyproject.toml."""

import platform
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_py import build_py

SHARED = (  # of contrib/, in the same places below uringfs/share: `uringfs config` names them
    "uringfs.h",
    "uringfs_lane.h",
    *(f"lane/{path.name}" for path in sorted(Path("contrib/lane").glob("*.h"))),
    "uringfs.pc",
    *(f"examples/{name}" for name in ("Makefile", "nop.c", "uring-cp.c", "watch.c")),
    *("oci/profile.py", "oci/seccomp.json"),
    "systemd/uringfs.service",
)


def pkg_config(*args: str) -> list[str]:
    try:
        return subprocess.check_output(["pkg-config", *args, "fuse3"], text=True).split()
    except (OSError, subprocess.CalledProcessError):
        sys.exit("uringfs: libfuse3's headers are missing: apt-get install libfuse3-dev pkg-config gcc")


class BuildPy(build_py):
    """An editable package finds them in contrib/."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            for name in SHARED:
                target = Path(self.build_lib, "uringfs", "share", name)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(Path("contrib", name), target)


setup(
    cmdclass={"build_py": BuildPy},
    ext_modules=[
        Extension(
            "uringfs.native._native",
            sources=[
                "uringfs/native/module.c",
                *(f"uringfs/native/wire/{name}.c" for name in "fusewire wirecalls lane pager keeper".split()),
                *(
                    f"uringfs/native/sys/{name}.c"
                    for name in "vm maps files socket epoll identity watcher".split()
                ),
            ],
            depends=["uringfs/native/native.h", "uringfs/native/wire/fusewire.h"],
            extra_compile_args=[
                *["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror=implicit"],
                "-fvisibility=hidden",  # the module is RTLD_GLOBAL: only the hooks may be seen
                *pkg_config("--cflags"),
            ],
            # -z nodelete: pyfuse3 keeps pointers into the hooks until the process ends
            extra_link_args=[*pkg_config("--libs"), "-Wl,-z,nodelete"],
        ),
        # Without libfuse: clients import no more than this
        Extension(
            "uringfs._words",
            sources=["uringfs/native/words.c"],
            depends=["uringfs/native/native.h"],
            extra_compile_args=["-std=gnu11", "-O2", "-Wall", "-Wextra", "-fvisibility=hidden"],
        ),
        # No module: a plain library beside it. The flags are those of contrib/launcher/Makefile.
        Extension(
            "uringfs.native._trap",
            sources=[
                f"contrib/launcher/{name}.c"
                for name in "trap calls lane agent rings signals exec target say string".split()
            ],
            depends=[
                *("contrib/launcher/trap.h", "contrib/launcher/wire.h", "contrib/uringfs.h"),
                *map(str, [Path("contrib/uringfs_lane.h"), *sorted(Path("contrib/lane").glob("*.h"))]),
            ],
            extra_compile_args=[
                *["-std=gnu11", "-O2", "-Wall", "-Wextra", "-fvisibility=hidden", "-fno-stack-protector"],
                *["-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=0", "-fno-lto"],
                *["-fno-builtin", "-fno-tree-loop-distribute-patterns"],  # string.c
                *(["-mno-outline-atomics"] if platform.machine() == "aarch64" else []),
            ],
            extra_link_args=["-nostdlib", "-fno-lto", "-Wl,-z,now", "-Wl,-z,initfirst", "-Wl,-z,nodelete"],
        ),
    ],
)
