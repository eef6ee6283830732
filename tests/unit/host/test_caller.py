"""LocalCaller: what is looked up by a thread's id is looked up, and then checked."""

import errno
import gc
import os
from collections.abc import Callable, Iterator

import pytest

from tests.support.others import HIDING, PARKED, Other, Stepper, other
from uringfs.errors import UringError
from uringfs.host.caller import LocalCaller
from uringfs.host.local import LocalHost


@pytest.fixture
def host() -> LocalHost:
    return LocalHost()


@pytest.fixture
def stepper() -> Iterator[Stepper]:
    stepper = Stepper()
    yield stepper
    stepper.close()


LOOKS: list[Callable[[LocalCaller], object]] = [
    lambda caller: caller.file(0),
    lambda caller: caller.actor(),
    lambda caller: caller.eventfd(0),
    lambda caller: caller.channel(0),
    lambda caller: caller.space,
]


@pytest.mark.parametrize("look", LOOKS)
def test_behind_an_exec(host: LocalHost, stepper: Stepper, look: Callable[[LocalCaller], object]) -> None:
    later = host.caller(stepper.pid, 0, 0).detached()
    before = len(os.listdir("/proc/self/fd"))
    stepper.exec()
    with pytest.raises(UringError) as caught:
        look(later)
    assert caught.value.errno == errno.ECANCELED
    del caught  # its traceback
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) <= before  # what was fetched is closed


@pytest.mark.parametrize("look", LOOKS)
def test_behind_a_notification(host: LocalHost, look: Callable[[LocalCaller], object]) -> None:
    """It ends while we look: the id may be another thread's by then."""
    valid = True
    caller = host.supervised(os.getpid(), lambda: valid)
    valid = False
    with pytest.raises(UringError) as caught:
        look(caller)
    assert caught.value.errno == errno.ECANCELED


def test_a_notification_that_is_over(host: LocalHost) -> None:
    with pytest.raises(UringError) as caught:
        host.supervised(os.getpid(), lambda: False)
    assert caught.value.errno == errno.ECANCELED


def test_credentials_are_those_of_submission(host: LocalHost) -> None:
    with other(Other(uid=12345, gid=12345, groups=(7,))) as pid:
        later = host.caller(pid, 12345, 12345).detached()
        with later.rights():
            assert os.stat("/proc/thread-self").st_uid != 0  # nobody's, and the caller's fsuid
    with later.rights(), open("/proc/thread-self/status") as status:  # it is gone, they are what they were
        fields = dict(line.split(":", 1) for line in status)
    assert fields["Uid"].split()[3] == "12345"
    assert fields["Groups"].split() == ["7"]
    assert later.ucred()[4:] == (12345).to_bytes(4, "little") * 2


def test_the_class_of_real_time_takes_a_capability(host: LocalHost) -> None:
    real_time, best_effort, unknown = 1 << 13, 2 << 13, 4 << 13
    own = host.caller(os.getpid(), 0, 0)
    with other(Other(uid=12345, gid=12345)) as pid:
        others = host.caller(pid, 12345, 12345)
        own.check_ioprio(real_time)
        others.check_ioprio(best_effort)
        for caller, ioprio, code in ((others, real_time, errno.EPERM), (own, unknown, errno.EINVAL)):
            with pytest.raises(UringError) as caught:
                caller.check_ioprio(ioprio)
            assert caught.value.errno == code


@pytest.mark.parametrize(
    ("pid", "uid", "gid", "may"),
    [(0, 12345, 12345, True), (0, 0, 12345, False), (0, 12345, 0, False), (1, 12345, 12345, False)],
)
def test_whose_credentials_it_may_send(host: LocalHost, pid: int, uid: int, gid: int, may: bool) -> None:
    """pid: 0 for its own."""
    with other(Other(uid=12345, gid=12345)) as child:
        caller = host.caller(child, 12345, 12345)
        ucred = b"".join(number.to_bytes(4, "little") for number in (pid or child, uid, gid))
        assert caller.may_claim(ucred) is may
    root = host.caller(os.getpid(), 0, 0)
    assert root.may_claim(ucred)


def test_an_opener_that_nobody_sees_admits_nobody(host: LocalHost) -> None:
    assert not host.opener(1 << 22).admits(host.caller(os.getpid(), 0, 0))


def test_a_user_admits_itself_and_no_other(host: LocalHost) -> None:
    with other(Other(uid=12345, gid=12345)) as opener, other(Other(uid=12345, gid=12345)) as same:
        opening = host.opener(opener)
        for _ in range(2):  # the second time by what is remembered
            assert opening.admits(host.caller(same, 12345, 12345))
        assert not opening.admits(host.caller(os.getpid(), 0, 0))
        with other(Other(uid=12345, gid=12345, groups=(7,))) as more:
            assert not opening.admits(host.caller(more, 12345, 12345))
        with other(Other(uid=12345, gid=12345, hides=True)) as hidden:
            # a fork of the program that has opened may, for it is the same; one that executed another would not
            assert opening.admits(host.caller(hidden, 12345, 12345))


@pytest.mark.parametrize(("then", "admitted"), [(PARKED, True), (HIDING, False)])
def test_a_program_that_its_user_may_not_trace(host: LocalHost, then: str, admitted: bool) -> None:
    """It has the same ids, and maybe descriptors from before it had."""
    with other(Other(uid=12345, gid=12345)) as opener:
        opening = host.opener(opener)
        program = Stepper(Other(uid=12345, gid=12345).become, then)
        try:
            program.exec()
            assert opening.admits(host.caller(program.pid, 12345, 12345)) is admitted
        finally:
            program.close()
