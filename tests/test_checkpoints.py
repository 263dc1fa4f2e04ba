"""Checkpoints: kept whole, kept in number, and a damaged one never stops a run that has an older one."""

import builtins
import errno
import io
import os

import pytest
import torch

from hoi_lib import checkpoints
from hoi_lib.errors import CheckpointError, OutputError


def state(step):
    return {"step": step, "weights": torch.full((5000,), float(step)), "curves": {"loss": [0.5] * step}}


def test_the_last_two_are_kept_and_the_newest_comes_back(tmp_path):
    for step in (1, 2, 10):
        checkpoints.save(tmp_path, step, state(step))
    assert [path.name for path in checkpoints.found(tmp_path)] == ["step-00000002.pt", "step-00000010.pt"]
    loaded = checkpoints.latest(tmp_path)
    assert loaded["step"] == 10 and torch.equal(loaded["weights"], state(10)["weights"])
    assert loaded["curves"] == state(10)["curves"]


def test_an_empty_folder_has_no_checkpoint(tmp_path):
    assert checkpoints.latest(tmp_path) is None
    assert checkpoints.latest(tmp_path / "nowhere") is None


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "text"])
def test_a_damaged_checkpoint_is_passed_over_with_a_warning(tmp_path, damage):
    checkpoints.save(tmp_path, 1, state(1))
    newest = checkpoints.save(tmp_path, 2, state(2))
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1  # one bit inside the weights: only the check sum can tell
    newest.write_bytes({"flip": content, "cut": content[:900], "empty": b"", "text": b"not a checkpoint"}[damage])
    with pytest.warns(UserWarning, match="step-00000002.pt.*damaged"):
        assert checkpoints.latest(tmp_path)["step"] == 1


def test_when_all_are_damaged_the_error_is_one_clear_line(tmp_path):
    checkpoints.save(tmp_path, 1, state(1)).write_bytes(b"gone")
    with pytest.warns(UserWarning), pytest.raises(CheckpointError, match="none of its 1 checkpoints"):
        checkpoints.latest(tmp_path)
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        checkpoints.load(tmp_path / "step-00000009.pt")


@pytest.mark.parametrize("room", [0, 3000])
def test_a_full_disk_keeps_the_previous_checkpoint(tmp_path, monkeypatch, room):
    kept = checkpoints.save(tmp_path, 1, state(1))
    before = kept.read_bytes()

    class FullDisk(io.FileIO):
        def write(self, content):
            if self.tell() + len(content) > room:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return super().write(content)

    monkeypatch.setattr(checkpoints, "open", lambda path, mode: FullDisk(path, mode), raising=False)
    with pytest.raises(OutputError, match="step-00000002.pt.*No space left"):
        checkpoints.save(tmp_path, 2, state(2))
    assert list(tmp_path.iterdir()) == [kept] and kept.read_bytes() == before
    monkeypatch.setattr(checkpoints, "open", builtins.open, raising=False)
    assert checkpoints.latest(tmp_path)["step"] == 1


def test_nothing_in_a_checkpoint_is_executed(tmp_path):
    class Trap:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "executed"),))

    torch.save({"step": Trap()}, tmp_path / "step-00000003.pt")
    with pytest.raises(CheckpointError):
        checkpoints.load(tmp_path / "step-00000003.pt")
    assert not (tmp_path / "executed").exists()
