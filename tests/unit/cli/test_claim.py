"""One at a time mounts at a place."""

from pathlib import Path

import pytest

from uringfs.cli.mountpoint import ALREADY_MOUNTED, MountFailure, claimed


def test_a_second_claim_waits_and_gives_up(tmp_path: Path) -> None:
    place = str(tmp_path / "mnt")
    with claimed(place):
        with pytest.raises(MountFailure, match="somebody has had a lock") as caught, claimed(place, 0.05):
            pass
        assert caught.value.status == ALREADY_MOUNTED
    with claimed(place, 0):
        pass


def test_a_claim_ends_early(tmp_path: Path) -> None:
    place = str(tmp_path / "mnt")
    with claimed(place) as release:
        release()
        with claimed(place, 0):
            pass


def test_a_place_without_a_directory_above(tmp_path: Path) -> None:
    """What is wrong with it is said by who mounts."""
    with claimed(str(tmp_path / "none" / "mnt"), 0) as let_go:
        let_go()
    assert not (tmp_path / "none").exists()
