"""Modules import lower floors only: what makes the tower a tower."""

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "uringfs"
# Lowest first; beside each other: neither imports the other. A package is one floor, its modules may
# import each other.
FLOORS = (
    ("uringfs",),  # __init__: the version
    ("abi",),
    ("errors",),
    ("_words",),
    ("native",),
    ("memory",),
    ("ring",),
    ("host",),
    ("ops",),
    ("register",),
    ("wait", "sqpoll", "owners", "held", "index", "localwork"),
    ("life",),
    ("worker",),
    ("faults",),
    ("fs", "client"),
    ("cli",),
    ("__main__",),
)
LEVEL = {name: level for level, names in enumerate(FLOORS) for name in names}


def unit(parts: tuple[str, ...]) -> str:
    """The floor's name of a dotted module path."""
    return parts[1] if len(parts) > 1 else parts[0]


def module(path: Path) -> tuple[str, ...]:
    parts = ("uringfs", *path.relative_to(PACKAGE).with_suffix("").parts)
    return parts[:-1] if parts[-1] == "__init__" else parts


def imports(path: Path) -> list[tuple[str, ...]]:
    """Dotted paths of what a file imports of this package, wherever in it; types only, too."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            parts = tuple((node.module or "").split("."))
            if parts == ("uringfs",):
                found += [("uringfs", alias.name) if alias.name in LEVEL else parts for alias in node.names]
            elif parts[0] == "uringfs":
                found.append(parts)
        elif isinstance(node, ast.Import):
            found += [parts for alias in node.names if (parts := tuple(alias.name.split(".")))[0] == "uringfs"]
    return found


MODULES = sorted((*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.pyi")))


def test_the_modules_are_found() -> None:
    assert PACKAGE / "worker.py" in MODULES
    assert len(MODULES) > 30


@pytest.mark.parametrize("path", MODULES, ids=lambda path: ".".join(module(path)))
def test_imports_go_down(path: Path) -> None:
    own = unit(module(path))
    assert own in LEVEL, f"{own} has no floor: give it one in {__file__}"
    for parts in imports(path):
        other = unit(parts)
        assert other in LEVEL, f"{path.name} imports {'.'.join(parts)}, which has no floor"
        assert other == own or LEVEL[other] < LEVEL[own], f"{own} imports {other}, which is not below it"


@pytest.mark.parametrize("floor", [name for name in LEVEL if (PACKAGE / name).is_dir()])
def test_modules_of_a_floor_import_each_other_without_a_circle(floor: str) -> None:
    graph = {
        module(path): {parts for parts in own_imports(path) if unit(parts) == floor}
        for path in MODULES
        if path.suffix == ".py" and unit(module(path)) == floor
    }
    done: set[tuple[str, ...]] = set()

    def visit(node: tuple[str, ...], trail: tuple[tuple[str, ...], ...]) -> None:
        assert node not in trail, " -> ".join(".".join(parts) for parts in (*trail, node))
        if node not in done:
            for target in graph.get(node, ()):
                visit(target, (*trail, node))
            done.add(node)

    for node in graph:
        visit(node, ())


def own_imports(path: Path) -> list[tuple[str, ...]]:
    """Those of the module itself, `from package import module` as the module; under TYPE_CHECKING, too."""
    found = []
    for node in outside_functions(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.ImportFrom) and node.module:
            parts = tuple(node.module.split("."))
            for alias in node.names:
                folder = PACKAGE.joinpath(*parts[1:], alias.name)
                inner = folder.with_suffix(".py").exists() or folder.is_dir()
                found.append((*parts, alias.name) if inner else parts)
    return found


def outside_functions(node: ast.AST) -> Iterator[ast.AST]:
    """What runs, or is looked at by a type checker, as the module is imported."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield child
            yield from outside_functions(child)


def test_what_is_imported_for_types_counts(tmp_path: Path) -> None:
    source = tmp_path / "typed.py"
    source.write_text(
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    from uringfs.ops.request import Request\n"
        "def later():\n    from uringfs.ops.table import TABLE\n"
    )
    assert own_imports(source) == [("typing",), ("uringfs", "ops", "request")]


def test_test_modules_have_names_of_their_own() -> None:
    """pytest imports them by their base name: two of one name stop the whole run."""
    names = Counter(path.name for path in PACKAGE.parent.joinpath("tests").rglob("test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []
