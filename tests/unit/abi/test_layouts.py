"""Structs, offsets and numbers as the C compiler has them, from <linux/io_uring.h> and contrib/uringfs.h."""

import os
import subprocess
from pathlib import Path
from struct import Struct

import pytest

from uringfs.abi import constants, control, lane, seccomp, structs
from uringfs.abi.constants import (
    ENTER_FLAGS,
    FEATURES,
    OPCODES,
    REGISTER_OPCODES,
    SETUP_FLAGS,
    SQE_FLAGS,
    flag_names,
)
from uringfs.abi.machine import NR

CONTRIB = Path(__file__).resolve().parents[3] / "contrib"
SQE_MEMBERS = (
    "opcode flags ioprio fd off addr len rw_flags user_data buf_index personality file_index addr3 __pad2"
).split()  # fmt: skip
PARAMS_MEMBERS = "sq_entries cq_entries flags sq_thread_cpu sq_thread_idle features wq_fd resv".split()
# (our layout, C type, its members in order)
LAYOUTS = {
    "SQE": (structs.SQE, "struct io_uring_sqe", SQE_MEMBERS),
    "CQE": (structs.CQE, "struct io_uring_cqe", ["user_data", "res", "flags"]),
    "IOVEC": (structs.IOVEC, "struct iovec", ["iov_base", "iov_len"]),
    "TIMESPEC": (structs.TIMESPEC, "struct __kernel_timespec", ["tv_sec", "tv_nsec"]),
    "GETEVENTS_ARG": (
        structs.GETEVENTS_ARG,
        "struct io_uring_getevents_arg",
        ["sigmask", "sigmask_sz", "", "ts"],  # pad, later min_wait_usec
    ),
    "ENTRY": (
        control.ENTRY,
        "struct uringfs_descriptor",
        ["id", "res", "what", "which", "options", "code", "pid", "uid", "status"],
    ),
    "HEADER": (control.HEADER, "struct uringfs_hdr", ["cmd", "size"]),
}
# bodies behind struct uringfs_hdr; "": a member whose place follows from the others
BODIES = {
    "SETUP": (control.SETUP, "struct uringfs_setup", ["result", "entries", "can", "params"]),
    "AGENT": (control.AGENT, "struct uringfs_agent", ["result", "sock", "pad"]),
    "FETCH": (control.FETCH, "struct uringfs_fetch", ["result", "entries", "done", "room", "sock", "can"]),
    "SUPERVISE": (control.SUPERVISE, "struct uringfs_supervise", ["result", "listener", "trace"]),
    "ENTER": (
        control.ENTER,
        "struct uringfs_enter",
        ["result", "to_submit", "min_complete", "flags", "", "arg", "argsz"],
    ),
    "REGISTER": (control.REGISTER, "struct uringfs_register", ["result", "opcode", "nr_args", "arg"]),
}
NAMES = {
    "IORING_OP_": OPCODES,
    "IORING_": REGISTER_OPCODES,
    "IORING_SETUP_": SETUP_FLAGS,
    "IORING_FEAT_": FEATURES,
    "IORING_ENTER_": ENTER_FLAGS,
    "IOSQE_": SQE_FLAGS,
}
KNOWN_TO_LINUX_6_1 = dict(zip(NAMES, (48, 26, 12, 13, 5, 7), strict=True))


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory):
    """Evaluate C expressions as long long; None for one that names what the header has not."""
    folder = tmp_path_factory.mktemp("layouts")

    def evaluate(expressions: list[str]) -> list[int]:
        source, program = folder / "probe.c", folder / "probe"
        lines = "".join(f'\tprintf("%lld\\n", (long long)({expression}));\n' for expression in expressions)
        source.write_text(
            "#include <stdio.h>\n#include <stddef.h>\n#include <sys/uio.h>\n#include <linux/time_types.h>\n"
            f'#include "uringfs.h"\nint main(void)\n{{\n{lines}\treturn 0;\n}}\n'
        )
        subprocess.run(["gcc", "-w", "-D_GNU_SOURCE", f"-I{CONTRIB}", str(source), "-o", str(program)], check=True)
        return [int(line) for line in subprocess.check_output([program], text=True).split()]

    return evaluate


def field_offsets(layout: Struct) -> list[int]:
    """Where each field starts."""
    prefix = layout.format[0]
    codes = "".join(code * int(count or 1) for count, code in runs(layout.format[1:]))
    return [Struct(prefix + codes[:index]).size for index in range(len(codes))]


