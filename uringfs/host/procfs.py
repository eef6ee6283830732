"""What procfs says about a thread."""

import re

_FIELD = re.compile(r"^(\w+):(.*)$", re.MULTILINE)


def status(tid: int) -> dict[str, list[str]]:
    """/proc/TID/status: the words of each field. OSError once the thread is gone."""
    with open(f"/proc/{tid}/status") as file:
        return {name: words.split() for name, words in _FIELD.findall(file.read())}
