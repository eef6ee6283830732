"""What `pip install uringfs` brings, from a wheel and from an sdist, into a fresh venv: all of it works there."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.mounting import DEADLINE, ROOT, is_mounted, open_directory
from tests.support.package import sdist
from uringfs import __version__

pytestmark = pytest.mark.timeout(600)  # pyfuse3 may have to be built
ENV = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}


def run(*command: object, **options: object) -> str:
    """The standard output of a command that must succeed, away from the checkout."""
    given: dict[str, object] = {"cwd": "/", "env": ENV, "timeout": 500}
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, **(given | options))  # type: ignore[call-overload]
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return str(done.stdout)


@pytest.fixture(scope="session")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make wheel` makes where an sdist was unpacked: an sdist, and a wheel."""
    home = tmp_path_factory.mktemp("dist")
    run("tar", "-xzf", sdist(home), "-C", home)
    make = home / f"uringfs-{__version__}/contrib/provision/wheel.sh"
    run(make, home / "made", env={**ENV, "PYTHON": sys.executable})
    return home / "made"


@pytest.fixture(scope="session", params=["*.whl", "*.tar.gz"])
def venv(request: pytest.FixtureRequest, dist: Path) -> Iterator[Path]:
    """bin/ of a venv with that package and what it depends on, where all users reach it."""
    (package,) = dist.glob(request.param)
    with open_directory() as home:
        run(sys.executable, "-m", "venv", home / "venv")
        run(home / "venv/bin/pip", "install", "-q", package)
        yield home / "venv/bin"


@pytest.fixture
def mounted(venv: Path) -> Iterator[Path]:
    with open_directory() as home:
        path = home / "mnt"
        path.mkdir()
        run(venv / "uringfs", "mount", path, "--daemon", "--log-file", home / "log", "-o", "allow_other")
        yield path
        run("umount", path)
        assert not is_mounted(path)


def test_the_wheels_tag(dist: Path) -> None:
    """Installers take it wherever the C library is as new as its tag says, and libfuse3 is the system's."""
    (wheel,) = dist.glob("*.whl")
    assert re.search(r"-manylinux_2_\d+_(x86_64|aarch64)\.", wheel.name), wheel
    assert not [name for name in zipfile.ZipFile(wheel).namelist() if "libfuse" in name]
    external = run(sys.executable, "-m", "auditwheel", "show", wheel)
    assert "libfuse3.so." in external


def test_the_description_leads_nowhere_but_to_the_manual(venv: Path) -> None:
    """An index of packages shows it, with no file beside it."""
    code = "import importlib.metadata as m; print(m.metadata('uringfs').get_payload())"
    text = run(venv / "python", "-c", code)
    assert text.startswith("# uringfs\n")
    assert re.findall(r"\]\((?!\w+://)[^)]*\)", text) == []
    named = set(re.findall(r"`man ([\w-]+)`", text))
    assert len(named) > 10
    manual = config(venv, "man")
    assert [page for page in named if not (manual / f"man7/{page}.7").exists()] == []


def config(venv: Path, name: str) -> Path:
    return Path(run(venv / "uringfs", "config", f"--{name}").strip())


def test_the_command(venv: Path) -> None:
    assert run(venv / "uringfs", "--version") == f"uringfs {__version__}\n"
    assert run(venv / "python", "-m", "uringfs", "--version") == f"uringfs {__version__}\n"
    assert run(venv / "uringfs", "opcodes") == (ROOT / "docs/opcodes.md").read_text()
    assert "SOURCE" in run(venv / "mount.fuse.uringfs", "--help").upper()


def test_where_everything_is(venv: Path) -> None:
    lines = run(venv / "uringfs", "config").splitlines()
    places = dict(line.split(": ", 1) for line in lines)
    expected = {"include", "library", "profile", "pkgconfig", "examples", "units", "man", "kubernetes"}
    assert expected | {"bash-completion", "zsh-completion", "fish-completion"} <= set(places)
    for name, place in places.items():
        assert Path(place).exists(), name
        assert Path(place).is_relative_to(venv.parent)
        assert config(venv, name) == Path(place)
    shared = Path(places["include"])
    for path in (path for path in shared.rglob("*") if path.suffix != ".pyc" and path.is_file()):
        assert path.read_bytes() == (ROOT / "contrib" / path.relative_to(shared)).read_bytes()


def test_the_manual(venv: Path) -> None:
    """man(1) finds it beside the command's own directory, where that is in PATH."""
    manual = config(venv, "man")
    assert manual.parent == venv.parent / "share"
    for name in ("man1/uringfs-run.1", "man7/uringfs-deploy.7", "man8/mount.fuse.uringfs.8"):
        assert (manual / name).stat().st_size > 500


def test_c_programs(venv: Path, mounted: Path, tmp_path: Path) -> None:
    """By the header's directory, by pkg-config, and the examples' own Makefile."""
    examples = config(venv, "examples")
    env = {**ENV, "PKG_CONFIG_PATH": str(config(venv, "pkgconfig"))}
    flags = run("pkg-config", "--cflags", "uringfs", env=env).split()
    assert run("pkg-config", "--modversion", "uringfs", env=env) == f"{__version__}\n"
    for number, words in enumerate((flags, [f"-I{config(venv, 'include')}", "-D_GNU_SOURCE"])):
        program = tmp_path / f"nop{number}"
        run("cc", "-Wall", "-Werror", *words, "-o", program, examples / "nop.c")
        run(program, mounted / "new")
    shutil.copytree(config(venv, "include"), tmp_path / "share")
    run("make", "-C", tmp_path / "share/examples")
    run(tmp_path / "share/examples/uring-cp", "-r", mounted / "new", "/etc/passwd", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == Path("/etc/passwd").read_bytes()


def test_programs_as_they_are(venv: Path, mounted: Path) -> None:
    code = "import ctypes; print(ctypes.CDLL(None).syscall(425, 8, ctypes.create_string_buffer(120)))"
    for mode in ("trap", "notify"):
        words = ("run", "--mode", mode, "--trace-calls", "--mount", mounted, "--", "python3", "-c", code)
        done = subprocess.run(
            [venv / "uringfs", *words], capture_output=True, text=True, timeout=DEADLINE, env=ENV
        )
        assert re.fullmatch(r"\d+\n", done.stdout), done.stderr
        assert "io_uring_setup" in done.stderr
    run(venv / "uringfs", "run", "--", "true")


def test_the_profile(venv: Path, tmp_path: Path) -> None:
    """profile.py makes of a profile without io_uring what is in the one that comes along."""
    made = run(venv / "python", config(venv, "make-profile"), config(venv, "profile"))
    assert made == config(venv, "profile").read_text()


def test_the_client_needs_neither_pyfuse3_nor_libfuse(dist: Path, mounted: Path) -> None:
    """The package alone, with libfuse3 hidden under an empty file; what needs it says so."""
    (wheel,) = dist.glob("*.whl")
    libraries = {line.split()[-1] for line in run("ldconfig", "-p").splitlines() if "libfuse3.so.3 " in line}
    hidden = "; ".join(f"mount --bind /dev/null $(readlink -f {library})" for library in libraries)
    code = (
        "from uringfs.client import Ring, nop\n"
        f"with Ring({str(mounted / 'new')!r}, 8) as ring:\n"
        " ring.queue(nop(5)); ring.submit(wait=1); print(ring.reap()[0].user_data)\n"
        "import uringfs.native\n"
    )
    with open_directory() as home:
        run(sys.executable, "-m", "venv", home / "venv")
        run(home / "venv/bin/pip", "install", "-q", "--no-deps", wheel)
        python = home / "venv/bin/python"
        script = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", f'{hidden}; exec "$@"', "sh"]
        done = subprocess.run([*script, python, "-c", code], capture_output=True, text=True, cwd="/", env=ENV)
        assert done.stdout == "5\n", done.stderr
        assert "libfuse3" in done.stderr
        run(*script, home / "venv/bin/uringfs", "run", "--mount", mounted, "--", "true")


def test_versions_agree() -> None:
    assert f"\nVersion: {__version__}\n" in (ROOT / "contrib/uringfs.pc").read_text()


def test_make_help_names_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.*)", makefile, re.MULTILINE)
    assert phony is not None
    listed = {line.split()[0] for line in run("make", "-s", "help", cwd=ROOT).splitlines()}
    assert listed == set(phony[1].split()) - {"base"}


WITHOUT_FUSE = 'mount -t tmpfs none /dev; mknod /dev/null c 1 3; exec "$@"'


@pytest.mark.parametrize(
    ("before", "words"),
    [
        (["setarch", "--uname-2.6"], ["6.6"]),
        (["unshare", "--user"], ["root", "user namespace"]),
        (["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin"], ["CAP_SYS_ADMIN"]),
        (["unshare", "--mount", "sh", "-ec", WITHOUT_FUSE, "sh"], ["/dev/fuse", "modprobe"]),
    ],
    ids=["kernel", "user", "capability", "device"],
)
def test_what_make_demo_checks_first(before: list[str], words: list[str]) -> None:
    done = subprocess.run([*before, ROOT / "contrib/provision/ready.sh"], capture_output=True, text=True)
    assert done.returncode == 1
    for word in words:
        assert word in done.stderr


def test_make_install(tmp_path: Path) -> None:
    """Below a prefix; `make uninstall` leaves nothing of it."""
    prefix = tmp_path / "prefix"
    run(
        "make",
        "install",
        f"PREFIX={prefix}",
        cwd=ROOT,
        env={**ENV, "PIP_CONFIG_FILE": ENV.get("PIP_CONFIG_FILE", "")},
    )
    assert run(prefix / "bin/uringfs", "--version") == f"uringfs {__version__}\n"
    assert "usage" in run(prefix / "sbin/mount.fuse.uringfs", "--help")
    env = {**ENV, "PKG_CONFIG_PATH": str(prefix / "lib/pkgconfig")}
    run(
        "cc",
        *run("pkg-config", "--cflags", "uringfs", env=env).split(),
        "-fsyntax-only",
        "-x",
        "c",
        prefix / "include/uringfs.h",
    )
    units = sorted((prefix / "lib/systemd/system").iterdir())
    assert [unit.name for unit in units] == sorted(unit.name for unit in (ROOT / "contrib/systemd").iterdir())
    assert all(
        f"ExecStart={prefix}/bin/uringfs" in unit.read_text() for unit in units if unit.suffix == ".service"
    )
    run("systemd-analyze", "verify", "--man=no", *units)
    assert (prefix / "share/man/man1/uringfs-mount.1").is_file()
    assert (prefix / "share/bash-completion/completions/uringfs").is_file()
    run("make", "uninstall", f"PREFIX={prefix}", cwd=ROOT)
    assert [path for path in prefix.rglob("*") if not path.is_dir()] == []