def runs(codes: str) -> list[tuple[str, str]]:
    found, count = [], ""
    for code in codes:
        if code.isdigit():
            count += code
        else:
            found.append((count, code))
            count = ""
    return found


@pytest.mark.parametrize("name", LAYOUTS)
def test_sizes_and_offsets_are_those_of_c(compiled, name: str) -> None:
    layout, c_type, members = LAYOUTS[name]
    assert layout.size == compiled([f"sizeof({c_type})"])[0]
    ours = [offset for offset, member in zip(field_offsets(layout), members, strict=True) if member]
    assert ours == compiled([f"offsetof({c_type}, {member})" for member in members if member])


@pytest.mark.parametrize("name", BODIES)
def test_control_bodies_stand_behind_their_header(compiled, name: str) -> None:
    layout, c_type, members = BODIES[name]
    header = control.HEADER.size
    assert header + layout.size == compiled([f"sizeof({c_type})"])[0]
    ours = [header + offset for offset, member in zip(field_offsets(layout), members, strict=True) if member]
    assert ours == compiled([f"offsetof({c_type}, {member})" for member in members if member])


def test_params_have_three_words_of_resv_and_two_offset_structs(compiled) -> None:
    c_type = "struct io_uring_params"
    assert compiled([f"sizeof({c_type})"]) == [structs.PARAMS_SIZE] == [120]
    offsets = compiled([f"offsetof({c_type}, {member})" for member in PARAMS_MEMBERS])
    packed = structs.PARAMS.pack(*range(1, 13))
    # resv is three words; user_addr is the last field of the offsets, and has no name in older headers
    for number, offset in enumerate([*offsets, offsets[-1] + 4, offsets[-1] + 8, 40 + 32, 80 + 32], 1):
        assert packed[offset] == number
    ours = [structs.SQ_OFF, structs.CQ_OFF]
    assert compiled([f"offsetof({c_type}, sq_off)", f"offsetof({c_type}, cq_off)"]) == ours == [40, 80]
    for kind in ("sq", "cq"):
        assert compiled([f"sizeof(struct io_{kind}ring_offsets)"]) == [structs.OFFSETS.size]


def test_every_byte_of_an_sqe_is_in_the_field_it_belongs_to() -> None:
    """Bytes whose values are their offsets."""
    sqe = structs.Sqe._make(structs.SQE.unpack(bytes(range(64))))
    assert sqe.opcode == 0
    assert sqe.flags == 1
    assert sqe.ioprio == 0x0302
    assert sqe.fd == 0x07060504
    assert sqe.off == 0x0F0E0D0C0B0A0908
    assert sqe.addr == 0x1716151413121110
    assert sqe.len == 0x1B1A1918
    assert sqe.rw_flags == 0x1F1E1D1C
    assert sqe.user_data == 0x2726252423222120
    assert sqe.buf_index == 0x2928
    assert sqe.personality == 0x2B2A
    assert sqe.file_index == 0x2F2E2D2C
    assert sqe.addr3 == 0x3736353433323130
    assert sqe.pad2 == 0x3F3E3D3C3B3A3938
    assert structs.SQE.pack(*sqe) == bytes(range(64))


ALIASES = [name for name, value in vars(structs.Sqe).items() if not name.startswith("_") and not callable(value)]


def test_the_other_members_of_the_unions_are_where_c_has_them(compiled) -> None:
    """As far as the installed header goes: it may be older than this code."""
    header = Path("/usr/include/linux/io_uring.h").read_text(encoding="utf-8")
    words = set(header.replace(";", " ").replace("[", " ").split())
    members = {name: name.replace("pad", "__pad") for name in ALIASES}
    known = [name for name in ALIASES if members[name] in words]
    assert len(known) >= 25
    where = compiled([f"offsetof(struct io_uring_sqe, {members[name]})" for name in known])
    sizes = compiled([f"sizeof(((struct io_uring_sqe *)0)->{members[name]})" for name in known])
    sqe = structs.Sqe._make(structs.SQE.unpack(bytes(range(64))))
    for name, offset, size in zip(known, where, sizes, strict=True):
        assert getattr(sqe, name) == int.from_bytes(bytes(range(offset, offset + size)), "little"), name


def test_signed_fields_are_signed() -> None:
    assert structs.Sqe._make(structs.SQE.unpack(b"\xff" * 64)).splice_fd_in == -1
    assert structs.Sqe._make(structs.SQE.unpack(b"\xff" * 64)).fd == -1
    assert structs.Cqe._make(structs.CQE.unpack(b"\xff" * 16)).res == -1


@pytest.mark.parametrize("prefix", NAMES)
def test_names_and_their_order_are_the_headers(compiled, prefix: str) -> None:
    """As far as the installed header goes: it may be older than this code."""
    header = Path("/usr/include/linux/io_uring.h").read_text(encoding="utf-8")
    names = [name for name in NAMES[prefix] if f"{prefix}{name}" in header.replace(",", " ").split()]
    assert len(names) >= KNOWN_TO_LINUX_6_1[prefix]
    values = compiled([f"{prefix}{name}" for name in names])
    numbers = [NAMES[prefix].index(name) for name in names]
    assert values == (numbers if prefix in ("IORING_OP_", "IORING_") else [1 << number for number in numbers])


def test_all_constants_the_header_knows_have_its_values(compiled) -> None:
    header = set(Path("/usr/include/linux/io_uring.h").read_text(encoding="utf-8").replace(",", " ").split())
    names = [
        name
        for name, value in vars(constants).items()
        if name.startswith(("IORING_", "IOSQE_")) and isinstance(value, int) and name in header
    ]
    names.remove("IORING_OP_LAST") if "IORING_OP_LAST" in names else None  # grows with each kernel
    assert len(names) > 40
    assert compiled(names) == [getattr(constants, name) for name in names]


def test_control_commands_are_those_of_the_c_header(compiled) -> None:
    commands = ("SETUP", "ENTER", "REGISTER", "FETCH", "SUPERVISE")
    names = [f"URINGFS_CMD_{command}" for command in commands] + ["URINGFS_OFF_CTL", "URINGFS_POLL_WAIT"]
    assert compiled(names) == [getattr(control, name) for name in names]
    assert control.RING_FILE_SIZE >= control.URINGFS_OFF_CTL + (1 << 20)


def test_there_are_as_many_names_as_in_linux_6_18() -> None:
    assert [len(names) for names in NAMES.values()] == [65, 38, 21, 18, 8, 7]
    assert all(len(set(names)) == len(names) for names in NAMES.values())


def test_flag_names() -> None:
    assert flag_names(SQE_FLAGS, 0) == "0"
    assert flag_names(SQE_FLAGS, 0b101) == "FIXED_FILE|IO_LINK"
    assert flag_names(SQE_FLAGS, 0x184) == "IO_LINK|0x180"


NEW = {"futex_wait"}
"""System calls that the headers of Linux 6.1 do not have (Debian 12)."""


def test_seccomp_and_system_calls_are_as_in_the_kernels_headers(tmp_path: Path) -> None:
    """<linux/seccomp.h>, <linux/filter.h>, <linux/audit.h>: sizes stand in the ioctl numbers."""
    names = [
        name
        for name in vars(seccomp)
        if name.startswith(("SECCOMP_SET", "SECCOMP_FILTER", "SECCOMP_ADDFD", "SECCOMP_RET", "SECCOMP_IOCTL"))
    ]
    machine = os.uname().machine
    expressions = [
        *names,
        *("sizeof(struct sock_filter)", f"AUDIT_ARCH_{machine.upper()}"),
        *(f"__NR_{name}" for name in NR if name not in NEW),
        *("BPF_LD | BPF_W | BPF_ABS", "BPF_RET | BPF_K"),
        *(f"BPF_JMP | BPF_{jump} | BPF_K" for jump in ("JEQ", "JGT", "JGE")),
        *("offsetof(struct seccomp_data, nr)", "offsetof(struct seccomp_data, arch)"),
    ]
    headers = "".join(
        f"#include <{name}.h>\n"
        for name in ("stdio", "stddef", "linux/seccomp", "linux/filter", "linux/audit", "asm/unistd", "sys/ioctl")
    )
    newer = ["futex_wait"]  # Linux 6.7: older headers have it not
    headers += "".join(f"#ifndef __NR_{name}\n#define __NR_{name} {NR[name]}\n#endif\n" for name in newer)
    lines = "".join(f'printf("%lld\\n", (long long)({expression}));\n' for expression in expressions)
    (tmp_path / "probe.c").write_text(f"{headers}int main(void) {{\n{lines}return 0; }}\n")
    subprocess.run(["cc", "-o", tmp_path / "probe", tmp_path / "probe.c"], check=True)
    printed = subprocess.run([tmp_path / "probe"], capture_output=True, text=True, check=True).stdout.split()
    ours = [
        *(getattr(seccomp, name) for name in names),
        *(seccomp.SOCK_FILTER.size, seccomp.AUDIT_ARCH[machine]),
        *(number for name, number in NR.items() if name not in NEW),
        *(seccomp.BPF_LD_W_ABS, seccomp.BPF_RET_K),
        *(seccomp.BPF_JMP_JEQ_K, seccomp.BPF_JMP_JGT_K, seccomp.BPF_JMP_JGE_K),
        *(seccomp.DATA_NR, seccomp.DATA_ARCH),
    ]
    assert len(names) > 10
    assert [int(line) for line in printed] == ours


