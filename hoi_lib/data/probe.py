"""Some frames of some clips, and how well hands and objects fit in them: what every doubt about a set is tried on.

A doubt ("is the rotation transposed?") is tried by undoing the suspected mistake on the excerpts and measuring again. F
frames of an excerpt, V vertices of the hand. Metres, radians.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hoi_lib.data.fingers import LIMITS, fingers_of
from hoi_lib.data.store import ClipStore
from hoi_lib.hand import HandModel, load_hand
from hoi_lib.metrics import spread_vertices
from hoi_lib.motion import HandTrack, ObjectTrack
from hoi_lib.objects import ObjectModel

Array = np.ndarray
CLIPS, FRAMES = 40, 10  # of a set, and of a clip, that are looked at
BODY = 64  # vertices spread over the whole hand that are asked, beside those that grip
TOUCH, DEEP, FAR = 0.005, 0.010, 0.05  # metres: touching, too deep, and where distances stop counting
_LOW, _HIGH = LIMITS[:, 0], LIMITS[:, 1]


@dataclass(frozen=True, eq=False)
class Excerpt:
    """One hand of one clip with its object: the tracks in full, and the ``frames`` (F,) that are measured.

    ``hand`` is the model that reads the numbers; ``lag`` takes the object that many frames later.
    """

    clip: str
    subject: str
    side: str
    track: HandTrack
    item: ObjectTrack
    model: ObjectModel
    hand: HandModel
    frames: Int[Array, "F"]
    fps: int = 30
    lag: int = 0

    @cached_property
    def moments(self) -> Int[Array, "F"]:
        """The object's frames that belong to :attr:`frames`."""
        return np.clip(self.frames + self.lag, 0, len(self.item.transl) - 1)

    @cached_property
    def rotations(self) -> Float[Tensor, "F 16 3 3"]:
        """The hand's rotations in the measured frames, float32."""
        return torch.as_tensor(self.track.rotations[self.frames], dtype=torch.float32)

    @cached_property
    def vertices(self) -> Float[Array, "F V 3"]:
        """The asked vertices of the hand in the object's frame of reference."""
        transl, betas = (torch.as_tensor(x, dtype=torch.float32) for x in (self.track.transl, self.track.betas))
        with torch.no_grad():
            posed = self.hand.from_matrices(self.rotations, transl[self.frames], betas, asked(self.hand)).vertices
        transl, rotation = (x[self.moments].astype(np.float64) for x in (self.item.transl, self.item.rotation))
        return (posed.double().numpy() - transl[:, None]) @ rotation

    @cached_property
    def distance(self) -> Float[Array, "F V"]:
        """Signed distance of :attr:`vertices` to the object, clipped at 5 cm on either side."""
        turning = self.item.angle is not None and self.model.hinge is not None
        angle = self.item.angle[self.moments].astype(np.float64) if turning else None
        # what is metres away is 5 cm away just as well, and far cheaper to ask near the object
        size = 2 * np.abs(self.model.posed_vertices().reshape(-1, 3)).max() + FAR
        points = np.clip(self.vertices, -size, size)
        return np.clip(self.model.signed_distance(points, angle), -FAR, FAR)

    @property
    def misfit(self) -> Float[Array, "F"]:
        """How badly hand and object fit, in metres: the gap between skin and surface plus the greatest depth."""
        return np.abs(self.distance).min(1) + np.clip(-self.distance.min(1), 0, None)

    @property
    def held(self) -> Bool[Array, "F"]:
        """Frames in which the skin is at the surface (5 mm) and nowhere deep in it (10 mm)."""
        return (np.abs(self.distance).min(1) < TOUCH) & (self.distance.min(1) > -DEEP)

    @cached_property
    def strain(self) -> Float[Array, "F"]:
        """Mean angle, radians, by which the finger joints are bent or spread beyond their comfortable ranges."""
        angles = fingers_of(self.hand).angles(self.rotations[:, 1:])
        bend, spread = angles[..., 0], angles[..., 1]
        out = [(_LOW[:15] - bend).clamp(min=0) + (bend - _HIGH[:15]).clamp(min=0)]
        out.append((spread[:, :12].abs() - 0.3).clamp(min=0))
        return torch.cat(out, 1).mean(1).double().numpy()


@lru_cache(maxsize=8)
def asked(hand: HandModel) -> Int[Tensor, "V"]:
    """The vertices of a hand that are measured: all on the gripping side, and some spread over the whole."""
    spread, _ = spread_vertices(hand.template.double().numpy(), BODY)
    return torch.unique(torch.cat([*hand.pads.values(), torch.from_numpy(spread)]))


def choose(store: ClipStore, clips: int = CLIPS, frames: int = FRAMES) -> list[Excerpt]:
    """Excerpts of up to ``clips`` clips, spread over objects, verbs and subjects: the same ones every time.

    Frames are spread over the middle of what is valid, where hands are most likely to hold something.
    """
    rows = spread_rows(store.table, clips)
    found = []
    for row in rows:
        clip = store.clip(row["name"])
        for side, track in clip.hands.items():
            valid = np.flatnonzero(track.valid)
            if len(valid) < 4:
                continue
            at = valid[np.unique(np.round(np.linspace(0.2, 0.85, frames) * (len(valid) - 1)).astype(int))]
            model = store.object(clip.object.name)
            found.append(
                Excerpt(clip.name, clip.subject, side, track, clip.object, model, load_hand(side), at, clip.fps)
            )
    return found


def spread_rows(table: Sequence[dict], count: int) -> list[dict]:
    """``count`` rows in turn from every category of object, hinged ones first, a fresh subject where there is one."""
    order = np.random.default_rng(0).permutation(len(table))
    groups: dict[str, list[dict]] = defaultdict(list)
    for i in order:
        groups[table[i]["category"]].append(table[i])
    queues = sorted(groups.values(), key=lambda rows: (not rows[0]["hinged"], rows[0]["category"]))
    chosen: list[dict] = []
    seen: dict[str, int] = defaultdict(int)
    while len(chosen) < min(count, len(table)):
        for rows in (q for q in queues if q):
            row = min(rows[:6], key=lambda r: seen[r["subject"]] + seen[r["object"]])
            rows.remove(row)
            chosen.append(row)
            seen[row["subject"]] += 1
            seen[row["object"]] += 1
    return chosen[:count]


def per_clip(excerpts: Sequence[Excerpt], values: Iterable[float]) -> Float[Array, "n"]:
    """The mean of a number per excerpt over the hands of each clip, in the order in which the clips appear."""
    table: dict[str, list[float]] = {}
    for excerpt, value in zip(excerpts, values, strict=True):
        table.setdefault(excerpt.clip, []).append(float(value))
    return np.array([np.mean(v) for v in table.values()])


def with_track(excerpt: Excerpt, **changes: Array) -> Excerpt:
    """The excerpt with another ``transl``, ``rotations`` or ``betas`` of its hand."""
    return replace(excerpt, track=replace(excerpt.track, **changes))


def with_item(excerpt: Excerpt, **changes: Array) -> Excerpt:
    """The excerpt with another ``transl``, ``rotation`` or ``angle`` of its object."""
    return replace(excerpt, item=replace(excerpt.item, **changes))
