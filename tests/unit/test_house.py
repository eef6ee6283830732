"""How the code is kept: docstrings read alone, tests can fail, no file hides two."""

import ast
import re
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NEIGHBOURS = (
    *(
        "The same",
        "As above",
        "As before",
        "Of",
        "Those",
        "Some of them",
        "All of them",
        "One of them",
        "None of them",
    ),
    *("Also", "And", "But", "Then", "Else", "Behind", "Another", "The other", "Ditto", "Likewise"),
)
PRONOUNS = (
    "It",
    "Its",
    "They",
    "Their",
    "One that",
    "One of this",
    "One more",
    "One fewer",
    "Not for",
    "For those",
)
"""What a docstring of a test may begin with: the test's name, in full, is above."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


def tracked(*patterns: str) -> list[str]:
    listed = subprocess.run(["git", "ls-files", *patterns], cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


# -- docstrings


def documented(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and text of each docstring, those of attributes too."""
    for node in ast.walk(tree):
        body: list[ast.stmt] = getattr(node, "body", [])
        for statement in body if isinstance(body, list) else []:
            match statement:
                case ast.Expr(value=ast.Constant(value=str(text))):
                    yield statement.lineno, text


def leaning(source: str, words: Iterable[str] = (*NEIGHBOURS, *PRONOUNS)) -> list[int]:
    """Lines of the docstrings that begin with one of the words: read alone, in help(), they say nothing."""
    begins = re.compile(rf"({'|'.join(words)})\b(?! course)")
    return [line for line, text in documented(ast.parse(source)) if begins.match(text.strip())]


@pytest.mark.parametrize(
    "text", ["Of one ring.", "The same for people.", "It waits.", "Those that wait.\n\nMore."]
)
def test_leaning_docstrings_are_found(text: str) -> None:
    assert leaning(f'"""A module."""\nclass Ring:\n    """{text}"""\n') == [3]
    assert leaning(f'limit = 1\n"""{text}"""\n') == [2]


@pytest.mark.parametrize("text", ["Offsets of a ring.", "Of course it waits.", "Itself.", "Thoseness."])
def test_other_docstrings_are_not(text: str) -> None:
    assert not leaning(f'"""{text}"""\n')


@pytest.mark.parametrize("name", tracked("*.py"))
def test_docstrings_read_alone(name: str) -> None:
    words = NEIGHBOURS if name.startswith("tests/") else (*NEIGHBOURS, *PRONOUNS)
    assert not leaning((ROOT / name).read_text(), words)


# -- tests


def called(function: ast.AST) -> Iterator[str]:
    """The last names of what is called, or handed on to be called."""
    for node in ast.walk(function):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr


def asserts(function: ast.AST) -> bool:
    return any(isinstance(node, ast.Assert) for node in ast.walk(function))


def functions(trees: Iterable[ast.Module]) -> Iterator[Function]:
    for tree in trees:
        yield from (node for node in ast.walk(tree) if isinstance(node, Function))


def idle(trees: Iterable[ast.Module]) -> list[str]:
    """Tests that assert nothing, neither themselves nor by a function of the tests that they name."""
    known = list(functions(trees))
    failing = {"raises", "fail", "warns", "check_call"} | {one.name for one in known if asserts(one)}
    found = -1
    while found != len(failing):
        found = len(failing)
        failing |= {one.name for one in known if failing.intersection(called(one))}
    return [one.name for one in known if one.name.startswith("test_") and one.name not in failing]


TESTS = """
def check(value): assert value
def by_way_of(value): check(value)
def test_by_a_helper(): by_way_of(1)
def test_by_itself(): assert 1
def test_by_raises():
    with pytest.raises(OSError): run()
def test_never(): run()
"""


def test_tests_that_assert_nothing_are_found() -> None:
    assert idle([ast.parse(TESTS)]) == ["test_never"]


def test_every_test_can_fail() -> None:
    assert not idle([ast.parse((ROOT / name).read_text()) for name in tracked("tests/*.py")])


# -- names

TWICE = {
    "Ring": "client/ring.py is the API of other programs: a ring as they have it",
    "Request": "client/request.py, too: a request that a program builds; ours is struct io_kiocb",
}
"""Classes of one name in two modules, and why."""


def classes(names: Iterable[str]) -> dict[str, list[str]]:
    """Public name -> the files that define a class so."""
    found: dict[str, list[str]] = {}
    for name in names:
        for node in ast.walk(ast.parse((ROOT / name).read_text())):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found.setdefault(node.name, []).append(name)
    return found


def test_a_class_name_stands_for_one_thing() -> None:
    twice = {name: files for name, files in classes(tracked("uringfs/*.py")).items() if len(files) > 1}
    assert twice.keys() == TWICE.keys(), twice


# -- numbers


@pytest.mark.parametrize(
    ("what", "where"),
    [
        (r"0xFFFFFFFF\b", "uringfs/abi/numbers.py: U32"),
        (r"^PAGE(_SIZE)? = ", "uringfs/abi/numbers.py: PAGE"),
        (r"\bCDLL\(None, use_errno", "uringfs/abi/libc.py: libc"),
        (r"\bplatform\.machine\(|\buname\(\)\.machine", "uringfs/abi/machine.py: MACHINE"),
    ],
)
def test_a_number_of_the_kernel_stands_once(what: str, where: str) -> None:
    """Helpers are processes of their own, which import as little as they can."""
    again = [
        name
        for name in tracked("uringfs/*.py")
        if not name.startswith(("uringfs/abi/", "uringfs/host/helper/"))
        and re.search(what, (ROOT / name).read_text(), re.MULTILINE)
    ]
    assert again == [], f"take it from {where}"


# -- files

LINES = 400
LONG = {
    "contrib/uringfs.h": "a program includes one file",
    "contrib/lane/core.h": "one protocol, in the order of its loads and stores",
    "contrib/lane/client.h": "the call from its beginning to its end",
    "contrib/launcher/workers.c": "one pool: whoever changes a worker's state sees all of its states",
    "uringfs/engine/request.py": "a request and what it sees of its ring name each other",
}
"""Files of more lines than that, and why. Past it a file usually hides two."""


@pytest.mark.parametrize("name", tracked("uringfs/*.py", "uringfs/*.[ch]", "contrib/*.py", "contrib/*.[ch]"))
def test_no_file_hides_two(name: str) -> None:
    lines = len((ROOT / name).read_text().splitlines())
    assert (lines > LINES) == (name in LONG), f"{lines} lines"
