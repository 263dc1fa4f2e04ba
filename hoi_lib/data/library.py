"""The grasp library: solved once per hand, kept as one file, looked up by every clip.

``python -m hoi_lib.data.library`` solves it anew and writes ``hoi_lib/assets/grasps/library.npz``. The file names the
hand that it was solved for; another hand (``HOI_MANO_DIR``) gets its own library in the cache folder, object by object
as they are asked for.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
import torch

from hoi_lib.data.approach import retreats
from hoi_lib.data.grasps import Energy, Field, Grasps, solve
from hoi_lib.data.people import PEOPLE
from hoi_lib.data.repertoire import SLOTS, Slot, skills
from hoi_lib.errors import OutputError, StoreError
from hoi_lib.hand import HandModel, load_hand
from hoi_lib.objects import ObjectModel, catalogue, load_object
from hoi_lib.rotations import axis_angle_to_matrix, matrix_to_axis_angle

ASSET = Path(__file__).parent.parent / "assets" / "grasps" / "library.npz"
COUNT = 5  # grasps per slot and person
SHAPES = tuple(f"shape_{seed}" for seed in range(24))  # the random shapes of the synthetic set, all below 1 000 000
VERSION = 1
_COLUMNS = 3 + 3 + 1 + 1  # rotation vector, wrist, depth, touch


@dataclass(frozen=True, eq=False)
class Entry:
    """The G grasps of one slot of one object by one person's hand, float64, in the frame of the slot's part.

    ``rotation`` (G, 3, 3), ``wrist`` (G, 3), ``dof`` (G, K, 21), ``retreat`` (G, E, 3), ``depth`` and ``touch`` (G,).
    """

    slot: Slot
    rotation: np.ndarray
    wrist: np.ndarray
    dof: np.ndarray
    retreat: np.ndarray
    depth: np.ndarray
    touch: np.ndarray

    def __len__(self) -> int:
        return len(self.wrist)


class Library:
    """Grasps by object, slot, side and person. Raises :class:`StoreError` for what it does not hold."""

    def __init__(self, arrays: dict[str, np.ndarray], hashes: dict[str, str]):
        self.arrays, self.hashes = arrays, hashes

    def updated(self, other: Library) -> Library:
        """This library with the objects of ``other`` in place of its own."""
        kept = {k: v for k, v in self.arrays.items() if k.split("/")[0] not in other.hashes}
        return Library(kept | other.arrays, self.hashes | other.hashes)

    def fits(self, name: str) -> bool:
        """True if it holds grasps of the object ``name`` as it is now shaped."""
        return self.hashes.get(name) == object_hash(name)

    def entry(self, name: str, category: str, slot: str, side: str, person: str) -> Entry:
        """The grasps of ``slot`` of the object ``name`` by the hand ``side`` of a person."""
        key = f"{name}/{slot}/{side}"
        if key not in self.arrays:
            raise StoreError(f"the grasp library holds nothing for {key}.", "Solve it: python -m hoi_lib.data.library")
        rows = self.arrays[key][sorted(PEOPLE).index(person)].astype(np.float64)
        where = SLOTS[category][slot]
        return _unpack(rows, where)

    def objects(self) -> tuple[str, ...]:
        """Names of the objects with at least one grasp, sorted."""
        return tuple(sorted(self.hashes))


def _pack(grasps: Grasps, retreat: torch.Tensor) -> np.ndarray:
    """(G, columns) float32: rotation vector, wrist, depth, touch, retreats, fingers."""
    shared = grasps.dof[:, :1] if _same(grasps.dof) else grasps.dof
    parts = [matrix_to_axis_angle(grasps.rotation), grasps.wrist, grasps.depth[:, None], grasps.touch[:, None]]
    return torch.cat([*parts, retreat.flatten(1), shared.flatten(1)], 1).numpy().astype(np.float32)


def _same(dof: torch.Tensor) -> bool:
    return bool((dof == dof[:, :1]).all())


def _unpack(rows: np.ndarray, slot: Slot) -> Entry:
    ends = 2 if len(slot.angles) > 1 else 1
    turn = axis_angle_to_matrix(torch.from_numpy(rows[:, :3])).numpy()
    cut = _COLUMNS + 3 * ends
    dof = rows[:, cut:].reshape(len(rows), -1, 21)
    return Entry(
        slot, turn, rows[:, 3:6], dof, rows[:, _COLUMNS:cut].reshape(len(rows), ends, 3), rows[:, 6], rows[:, 7]
    )


def wanted(category: str) -> list[tuple[str, str]]:
    """(slot, side) pairs that the skills need: main hands are right, second hands left."""
    pairs = set()
    for skill in skills():
        if skill.category == category:
            pairs.add((skill.main, "right"))
            if skill.other:
                pairs.add((skill.other, "left"))
    return sorted(pairs)


def solve_object(name: str, hand: HandModel | None = None, count: int = COUNT) -> dict[str, np.ndarray]:
    """Solve every wanted slot of one object for all people: arrays (people, count, columns) by key."""
    hand, model = hand or load_hand("right"), load_object(name)
    betas = torch.tensor(np.stack([PEOPLE[p].betas for p in sorted(PEOPLE)]), dtype=torch.float32)
    found: dict[str, np.ndarray] = {}
    fields: dict[bool, Field] = {}
    symmetric = mirror_axis(model) == 0
    for slot_name, side in wanted(model.category):
        slot = SLOTS[model.category][slot_name]
        reflect = side == "left"
        other = f"{name}/{slot_name}/right"
        if reflect and symmetric and other in found:
            found[f"{name}/{slot_name}/left"] = _reflected(found[other], slot)
            continue
        mirror = reflect and not symmetric
        if mirror not in fields:
            fields[mirror] = Field(model, mirror)
        rows = _solve_slot(hand, fields[mirror], slot, betas, count)
        found[f"{name}/{slot_name}/{side}"] = _reflected(rows, slot) if reflect else rows
    return found


def _solve_slot(hand: HandModel, field: Field, slot: Slot, betas: torch.Tensor, count: int) -> np.ndarray:
    rows = []
    for person, grasps in enumerate(solve(hand, field, slot, betas, count)):
        energy = Energy(hand, field, slot, betas[person : person + 1].expand(len(grasps), -1))
        rows.append(_pack(grasps, retreats(energy, grasps)))
    return np.stack(rows)


def _reflected(rows: np.ndarray, slot: Slot) -> np.ndarray:
    """Rows mirrored in x: a rotation vector is an axial vector, places and directions are not."""
    out = rows.copy()
    out[..., [1, 2]] *= -1
    ends = 2 if len(slot.angles) > 1 else 1
    out[..., [3, *(_COLUMNS + 3 * e for e in range(ends))]] *= -1
    return out


def mirror_axis(model: ObjectModel, tolerance: float = 0.0012) -> int | None:
    """The axis (0 x, 1 y, 2 z) along which the object is its own mirror image, hinge included, or None."""
    points = model.points[:256].astype(np.float64)
    part = model.point_part[:256]
    for axis in range(3):
        flip = np.ones(3)
        flip[axis] = -1
        if model.hinge is not None and not np.allclose(-flip * model.hinge.axis, model.hinge.axis):
            continue
        if np.abs(model.signed_distance(points * flip)).max() < tolerance or (axis == 2 and _slab(model, points, part)):
            return axis
    return None


def _slab(model: ObjectModel, points: np.ndarray, part: np.ndarray) -> bool:
    """True for a thing that is nearly its own mirror image upside down, such as pliers with crossed halves."""
    return bool(np.median(np.abs(model.signed_distance(points * [1, 1, -1]))) < 0.001)


# -------------------------------------------------------------------------------------------------------------- files


def save(arrays: dict[str, np.ndarray], path: Path, hand: HandModel) -> None:
    """Write a library in one step, with the hash of the hand and of every object that it was solved for."""
    path.parent.mkdir(parents=True, exist_ok=True)
    names = sorted({key.split("/")[0] for key in arrays})
    words = {
        "_hand": np.array(hand.content_hash),
        "_version": np.array(VERSION),
        "_objects": np.array([f"{name} {object_hash(name)}" for name in names]),
    }
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".npz", delete=False) as part:
            np.savez_compressed(part, **{k: arrays[k] for k in sorted(arrays)}, **words)
        os.chmod(part.name, 0o644)
        os.replace(part.name, path)
    except OSError as error:
        raise OutputError(f"{path}: the grasp library cannot be written ({error.strerror}).") from error


def read(path: Path, hand: HandModel) -> Library:
    """A library file; empty if it is missing or was solved for another hand."""
    if not path.is_file():
        return Library({}, {})
    try:
        with np.load(path, allow_pickle=False) as file:
            if str(file["_hand"]) != hand.content_hash or int(file["_version"]) != VERSION:
                return Library({}, {})
            hashes = dict(str(line).split(" ") for line in file["_objects"])
            return Library({k: file[k] for k in file.files if not k.startswith("_")}, hashes)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise StoreError(f"{path}: no readable grasp library ({type(error).__name__}).", "Delete it.") from error


@cache
def object_hash(name: str) -> str:
    """Short hash of an object's shape: grasps of a shape that has changed since are not used."""
    model = load_object(name)
    hinge = b"" if model.hinge is None else np.concatenate([model.hinge.origin, model.hinge.axis]).round(6).tobytes()
    return hashlib.sha256(model.vertices.round(6).tobytes() + hinge).hexdigest()[:12]


