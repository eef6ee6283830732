"""liburing's test programs, built from the distribution's source package in build/liburing/.

apt is asked with sources, lists and cache of its own: those configured on the machine, as deb-src, which most
machines leave out. Nothing outside of build/ changes.
"""

import os
import re
import shlex
import shutil
import subprocess
import tarfile
from pathlib import Path

HERE = Path(__file__).parents[3] / "build" / "liburing"
PACKAGE = "liburing"
TIMEOUT = 300.0

CONFIGURATION = """\
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "{here}/sources";
Dir::State::lists "{here}/lists";
Dir::Cache "{here}/cache";
APT::Sandbox::User "root";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
"""


class SourceError(Exception):
    """The programs cannot be had; says what was tried."""


def programs() -> list[Path]:
    """The executables, built unless they are there; SourceError."""
    built = HERE / "built"
    if not built.exists():
        shutil.rmtree(HERE, ignore_errors=True)
        HERE.mkdir(parents=True)
        _build(_unpack(_download())).rename(built)
    return sorted((built / "test").glob("*.t"))


def version() -> str:
    """The version of what programs() has built, as its own spec file says."""
    found = re.search(r"^Version: *(\S+)", (HERE / "built" / "liburing.spec").read_text(), re.MULTILINE)
    return found[1] if found else "unknown"


def as_source(text: str, style: str) -> str:
    """A configured .list or .sources file, naming the same archives as sources of source packages."""
    if style == ".sources":
        return re.sub(r"^Types:.*$", "Types: deb-src", text, flags=re.MULTILINE | re.IGNORECASE)
    lines = (line for line in text.splitlines() if line.split()[:1] == ["deb"])
    return "".join(re.sub(r"^\s*deb\b", "deb-src", line) + "\n" for line in lines)


def _configured() -> list[Path]:
    """The files that name the machine's archives."""
    asked = ("list", "Dir::Etc::sourcelist/f", "parts", "Dir::Etc::sourceparts/d")
    where = dict(word.split("=", 1) for word in shlex.split(_call("apt-config", "shell", *asked)))
    files = [Path(where["list"]), *sorted(Path(where["parts"]).glob("*"))]
    return [file for file in files if file.suffix in (".list", ".sources") and file.exists()]


def _download() -> Path:
    """The upstream archive of the newest version on offer; apt checks its signature and checksum."""
    for name in ("sources", "lists/partial", "cache/archives/partial", "download"):
        (HERE / name).mkdir(parents=True)
    for file in _configured():
        (HERE / "sources" / file.name).write_text(as_source(file.read_text(), file.suffix))
    configuration = HERE / "apt.conf"
    configuration.write_text(CONFIGURATION.format(here=HERE))
    apt = ("apt-get", "-c", str(configuration), "-q")
    said = _call(*apt, "update", check=False)  # an archive without source packages need not be the one
    try:
        _call(*apt, "source", "--only-source", "--download-only", PACKAGE, cwd=HERE / "download")
    except SourceError as error:
        raise SourceError(f"no source package {PACKAGE} from apt's archives:\n{said}{error}") from None
    (archive,) = (HERE / "download").glob("*.orig.tar.*[!c]")  # .asc: its signature
    return archive


def _unpack(archive: Path) -> Path:
    into = HERE / "source"
    with tarfile.open(archive) as tar:
        tar.extractall(into, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    (directory,) = into.iterdir()
    return directory


def _build(directory: Path) -> Path:
    jobs = f"-j{os.cpu_count()}"
    _call("./configure", "--cc=cc", "--cxx=c++", cwd=directory)
    _call("make", jobs, "-C", "src", cwd=directory)
    _call("make", jobs, "-C", "test", cwd=directory)
    return directory


def _call(*words: str, cwd: Path = HERE, check: bool = True) -> str:
    """What it writes to both outputs; SourceError if it fails."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")} | {"LC_ALL": "C"}
    try:
        done = subprocess.run(
            words,
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=TIMEOUT,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SourceError(f"{shlex.join(words)}: {error}") from error
    if check and done.returncode != 0:
        raise SourceError(f"{shlex.join(words)}: exit {done.returncode}\n{done.stdout[-4000:]}")
    return done.stdout
