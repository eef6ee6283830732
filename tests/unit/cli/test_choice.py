"""How a program is run: what the file says decides."""

import os
import subprocess
from pathlib import Path

import pytest

from uringfs.cli import program
from uringfs.cli.program import RunError

NOBODY = 65534
GO_NOTE = """\
__asm__(".section .note.go.buildid,\\"a\\",@note\\n.long 4, 4, 4\\n"
	".asciz \\"Go\\"\\n.byte 0\\n.asciz \\"abc\\"\\n.previous");
"""


def build(directory: Path, *options: str, before: str = "") -> Path:
    source, target = directory / "program.c", directory / "program"
    source.write_text(before + "int main(void) { return 0; }\n")
    subprocess.run(["cc", *options, "-o", target, source], check=True)
    return target


def test_a_dynamic_program(tmp_path: Path) -> None:
    path = build(tmp_path)
    assert [program.mode(str(path), asked) for asked in ("auto", "trap", "notify")] == ["trap", "trap", "notify"]


@pytest.mark.parametrize("options", [("-static",), ("-static-pie",)])
def test_a_static_program(tmp_path: Path, options: tuple[str, ...]) -> None:
    path = str(build(tmp_path, *options))
    assert program.mode(path, "auto") == "notify"
    with pytest.raises(RunError, match="statically linked"):
        program.mode(path, "trap")


@pytest.mark.parametrize(("options", "before"), [((), GO_NOTE), (("-fsanitize=address",), "")], ids=["go", "asan"])
def test_what_does_not_go_well_with_a_handler(tmp_path: Path, options: tuple[str, ...], before: str) -> None:
    path = str(build(tmp_path, *options, before=before))
    assert [program.mode(path, asked) for asked in ("auto", "trap")] == ["notify", "trap"]


def test_valgrind_whatever_it_is(tmp_path: Path) -> None:
    script = tmp_path / "valgrind"
    script.write_text("#!/bin/sh\n")
    assert program.mode(str(script), "auto") == "notify"


@pytest.mark.skipif(os.geteuid() != 0, reason="takes another's id")
@pytest.mark.parametrize("bits", [0o4755, 0o2755])
def test_one_that_becomes_somebody_else(tmp_path: Path, bits: int) -> None:
    path = build(tmp_path)
    path.chmod(bits)
    assert program.mode(str(path), "auto") == "trap"  # root's own
    os.chown(path, NOBODY, NOBODY)
    path.chmod(bits)
    assert program.mode(str(path), "auto") == "notify"
    with pytest.raises(RunError, match="setuid or setgid"):
        program.mode(str(path), "trap")


def test_what_is_no_program_is_left_to_execve(tmp_path: Path) -> None:
    file = tmp_path / "file"
    for content in (b"", b"\x7fELF", b"#!\n", b"#!/nowhere\n", b"\x7fELF" + b"\2" + bytes(200)):
        file.write_bytes(content)
        if content.count(b"\0") < 100:
            assert program.mode(str(file), "auto") == "trap"
        else:
            with pytest.raises(RunError, match="another machine"):
                program.mode(str(file), "auto")
