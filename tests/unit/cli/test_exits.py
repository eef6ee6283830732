"""What the commands say about their exit statuses, and what docs/deploy.md says."""

import re
from pathlib import Path

import pytest

from uringfs import cli
from uringfs.cli import exits, helper

ROOT = Path(__file__).parents[3]
COMMANDS = {name: module.EXITS for name, module, _ in cli.COMMANDS} | {helper.PROGRAM: helper.EXITS}


def documented() -> dict[str, set[int]]:
    """Row of the table in docs/deploy.md -> the numbers there."""
    text = (ROOT / "docs/deploy.md").read_text().split("## Exit statuses")[1]
    rows = re.findall(r"^\| ([a-z., ]+) \| (.+) \|$", text, re.MULTILINE)
    numbers = {names: set(map(int, re.findall(r"\b\d+\b", told))) for names, told in rows}
    return {name: found for names, found in numbers.items() for name in names.split(", ")}


def test_the_table_has_every_command() -> None:
    assert documented().keys() == COMMANDS.keys() | {"all"}
    assert documented()["all"] == exits.COMMON.keys()


@pytest.mark.parametrize("name", COMMANDS)
def test_the_table_has_every_status_of_a_command(name: str) -> None:
    assert documented()[name] == {int(number) for number in COMMANDS[name]}


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != helper.PROGRAM])
def test_help_shows_them(name: str) -> None:
    shown = cli.make_parser()[1][name].format_help()
    assert re.findall(r"^  (\d+) ", shown.split("exit status:\n")[1], re.MULTILINE) == [
        str(int(number)) for number in sorted(COMMANDS[name])
    ]
