"""A reader of nearly nothing: each ``<subject>_<n>.txt`` holds how many clips of how many frames it gives.

Words in the file ask for trouble: "broken" for a RawDataError, "part" for one that brings a clip, "bug" for an error of
Python's own, "twice" for a name that is taken, "mesh" for an object that cannot be read, "kill" for the end of the
process. ``reads.log`` notes what was read.
"""

import os
import signal
from pathlib import Path

import numpy as np

from hoi_lib.data import raw
from hoi_lib.motion import HandTrack, MotionClip, ObjectTrack
from hoi_lib.objects import load_object

NAME = "toy_reader:Toy"
MESH = "ball_small"
FIVE = {"s1_a": "2 40", "s1_b": "1 30", "s2_a": "1 60", "s2_b": "3 20", "s9_a": "1 50"}


class Toy(raw.Reader):
    name = "toy"
    splits = {"train": ("s1", "s2"), "val": (), "test": ("s9",)}

    def __init__(self, folder, scale="1"):
        self.folder, self.scale = Path(folder), float(scale)
        if not list(self.folder.glob("*.txt")):
            raise raw.damaged(self.folder, "holds no toy", None)

    def sequences(self):
        return sorted(path.stem for path in self.folder.glob("*.txt"))

    def files(self, sequence):
        return [self.folder / f"{sequence}.txt"]

    @property
    def objects(self):
        return (MESH, "lost")

    @property
    def notes(self):
        return {"scale": self.scale}

    def object(self, name):
        if name == "lost":
            raise raw.damaged(self.folder / "lost.obj", "is lost")
        return load_object(name)

    def read(self, sequence):
        path = self.folder / f"{sequence}.txt"
        words = path.read_text().split()
        with open(self.folder / "reads.log", "a") as log:
            log.write(f"{sequence}\n")
        if "part" in words:
            raise raw.PartlyRead(f"{path}: its end is broken", [self._clip(f"{sequence}_0", sequence, 20, MESH)])
        if "broken" in words:
            raise raw.damaged(path, "is broken")
        if "bug" in words:
            return 1 / 0
        if "kill" in words and not (self.folder / "spare").exists():
            os.kill(os.getpid(), signal.SIGKILL)
        count, frames = (int(word) for word in words[:2])
        name = "s1_a_{}" if "twice" in words else f"{sequence}_{{}}"
        return [self._clip(name.format(i), sequence, frames, "lost" if "mesh" in words else MESH) for i in range(count)]

    def _clip(self, name, sequence, frames, mesh):
        rng = np.random.default_rng(list(name.encode()))
        still = np.broadcast_to(np.eye(3), (frames, 3, 3))
        turns = np.broadcast_to(np.eye(3), (frames, 16, 3, 3))
        hand = HandTrack(self.scale * rng.random((frames, 3)), turns, rng.random(10), np.ones(frames, bool))
        track = ObjectTrack(mesh, "ball", rng.random((frames, 3)), still)
        return MotionClip(name, {"right": hand}, track, "lift", sequence.split("_")[0], "Lift ball with right hand.")


def plant(folder: Path, **texts: str) -> Path:
    """A folder of toys; by default five of them, of three subjects."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (
        texts or {"s1_a": "2 40", "s1_b": "1 30", "s2_a": "1 60", "s2_b": "3 20", "s9_a": "1 50"}
    ).items():
        (folder / f"{name}.txt").write_text(text)
    return folder


def reads(folder: Path) -> list[str]:
    """Every sequence that was read from the folder, in order, as often as it was."""
    log = folder / "reads.log"
    return log.read_text().split() if log.exists() else []
