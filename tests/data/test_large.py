"""The tree as large as ARCTIC, in small: written, built, and measured by the script that measures the real size."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
import ingest_speed
from fixtures import large

from hoi_lib.data import ingest, pieces


def test_the_script_builds_every_clip_and_measures_time_and_memory(tmp_path, capsys):
    speed, memory = ingest_speed.measure(tmp_path, 40, 1)
    said = capsys.readouterr().out
    assert "40 clips in 3 sequences" in said and "clips/s and core" in said
    assert speed > 1 and 50 < memory < ingest_speed.MEMORY


def test_memory_holds_one_piece_at_a_time(tmp_path, monkeypatch):
    large.write(tmp_path / "raw", 60)
    alive, most = [], []

    class Counted(pieces.Piece):
        def __del__(self):
            alive.pop()

    def load(path):
        piece = honest(path)
        alive.append(1)
        most.append(len(alive))
        return Counted(piece.rows, piece.columns)

    honest = pieces.load
    monkeypatch.setattr(pieces, "load", load)
    report = ingest.build("arctic", tmp_path / "raw", tmp_path / "out", workers=1, progress=False)
    assert report.clips == 60 and len(most) == 4 and max(most) <= 2


@pytest.mark.parametrize("clips, sequences", [(1, 1), (15, 1), (16, 2)])
def test_the_tree_has_as_many_sequences_as_it_says(tmp_path, clips, sequences):
    assert large.write(tmp_path, clips) == sequences == len(list(tmp_path.rglob("*.mano.npy")))
