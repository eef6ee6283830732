"""A process submits requests, or has a poller, and then executes a program with more rights than it has. Nothing
of what was asked for may happen with these rights, to that program's descriptors, or in its memory."""

import pytest
from attack import CHANNELS, CONTROL, NOTIFY, TRAP, Arena

MEMORY = ("read", "inject", "write", "send")
FILES = ("read_fixed", "splice", "write_file", "ftruncate", "sendmsg", "files_update")
NAMES = ("openat", "mkdirat", "socket")
TAILS = (*MEMORY, *FILES, *NAMES)
HEADS = ("poll", "drain", "timeout", "worker")
MANNERS = ("by_another_thread", "of_another_thread", "vfork", "clone_vm", "clone_files")
KINDS = ("setgid", "caps")
LATER = "a_request_that_starts_behind_an_exec"
POLLED = "a_request_that_is_queued_behind_the_exec_of_its_thread"


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize("tail", TAILS)
def test_each_attack_is_real(arena: Arena, oracle: bool, tail: str, channel: str) -> None:
    """It succeeds where it may."""
    arena.compare(channel, oracle, "later", "the_same_request_of_who_may", user=0, TAIL=tail)


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize("head", HEADS)
def test_what_starts_later(arena: Arena, oracle: bool, head: str, tail: str, channel: str) -> None:
    arena.compare(channel, oracle, "later", LATER, HEAD=head, TAIL=tail)


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize("tail", ["splice", "inject", "sendmsg", "files_update", "openat"])
@pytest.mark.parametrize("how", MANNERS)
def test_by_whatever_exec(arena: Arena, oracle: bool, how: str, tail: str, channel: str) -> None:
    arena.compare(channel, oracle, "later", LATER, HOW=how, TAIL=tail)


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize("tail", ["splice", "openat"])
@pytest.mark.parametrize("victim", KINDS)
def test_of_whatever_program(arena: Arena, oracle: bool, victim: str, tail: str, channel: str) -> None:
    arena.compare(channel, oracle, "later", LATER, VICTIM=victim, TAIL=tail)


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize("head", ["poll", "worker"])
@pytest.mark.parametrize("behaviour", ["a_read_that_ends_behind_an_exec", "a_recv_that_ends_behind_an_exec"])
def test_what_pends(arena: Arena, oracle: bool, behaviour: str, head: str, channel: str) -> None:
    arena.compare(channel, oracle, "later", behaviour, HEAD=head)


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize("behaviour", ["a_read_that_ends_behind_an_exec", "a_recv_that_ends_behind_an_exec"])
@pytest.mark.parametrize("how", MANNERS)
def test_what_pends_by_whatever_exec(arena: Arena, oracle: bool, how: str, behaviour: str, channel: str) -> None:
    arena.compare(channel, oracle, "later", behaviour, HOW=how)


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize("how", ["exec", *MANNERS])
def test_a_registered_buffer(arena: Arena, oracle: bool, how: str, channel: str) -> None:
    arena.compare(channel, oracle, "later", "a_registered_buffer", HOW=how)


@pytest.mark.parametrize("channel", CHANNELS)
def test_an_enter_that_waits(arena: Arena, oracle: bool, channel: str) -> None:
    arena.compare(channel, oracle, "later", "an_enter_that_waits")


@pytest.mark.parametrize("channel", CHANNELS)
def test_advice_is_real(arena: Arena, oracle: bool, channel: str) -> None:
    arena.compare(channel, oracle, "later", "the_same_request_of_who_may", user=0, TAIL="madvise")


@pytest.mark.parametrize("how", ["exec", "vfork", "clone_vm"])
def test_advice_about_memory(arena: Arena, oracle: bool, how: str) -> None:
    """Which the daemon itself performs for supervised programs alone."""
    arena.compare(NOTIFY, oracle, "later", LATER, TAIL="madvise", HOW=how)
    arena.compare(NOTIFY, oracle, "poller", POLLED, TAIL="madvise", HOW=how)


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize("tail", TAILS)
def test_a_poller(arena: Arena, oracle: bool, tail: str, channel: str) -> None:
    arena.compare(channel, oracle, "poller", POLLED, TAIL=tail)


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize("tail", ["splice", "sendmsg", "files_update", "openat"])
@pytest.mark.parametrize("how", MANNERS)
def test_a_poller_by_whatever_exec(arena: Arena, oracle: bool, how: str, tail: str, channel: str) -> None:
    arena.compare(channel, oracle, "poller", POLLED, HOW=how, TAIL=tail)


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize("victim", KINDS)
def test_a_poller_of_whatever_program(arena: Arena, oracle: bool, victim: str, channel: str) -> None:
    arena.compare(channel, oracle, "poller", POLLED, VICTIM=victim, TAIL="openat")


@pytest.mark.parametrize("channel", CHANNELS)
def test_a_new_descriptor_is_real(arena: Arena, oracle: bool, channel: str) -> None:
    arena.compare(channel, oracle, "agent", "a_descriptor_of_who_may", user=0)


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize("how", ["exec", *MANNERS])
@pytest.mark.parametrize("behaviour", ["an_agent", "an_agent_of_a_poller"])
def test_an_agent(arena: Arena, oracle: bool, behaviour: str, how: str, channel: str) -> None:
    """By notify there is none: a descriptor comes to whose call is being answered."""
    arena.compare(channel, oracle, "agent", behaviour, HOW=how)


@pytest.mark.parametrize("how", ["exec", *MANNERS])
def test_the_agent_of_the_launcher(arena: Arena, oracle: bool, how: str) -> None:
    arena.compare(TRAP, oracle, "agent", "the_launchers_agent_of_a_poller", HOW=how)


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize("how", ["exec", *MANNERS[:-1]])
def test_a_delivery(arena: Arena, oracle: bool, how: str, channel: str) -> None:
    arena.compare(channel, oracle, "agent", "a_delivery", HOW=how)


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize("tail", ["read_fixed", "files_update", "read"])
def test_at_any_time(arena: Arena, oracle: bool, tail: str, channel: str) -> None:
    arena.compare(channel, oracle, "race", "exec_while_it_enters", TAIL=tail)


@pytest.mark.parametrize("tail", ["splice", "write"])
def test_a_control_write_that_nobody_waits_for(arena: Arena, oracle: bool, tail: str) -> None:
    arena.compare(CONTROL, oracle, "aio", "a_control_write_that_nobody_waits_for", TAIL=tail)
