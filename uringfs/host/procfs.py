"""What procfs says about a thread."""


def status(tid: int) -> dict[str, list[str]]:
    """/proc/TID/status: the words of each field. OSError once the thread is gone."""
    with open(f"/proc/{tid}/status") as lines:
        return {name: words.split() for name, _, words in (line.partition(":") for line in lines)}
