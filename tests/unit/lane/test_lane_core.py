"""The lane's core (contrib/lane/) without a mount: C programs, plain and under the sanitizers."""

import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PROGRAMS = ("queues", "transfers", "fixed", "sharing", "workers", "waits", "claims", "aio")
SANITIZERS = {
    "plain": ["-O2"],
    "address": ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"],
    "thread": ["-O1", "-g", "-fsanitize=thread"],
}
WARNINGS = ["-Wall", "-Wextra", "-Werror"]


@pytest.mark.parametrize("sanitizer", SANITIZERS)
@pytest.mark.parametrize("program", PROGRAMS)
def test_program(program: str, sanitizer: str, tmp_path: Path) -> None:
    built = tmp_path / program
    compiler = ["gcc", *SANITIZERS[sanitizer], *WARNINGS, "-pthread", "-o", str(built), str(HERE / f"{program}.c")]
    subprocess.run(compiler, check=True)
    done = subprocess.run([built], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode == 77:
        pytest.skip("no O_DIRECT on the file system of temporary files")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("compiler", [["gcc", "-std=c11"], ["g++", "-x", "c++", "-std=c++17"]])
def test_the_header_with_the_lane(compiler: list[str], tmp_path: Path) -> None:
    source = tmp_path / "program.c"
    source.write_text(
        "#define URINGFS_LANE\n"
        '#include "uringfs.h"\nint main(void) { return uringfs_enter(-1, 1, 0, 0, NULL) != -1; }\n'
    )
    contrib = HERE.parents[2] / "contrib"
    built = tmp_path / "program"
    subprocess.run([*compiler, *WARNINGS, "-I", str(contrib), "-o", str(built), str(source)], check=True)
    assert subprocess.run([built], check=False).returncode == 0
