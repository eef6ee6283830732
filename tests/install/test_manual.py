"""The manual pages and the completions: of the commands' parsers and of docs/, of which nothing is lost."""

import os
import pty
import re
import select
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.support.mounting import DEADLINE, ROOT
from uringfs import cli
from uringfs.cli import helper

MADE_BY = ROOT / "contrib/manual"
COMMANDS = [name for name, *_ in cli.COMMANDS]
DOCUMENTS = sorted(path.stem for path in (ROOT / "docs").glob("*.md") if path.stem != "architecture")
WORD = re.compile(r"[A-Za-z0-9_]+")


def made(what: str, home: Path) -> Path:
    subprocess.run([sys.executable, MADE_BY / f"{what}.py", home], check=True, timeout=DEADLINE, cwd="/")
    return home


@pytest.fixture(scope="module")
def manual(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made("pages", tmp_path_factory.mktemp("man"))


@pytest.fixture(scope="module")
def completions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made("completion", tmp_path_factory.mktemp("completions"))


def shown(page: Path) -> str:
    """As in a terminal so wide that no table breaks a word."""
    command = ["mandoc", "-T", "utf8", "-O", "width=900", page]
    text = subprocess.run(command, capture_output=True, text=True, check=True, timeout=DEADLINE).stdout
    return re.sub(".\b", "", text)


# -- pages


def test_there_is_a_page_for_everything(manual: Path) -> None:
    names = {path.name for path in manual.rglob("*.?")}
    assert names == {
        *("uringfs.1", "mount.fuse.uringfs.8"),
        *(f"uringfs-{name}.1" for name in COMMANDS),
        *(f"uringfs-{name}.7" for name in DOCUMENTS),
    }


def test_mandoc_has_nothing_to_say(manual: Path) -> None:
    pages = sorted(manual.rglob("*.?"))
    done = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", *pages], capture_output=True, text=True)
    assert [line for line in done.stdout.splitlines() if "missing date" not in line] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_a_page_has_all_of_help(manual: Path, name: str) -> None:
    text = shown(manual / f"man1/uringfs-{name}.1")
    told = set(WORD.findall(cli.make_parser()[1][name].format_help())) - {"positional", "arguments"}
    assert told - set(WORD.findall(text)) <= {"exit", "status", "options", "usage"}


def test_the_helpers_page(manual: Path) -> None:
    text = shown(manual / "man8/mount.fuse.uringfs.8")
    assert all(name in text for name in helper.OURS)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_no_word_of_a_document_is_lost(manual: Path, name: str) -> None:
    """The page has every word, except where links lead, and heads of tables that become lists."""
    _, _, source = (ROOT / f"docs/{name}.md").read_text().partition("\n")
    source = re.sub(r"^\|.*\|\n\|---\|---\|$", "", source, flags=re.MULTILINE)
    source = re.sub(r"\]\([^)]*\)", "", re.sub(r"^```.*", "", source, flags=re.MULTILINE))
    text = shown(manual / f"man7/uringfs-{name}.7")
    lost = Counter(WORD.findall(source.lower())) - Counter(WORD.findall(text.lower()))
    assert not lost


# -- completions


def by_bash(home: Path, words: str) -> set[str]:
    script = (
        'source "$0/uringfs"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); '
        '_shtab_uringfs uringfs "${COMP_WORDS[COMP_CWORD]}"; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    command = ["bash", "-c", script, home, "uringfs", *words.split(" ")]
    return set(subprocess.check_output(command, text=True, timeout=DEADLINE, stderr=subprocess.DEVNULL).split())


def by_fish(home: Path, words: str) -> set[str]:
    script = f"source {home}/uringfs.fish; complete -C 'uringfs {words}'"
    env = {**os.environ, "HOME": str(home), "XDG_CONFIG_HOME": str(home)}
    out = subprocess.check_output(["fish", "-c", script], text=True, timeout=DEADLINE, env=env)
    return {line.split("\t")[0] for line in out.splitlines()}


def by_zsh(home: Path, words: str) -> set[str]:
    """zsh completes at a terminal only: the words and a tab are typed, and what is listed is read."""
    env = {**os.environ, "HOME": str(home), "ZDOTDIR": str(home), "TERM": "dumb", "COLUMNS": "100"}
    child, terminal = pty.fork()
    if child == 0:
        os.execvpe("zsh", ["zsh", "-f", "-i"], env)
    try:
        setup = (
            f"PS1=; fpath=({home} $fpath); autoload -U compinit; compinit -u -D; setopt no_beep; echo b''egun\n"
        )
        os.write(terminal, setup.encode())
        read(terminal, "begun")
        os.write(terminal, f"uringfs {words}\t\t".encode())
        os.write(terminal, b"\x01echo e''nded \n")  # to the line's begin
        return set(read(terminal, "ended").split())
    finally:
        os.close(terminal)
        os.waitpid(child, 0)


def read(terminal: int, last: str) -> str:
    """What is shown until that word, and that is never what was typed."""
    text, end = "", time.monotonic() + DEADLINE
    while last not in text:
        assert select.select([terminal], [], [], end - time.monotonic())[0], text
        text += os.read(terminal, 4096).decode(errors="replace")
    return text


SHELLS = pytest.mark.parametrize("by", [by_bash, by_fish, by_zsh], ids=lambda by: by.__name__)


@SHELLS
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("", set(COMMANDS)),
        ("mount --backend ", {"auto", "passthrough", "pagecache"}),
        ("umount --", {"--lazy"}),
        ("trace --format ", {"strace", "json", "perfetto"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_completion(completions: Path, by: object, words: str, offered: set[str]) -> None:
    assert callable(by)
    found = by(completions, words)
    assert offered <= found
    assert not {"--pid-file", "--no-lane"} & found


@SHELLS
def test_completion_of_a_directory(completions: Path, by: object, tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    (tmp_path / "different").touch()
    assert callable(by)
    found = " ".join(by(completions, f"status {tmp_path}/d"))
    assert f"{tmp_path}/directory" in found
    assert "different" not in found
