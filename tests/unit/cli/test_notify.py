"""The filter of `uringfs run --mode notify`, run by a machine of its own."""

import errno

import pytest

from uringfs.abi import seccomp as abi
from uringfs.cli import notify

NOTIFY, ALLOW, ENOSYS = abi.SECCOMP_RET_USER_NOTIF, abi.SECCOMP_RET_ALLOW, abi.SECCOMP_RET_ERRNO | errno.ENOSYS
X86, X32 = 0x40000003, 0x40000000


def answer(steps: list[bytes], nr: int, arch: int) -> int:
    """What a classic BPF program says of struct seccomp_data."""
    data = {abi.DATA_NR: nr, abi.DATA_ARCH: arch}
    jumps = {
        abi.BPF_JMP_JEQ_K: lambda word, k: word == k,
        abi.BPF_JMP_JGT_K: lambda word, k: word > k,
        abi.BPF_JMP_JGE_K: lambda word, k: word >= k,
    }
    at, word = 0, 0
    while True:
        code, yes, no, k = abi.SOCK_FILTER.unpack(steps[at])
        at += 1
        if code == abi.BPF_RET_K:
            return int(k)
        if code == abi.BPF_LD_W_ABS:
            word = data[k]
        else:
            at += yes if jumps[code](word, k) else no


@pytest.mark.parametrize("machine", abi.AUDIT_ARCH)
def test_what_it_answers(machine: str) -> None:
    steps, native = notify.program(machine), abi.AUDIT_ARCH[machine]
    for nr in (425, 426, 427):
        assert answer(steps, nr, native) == NOTIFY
        assert answer(steps, nr, X86) == ENOSYS
    for nr in (0, 1, 59, 424, 428, 500, X32 | 1, X32 | 425, (1 << 32) - 1):
        assert answer(steps, nr, native) == ALLOW
        assert answer(steps, nr, X86) == ALLOW
