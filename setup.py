"""Builds the extension modules and the library that `uringfs run` preloads, puts what is no Python beside the
modules, and makes the manual pages and completions; all else is in pyproject.toml."""

import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from setuptools import Command, Distribution, Extension, setup
from setuptools.command.build_py import build_py

SHARED = (  # of contrib/, in the same places below uringfs/share: `uringfs config` names them
    "uringfs.h",
    "uringfs_lane.h",
    *(f"lane/{path.name}" for path in sorted(Path("contrib/lane").glob("*.h"))),
    "uringfs.pc",
    *(f"examples/{name}" for name in ("Makefile", "nop.c", "uring-cp.c", "watch.c")),
    *("oci/profile.py", "oci/seccomp.json"),
    *(f"systemd/{path.name}" for path in sorted(Path("contrib/systemd").glob("uringfs*"))),
    *(f"kubernetes/{path.name}" for path in sorted(Path("contrib/kubernetes").glob("*.yaml"))),
)
COMPLETIONS = {  # by name, where its shell looks for it below share/
    "uringfs": "bash-completion/completions",
    "_uringfs": "zsh/site-functions",
    "uringfs.fish": "fish/vendor_completions.d",
}


def pkg_config(*args: str) -> list[str]:
    try:
        return subprocess.check_output(["pkg-config", *args, "fuse3"], text=True).split()
    except (OSError, subprocess.CalledProcessError):
        sys.exit("uringfs: libfuse3's headers are missing: apt-get install libfuse3-dev pkg-config gcc")


def description() -> str:
    """The README where no file is beside it: a link to one is its words, and a document's manual page."""

    def words(link: re.Match[str]) -> str:
        document = Path(link[2].partition("#")[0])
        has_page = document.parent == Path("docs") and document.stem != "architecture"
        return f"{link[1]} (`man uringfs-{document.stem}`)" if has_page else link[1]

    return re.sub(r"\[([^]]+)\]\((?!\w+://)([^)]+)\)", words, Path("README.md").read_text())


class BuildPy(build_py):
    """An editable package finds them in contrib/."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            for name in SHARED:
                target = Path(self.build_lib, "uringfs", "share", name)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(Path("contrib", name), target)


install_data: type[Command] = Distribution().get_command_class("install_data")


class InstallData(install_data):
    """What data_files would name, if they were files of this tree."""

    def run(self) -> None:
        share = Path(self.install_dir, "share")
        with tempfile.TemporaryDirectory() as made:
            subprocess.check_call([sys.executable, "contrib/manual/pages.py", share / "man"])
            subprocess.check_call([sys.executable, "contrib/manual/completion.py", made])
            for name, place in COMPLETIONS.items():
                (share / place).mkdir(parents=True, exist_ok=True)
                shutil.copy(Path(made, name), share / place)
        self.outfiles = sorted(str(path) for path in share.rglob("*") if path.is_file())


setup(
    long_description=description(),
    long_description_content_type="text/markdown",
    cmdclass={"build_py": BuildPy, "install_data": InstallData},
    data_files=[("share/man/man1", [])],  # so that there is an install_data
    ext_modules=[
        Extension(
            "uringfs.native._native",
            sources=[
                "uringfs/native/module.c",
                *(
                    f"uringfs/native/wire/{name}.c"
                    for name in "fusewire wirecalls shortcut pager keeper helper".split()
                ),
                *(
                    f"uringfs/native/sys/{name}.c"
                    for name in (
                        *"vm maps files socket patience epoll identity".split(),
                        *"watcher watcheraio watcheritems watcherthread watchertype".split(),
                    )
                ),
                *(f"uringfs/native/watch/{name}.c" for name in "queue notes recorder points".split()),
                *(f"uringfs/native/lane/{name}.c" for name in "taker host watched".split()),
            ],
            depends=[
                *(
                    f"uringfs/native/{name}.h"
                    for name in "native wire/fusewire sys/watcher watch/events lane/taker".split()
                ),
                *map(str, [Path("contrib/uringfs_lane.h"), *sorted(Path("contrib/lane").glob("*.h"))]),
            ],
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
                for name in (
                    "trap calls lane workers pollers rights agent sleepers rings numbers signals exec target say "
                    "string patch".split()
                )
            ],
            depends=[
                *("contrib/uringfs.h", "contrib/uringfs_lane.h"),
                *(
                    str(header)
                    for part in ("launcher", "lane")
                    for header in sorted(Path("contrib", part).glob("*.h"))
                ),
            ],
            extra_compile_args=[
                *["-std=gnu11", "-O2", "-Wall", "-Wextra", "-fvisibility=hidden", "-fno-stack-protector"],
                *["-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=0", "-fno-lto"],
                *["-fno-builtin", "-fno-tree-loop-distribute-patterns"],  # string.c
                *(["-mno-outline-atomics"] if platform.machine() == "aarch64" else []),
                *(["-mgeneral-regs-only"] if platform.machine() == "x86_64" else []),  # patch.c
            ],
            extra_link_args=["-nostdlib", "-fno-lto", "-Wl,-z,now", "-Wl,-z,initfirst", "-Wl,-z,nodelete"],
        ),
    ],
)
