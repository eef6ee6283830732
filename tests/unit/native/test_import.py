"""How the extension comes into a process: before pyfuse3, seen by it, and leaving no trace."""

import ast
import subprocess
import sys
from pathlib import Path

import uringfs.native
from uringfs import native


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)


def test_after_pyfuse3_it_refuses_and_says_what_to_do() -> None:
    done = run("import pyfuse3, uringfs.native")
    assert done.returncode == 1
    assert "ImportError" in done.stderr
    assert "import uringfs" in done.stderr
    assert "before pyfuse3" in done.stderr


def test_before_pyfuse3_it_loads_and_restores_the_dlopen_flags() -> None:
    done = run(
        "import sys; f = sys.getdlopenflags(); import uringfs.native, pyfuse3, importlib\n"
        "importlib.reload(uringfs.native)\n"
        "assert sys.getdlopenflags() == f\n"
        "assert uringfs.native.hooks_taken() is False"
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_without_a_mount_the_wire_answers_enotconn() -> None:
    done = run(
        "import errno, uringfs.native as n\n"
        "for call in (n.session_fd, lambda: n.backing_open(0), lambda: n.backing_close(1)):\n"
        "    try: call()\n"
        "    except OSError as exc: assert exc.errno == errno.ENOTCONN\n"
        "    else: raise AssertionError\n"
        "assert n.take_interrupts() == [] and n.current() == (0, 0, 0, 0, 0, 0)\n"
        "assert n.interrupt_fd() == n.interrupt_fd() and not n.passthrough_granted()"
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_everything_built_is_exported_and_declared() -> None:
    built = {name for name in vars(uringfs.native._native) if not name.startswith("_")}
    assert built == set(native.__all__) - {"Words"}  # uringfs._words
    stub = Path(native.__file__).with_name("_native.pyi").read_text()
    declared = {node.name for node in ast.parse(stub).body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    assert declared == built


def test_only_the_hooks_are_visible_to_other_libraries() -> None:
    listing = subprocess.run(
        ["nm", "-D", "--defined-only", uringfs.native._native.__file__],
        capture_output=True,
        text=True,
        check=True,
    )
    names = {line.split()[-1] for line in listing.stdout.splitlines()}
    assert names == {
        "PyInit__native",
        "fuse_reply_create",
        "fuse_reply_open",
        "fuse_session_destroy",
        "fuse_session_mount",
        "fuse_session_unmount",
    }
