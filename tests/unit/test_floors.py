"""Modules import lower floors only: what makes the tower a tower."""

import ast
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "uringfs"
# Lowest first; beside each other: neither imports the other. What is named is a floor, with all that is in it and
# has no floor of its own; its modules may import each other.
FLOORS = (
    ("",),  # __init__: the version
    ("abi",),
    ("errors",),
    ("_words",),
    ("native",),
    ("memory",),
    ("ring",),
    ("host.status", "host.threads", "host.procfs", "host.ownrights"),
    ("host.protocols",),
    ("host.helper",),
    ("host.identity",),
    ("host.net",),
    ("host.files",),
    ("host.process",),
    ("host.events",),
    ("host",),
    ("clientwork",),
    ("engine",),
    ("ops.paths",),
    ("ops.files",),
    ("ops.events",),
    ("ops.rw",),
    ("ops.net",),
    ("ops",),
    ("register",),
    ("faults",),
    ("watch",),
    ("fs.seldom",),
    ("fs.codec", "fs.inodes", "fs.interrupts", "fs.quota"),
    ("fs.textmemory", "fs.specials", "fs.ringlane"),
    ("fs.faultcontrol", "fs.watching"),
    ("fs.ringfile",),
    ("fs.lanestatus", "fs.waits"),
    ("fs.openfile",),
    ("fs.supervised", "fs.status"),
    ("fs.filesystem",),
    ("fs.virtualtime",),
    ("fs.fuse",),
    ("fs",),
    ("client",),
    ("testing",),
    ("nri",),
    ("cli",),
    ("__main__",),
)
LEVEL = {name: level for level, names in enumerate(FLOORS) for name in names}


def unit(parts: tuple[str, ...]) -> str:
    """The floor of a dotted module path: the longest that has it. The top has itself alone."""
    names = parts[1:]
    for length in range(len(names), 0, -1):
        if (name := ".".join(names[:length])) in LEVEL:
            return name
    return names[0] if names else ""


def module(path: Path) -> tuple[str, ...]:
    parts = ("uringfs", *path.relative_to(PACKAGE).with_suffix("").parts)
    return parts[:-1] if parts[-1] == "__init__" else parts


def imports(path: Path) -> list[tuple[str, ...]]:
    """Dotted paths of what a file imports of this package, wherever in it; types only, too."""
    return [parts for parts in imported(ast.walk(parse(path)), path) if parts[0] == "uringfs"]


def own_imports(path: Path) -> list[tuple[str, ...]]:
    """The imports of the module itself, those under TYPE_CHECKING too."""
    return list(imported(outside_functions(parse(path)), path))


def parse(path: Path) -> ast.AST:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imported(nodes: Iterable[ast.AST], path: Path) -> Iterator[tuple[str, ...]]:
    """`from package import module` as the module."""
    for node in nodes:
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            parts = tuple((node.module or "").split("."))
            for alias in node.names:
                inner = PACKAGE.joinpath(*parts[1:], alias.name)
                there = any(inner.with_suffix(suffix).exists() for suffix in ("", ".py", ".pyi"))
                yield (*parts, alias.name) if parts[0] == "uringfs" and there else parts
        elif isinstance(node, ast.Import):
            yield from (tuple(alias.name.split(".")) for alias in node.names)


def outside_functions(node: ast.AST) -> Iterator[ast.AST]:
    """What runs, or is looked at by a type checker, as the module is imported."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield child
            yield from outside_functions(child)


MODULES = sorted((*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.pyi")))
PACKAGES = sorted({module(path) for path in MODULES if path.name == "__init__.py"})


def test_the_modules_are_found() -> None:
    assert PACKAGE / "engine" / "submit.py" in MODULES
    assert len(MODULES) > 200


@pytest.mark.parametrize("name", LEVEL)
def test_a_floor_is_there(name: str) -> None:
    place = PACKAGE.joinpath(*name.split("."))
    assert place.is_dir() or any(place.with_suffix(suffix).exists() for suffix in (".py", ".pyi"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: ".".join(module(path)))
def test_imports_go_down(path: Path) -> None:
    own = unit(module(path))
    assert own in LEVEL, f"{own} has no floor: give it one in {__file__}"
    for parts in imports(path):
        other = unit(parts)
        assert other in LEVEL, f"{path.name} imports {'.'.join(parts)}, which has no floor"
        assert other == own or LEVEL[other] < LEVEL[own], f"{own} imports {other}, which is not below it"


def test_no_module_imports_itself_by_way_of_others() -> None:
    check({module(path): set(own_imports(path)) for path in MODULES if path.suffix == ".py"})


@pytest.mark.parametrize("package", PACKAGES, ids=".".join)
def test_no_package_imports_itself_by_way_of_its_neighbours(package: tuple[str, ...]) -> None:
    """What is in a package is in no circle, each package in it taken as one."""
    depth = len(package) + 1
    graph: dict[tuple[str, ...], set[tuple[str, ...]]] = {}
    for path in MODULES:
        own = module(path)[:depth]
        if len(own) == depth and own[:-1] == package:
            inner = {parts[:depth] for parts in own_imports(path)} - {own}
            graph.setdefault(own, set()).update(parts for parts in inner if parts[:-1] == package)
    check(graph)


def check(graph: dict[tuple[str, ...], set[tuple[str, ...]]]) -> None:
    """It has no circle."""
    done: set[tuple[str, ...]] = set()

    def visit(node: tuple[str, ...], trail: tuple[tuple[str, ...], ...]) -> None:
        assert node not in trail, " -> ".join(".".join(parts) for parts in (*trail, node))
        if node not in done:
            for target in graph.get(node, ()):
                visit(target, (*trail, node))
            done.add(node)

    for node in graph:
        visit(node, ())


def test_a_circle_is_found() -> None:
    with pytest.raises(AssertionError, match="a -> b -> a"):
        check({("a",): {("b",)}, ("b",): {("a",)}})


def test_what_is_imported_for_types_counts(tmp_path: Path) -> None:
    source = tmp_path / "typed.py"
    source.write_text(
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    from uringfs.engine.request import Request\n"
        "def later():\n    from uringfs.ops.table import TABLE\n"
    )
    assert own_imports(source) == [("typing",), ("uringfs", "engine", "request")]


def test_test_modules_have_names_of_their_own() -> None:
    """pytest imports them by their base name: two of one name stop the whole run."""
    names = Counter(path.name for path in PACKAGE.parent.joinpath("tests").rglob("test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []
