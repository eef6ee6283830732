"""The pytest plugin (docs/pytest.md). It needs pytest alone until one of its fixtures is asked for."""

import os
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from uringfs.client import Ring
    from uringfs.client.faults import Faults
    from uringfs.testing.programs import Ran
    from uringfs.testing.tracing import TraceOfTest

MARKER = "uringfs_matrix"
NO_RULE = "no-fault"
LARGEST_SEED = 1 << 32


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("uringfs", "io_uring by uringfs")
    group.addoption(
        "--uringfs-seed",
        type=int,
        metavar="N",
        help="of what chance decides about faults; by default another each time, which the header shows",
    )
    group.addoption(
        "--uringfs-no-trace",
        action="store_true",
        help="failures show no trace: tests without faults are quicker, for their rings have a lane",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        f"{MARKER}(*rules, kernels=(), seeds=1, no_fault=False): run the test once for each fault rule, kernel "
        "and seed; a rule may be a list of rules. Programs, and rings of the test itself, meet them",
    )
    given = config.getoption("--uringfs-seed")
    worker = getattr(config, "workerinput", None)  # xdist's: all workers have the seed of who has started them
    seed = worker["uringfs_seed"] if worker else given if given is not None else random.randrange(LARGEST_SEED)
    config.stash[SEED] = seed


SEED = pytest.StashKey[int]()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """xdist starts a worker."""
    node.workerinput["uringfs_seed"] = node.config.stash[SEED]


def pytest_report_header(config: pytest.Config) -> str:
    return f"uringfs: --uringfs-seed {config.stash[SEED]}"


class Case:
    """One point of a matrix."""

    def __init__(self, rules: Sequence[str], kernel: str, seed: int) -> None:
        self.rules = tuple(rules)
        self.kernel = kernel
        self.seed = seed

    def id(self, seeds: int) -> str:
        """seeds: how many there are."""
        parts = ["+".join(self.rules) or NO_RULE]
        parts += [f"linux-{self.kernel}"] if self.kernel else []
        parts += [f"seed{self.seed}"] if seeds > 1 else []
        return "-".join(parts)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    marker = metafunc.definition.get_closest_marker(MARKER)
    if marker is None:
        return
    cases, seeds = _cases(marker)
    if "uringfs_case" not in metafunc.fixturenames:
        metafunc.fixturenames.append("uringfs_case")
    metafunc.parametrize("uringfs_case", cases, indirect=True, ids=[case.id(seeds) for case in cases])


def _cases(marker: pytest.Mark) -> tuple[list[Case], int]:
    unknown = set(marker.kwargs) - {"kernels", "seeds", "no_fault"}
    if unknown:
        known = "rules, kernels, seeds and no_fault"
        raise pytest.UsageError(f"{MARKER}: what is {sorted(unknown)}? It takes {known}")
    rules = [[rule] if isinstance(rule, str) else list(rule) for rule in marker.args]
    _check([rule for some in rules for rule in some])
    if marker.kwargs.get("no_fault") or not rules:
        rules.insert(0, [])
    kernels = list(marker.kwargs.get("kernels", ())) or [""]
    seeds = int(marker.kwargs.get("seeds", 1))
    return [Case(some, kernel, seed) for some in rules for kernel in kernels for seed in range(seeds)], seeds


def _check(rules: Sequence[str]) -> None:
    from uringfs.faults.parser import RuleError, parse

    for rule in rules:
        try:
            parse(rule)
        except RuleError as error:
            raise pytest.UsageError(f"{MARKER}: {rule}: {error}") from None


@pytest.fixture
def uringfs_case(request: pytest.FixtureRequest) -> Case:
    """The point of the matrix that this is: rules, kernel, seed. Without a matrix it has none of them."""
    return getattr(request, "param", Case((), "", 0))


@pytest.fixture
def uringfs_seed(request: pytest.FixtureRequest, uringfs_case: Case) -> int:
    """The seed of this test: the session's, and the case's on top."""
    return (request.config.stash[SEED] + uringfs_case.seed) % LARGEST_SEED


@pytest.fixture(scope="session")
def uringfs_mount() -> Iterator[Path]:
    """A mount of this session's own (of each worker's, under xdist). Needs root, or `unshare -Urm`."""
    from uringfs.testing.daemon import Daemon, MountError

    try:
        daemon = Daemon("--log-level", "warning")
    except MountError as error:
        pytest.fail(f"cannot mount uringfs: {error} (as an ordinary user: unshare -Urm pytest ...)", pytrace=False)
    yield daemon.path
    complaints = daemon.stop()
    assert not complaints, complaints


@pytest.fixture
def uringfs_trace(request: pytest.FixtureRequest, uringfs_mount: Path) -> Iterator["TraceOfTest"]:
    """What rings of this process, and its programs, do: lines(), requests() (uringfs.testing.tracing)."""
    from uringfs.testing.tracing import TraceOfTest

    trace = request.node.stash[TRACE] = TraceOfTest(uringfs_mount)
    yield trace
    request.node.stash[TRACE] = None
    trace.close()


TRACE = pytest.StashKey[Any]()


@pytest.fixture
def uringfs_faults(
    request: pytest.FixtureRequest, uringfs_mount: Path, uringfs_case: Case, uringfs_seed: int
) -> Iterator["Faults"]:
    """Rules for rings of the mount (uringfs.client.faults.Faults); those of the matrix are in force. They end with
    the test."""
    from uringfs.client.faults import Faults

    if not request.config.getoption("--uringfs-no-trace"):
        request.getfixturevalue("uringfs_trace")  # for a failure
    faults = Faults(uringfs_mount)
    for number, rule in enumerate(uringfs_case.rules):
        faults.inject(f"{rule}:pid={os.getpid()}:seed={uringfs_seed + number}" if ":seed=" not in rule else rule)
    request.node.stash[FAULTS] = faults
    yield faults
    request.node.stash[FAULTS] = None
    faults.clear()


FAULTS = pytest.StashKey[Any]()


@pytest.fixture
def uringfs_as_kernel(uringfs_mount: Path) -> Iterator[Callable[[str], None]]:
    """A function: from now on rings that this process and its children set up are of that kernel, 5.1 to 6.18."""
    from uringfs.client.faults import Faults

    faults = Faults(uringfs_mount)
    yield lambda version: faults.as_kernel(version, os.getpid())
    faults.as_kernel("current", os.getpid())


@pytest.fixture
def uringfs_ring(
    uringfs_mount: Path,
    uringfs_faults: "Faults",
    uringfs_as_kernel: Callable[[str], None],
    uringfs_case: Case,
) -> Iterator["Ring"]:
    """A ring of 64 entries (uringfs.client.Ring), which meets the rules and the kernel of the matrix."""
    from uringfs.client import Ring

    if uringfs_case.kernel:
        uringfs_as_kernel(uringfs_case.kernel)
    with Ring(uringfs_mount / "new", 64) as ring:
        yield ring


@pytest.fixture
def uringfs_run(
    request: pytest.FixtureRequest,
    uringfs_mount: Path,
    uringfs_faults: "Faults",
    uringfs_case: Case,
    uringfs_seed: int,
) -> Callable[..., "Ran"]:
    """A function: run(*command, rules=(), kernel="", mode="auto", timeout=60, **options of subprocess.run) runs an
    unmodified program, with these rules and those of the matrix, and returns what came of it (Ran)."""
    from uringfs.testing import programs

    def run(*command: object, rules: Sequence[str] = (), kernel: str = "", **options: Any) -> "Ran":
        kernel = kernel or uringfs_case.kernel
        ran = programs.run(uringfs_mount, command, rules, kernel, options.pop("seed", uringfs_seed), **options)
        programs_run.append(ran)
        return ran

    programs_run = request.node.stash[RUN] = list["Ran"]()
    return run


RUN = pytest.StashKey[list[Any]]()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: "pytest.CallInfo[None]") -> Iterator[None]:
    """A failure shows the rules that were in force, what they have injected, and the trace around that."""
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    faults, trace = item.stash.get(FAULTS, None), item.stash.get(TRACE, None)
    if not report.failed or call.when != "call":
        return
    if faults is not None:
        programs: list[Any] = item.stash.get(RUN, [])
        told = [f"--uringfs-seed {item.config.stash[SEED]}", faults.listing(), *map(str, programs)]
        report.sections.append(("uringfs", "\n".join(told)))
    if trace is not None:
        report.sections.append(("uringfs trace", trace.excerpt()))