def cache_file(hand: HandModel) -> Path:
    """Where the library of a hand that is not shipped is kept."""
    home = Path(os.environ.get("HOI_CACHE") or Path("~/.cache/hoi_lib").expanduser())
    return home / "grasps" / f"{hand.content_hash[:16]}_v{VERSION}.npz"


@lru_cache(maxsize=2)
def _load(hand: HandModel) -> Library:
    return read(ASSET, hand).updated(_cached(hand))


def _cached(hand: HandModel) -> Library:
    """The library in the cache folder; a damaged one counts as none, for it can be solved again."""
    try:
        return read(cache_file(hand), hand)
    except StoreError:
        return Library({}, {})


def load(objects: Iterable[str] = (), progress: bool = True, workers: int | None = None) -> Library:
    """The library of the current hand; what it lacks of ``objects``, or has for another shape, is solved and cached."""
    hand = load_hand("right")
    library = _load(hand)
    missing = sorted(name for name in set(objects) if not library.fits(name))
    if missing:
        found = _cached(hand).arrays | solve_many(missing, progress, workers)
        save(found, cache_file(hand), hand)
        _load.cache_clear()
        library = _load(hand)
    return library


def solve_many(names: list[str], progress: bool = True, workers: int | None = None) -> dict[str, np.ndarray]:
    """Solve many objects, in parallel over processes."""
    from hoi_lib.data.workers import run

    found: dict[str, np.ndarray] = {}
    for part in run(solve_object, names, workers, progress, "solving grasps"):
        found |= part
    return found


def main() -> None:
    """Solve everything that the synthetic set shows and write the asset."""
    save(solve_many([*catalogue(), *SHAPES]), ASSET, load_hand("right"))
    print(f"{ASSET}: {ASSET.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