def test_the_lane(tmp_path: Path) -> None:
    """contrib/uringfs_lane.h: constants by their names, members of struct uringfs_lane by their places."""
    constants_ = [name for name in vars(lane) if name.startswith("URINGFS_")]
    members = {
        "version": lane.LANE_VERSION,
        "generation": lane.LANE_GENERATION,
        "ops": lane.LANE_OPS,
        "ops[1]": lane.LANE_OPS_ABOVE,
        "sqe_flags": lane.LANE_FLAGS,
        "attention": lane.LANE_ATTENTION,
        "files": lane.LANE_FILES,
        "buffers": lane.LANE_BUFFERS,
        "poller": lane.LANE_POLLER,
        "daemon": lane.LANE_DAEMON,
        "lock": lane.LANE_LOCK,
        "posted": lane.LANE_STATE,
        "sq_head": lane.LANE_SQ_HEAD,
        "sleepers": lane.LANE_SLEEPERS,
        "wake_at": lane.LANE_WAKE_AT,
        "wakes": lane.LANE_WAKES,
        "claimed": lane.LANE_CLAIMED,
        "wakeups": lane.LANE_WAKEUPS,
        "enters": lane.LANE_COUNTERS,
        "taken": lane.LANE_TAKEN,
        "requests": lane.LANE_REQUESTS,
        "seen": lane.LANE_STATE + 12,
        "cq_head": lane.LANE_STATE + 16,
        "cq_heads": lane.LANE_STATE + 20,
        "doing": lane.LANE_STATE + 28,
        "doing_user_data": lane.LANE_STATE + 32,
    }
    expected = {name: getattr(lane, name) for name in constants_}
    expected |= {f"offsetof(struct uringfs_lane, {name})": offset for name, offset in members.items()}
    places = (0, 8, 12, 16, 20, 21, 22, 23, 24, 28)
    for name, offset in zip(lane.Taken._fields, places, strict=True):
        expected[f"offsetof(struct uringfs_lane_request, {name})"] = offset
    expected["sizeof(struct uringfs_lane_request)"] = lane.REQUEST.size
    expected["sizeof(struct uringfs_lane_answer)"] = lane.ANSWER.size
    expected["URINGFS_CMD_LANE"] = control.URINGFS_CMD_LANE
    expected["URINGFS_CMD_LANE_WAKE"] = control.URINGFS_CMD_LANE_WAKE
    expected["URINGFS_CMD_LANE_POLL"] = control.URINGFS_CMD_LANE_POLL
    expected["URINGFS_LANE_POLLERS"] = lane.URINGFS_LANE_POLLERS
    expected["URINGFS_ENTER_KICK"] = control.URINGFS_ENTER_KICK
    expected["URINGFS_LANE_TAILS"] = lane.URINGFS_LANE_TAILS
    source, program = tmp_path / "lane.c", tmp_path / "lane"
    lines = "".join(f'\tprintf("%lld\\n", (long long)({expression}));\n' for expression in expected)
    source.write_text(
        f'#include <stdio.h>\n#include "uringfs_lane.h"\nint main(void)\n{{\n{lines}\treturn 0;\n}}\n'
    )
    subprocess.run(["cc", "-std=c11", f"-I{CONTRIB}", "-o", program, source], check=True)
    found = subprocess.run([program], check=True, capture_output=True, text=True).stdout.split()
    assert dict(zip(expected, map(int, found), strict=True)) == expected
