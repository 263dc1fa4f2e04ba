"""A moving scene: surfaces over time, what touches when, and a caption. Every viewer and file writer takes one.

L frames, V vertices, F faces, J joints (16). Metres, world frame with z up, ``v' = R v + t``.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Int

from hoi_lib.drawables import Mesh
from hoi_lib.plots import COLORS
from hoi_lib.render import VIEWS, Camera, camera, seen

if TYPE_CHECKING:
    from hoi_lib.hand import HandModel
    from hoi_lib.motion import HandTrack, MotionClip
    from hoi_lib.objects import ObjectModel

Array = np.ndarray
MOST_FACES = 8000  # of an object that is drawn
GLAZES = (("#CDC7BB", "#A3A69F"), ("#A9B5BC", "#87949C"), ("#B3BCAA", "#8E9985"), ("#C2BAC0", "#9C939B"))


@dataclass(frozen=True)
class Rigid:
    """A motion without change of shape: ``rest`` (V, 3), ``rotation`` (L, 3, 3), ``transl`` (L, 3)."""

    rest: Float[Array, "V 3"]
    rotation: Float[Array, "L 3 3"]
    transl: Float[Array, "L 3"]


@dataclass(frozen=True)
class Rig:
    """A hand's motion by its bones: ``rest`` (V, 3) and ``joints`` (J, 3) of the shaped hand, ``parents`` (J,),
    ``weights`` (V, J), ``correctives`` (V, 3, 9 (J − 1)) that go with ``R − I``, ``rotations`` (L, J, 3, 3) relative
    to the parent, ``transl`` (L, 3)."""

    rest: Float[Array, "V 3"]
    joints: Float[Array, "J 3"]
    parents: tuple[int, ...]
    weights: Float[Array, "V J"]
    correctives: Float[Array, "V 3 K"]
    rotations: Float[Array, "L J 3 3"]
    transl: Float[Array, "L 3"]


@dataclass(frozen=True, eq=False)
class MeshTrack:
    """One surface over time: ``vertices`` (L, V, 3), ``faces`` (F, 3), a ``color`` that matplotlib takes.

    ``motion`` says more where more is known (:class:`Rigid`, :class:`Rig`) and makes files small; ``visible`` (L,)
    hides it in some frames; ``label`` is its name in words.
    """

    name: str
    vertices: Float[Array, "L V 3"]
    faces: Int[Array, "F 3"]
    color: str
    motion: Rigid | Rig | None = None
    visible: Bool[Array, "L"] | None = None
    label: str = ""

    @classmethod
    def rigid(
        cls,
        name: str,
        rest: Float[Array, "V 3"],
        faces: Int[Array, "F 3"],
        color: str,
        rotation: Float[Array, "L 3 3"],
        transl: Float[Array, "L 3"],
        label: str = "",
    ) -> MeshTrack:
        """A surface that keeps its shape: ``rest`` (V, 3) moved by ``rotation`` (L, 3, 3) and ``transl`` (L, 3)."""
        rest, rotation, transl = (np.asarray(a, float) for a in (rest, rotation, transl))
        vertices = rest @ rotation.transpose(0, 2, 1) + transl[:, None]
        return cls(name, vertices, faces, color, Rigid(rest, rotation, transl), label=label)

    def shown(self, frame: int) -> bool:
        """True if the surface is there in this frame."""
        return self.visible is None or bool(self.visible[frame])

    def words(self) -> str:
        """Its name in words."""
        return self.label or self.name


@dataclass(frozen=True, eq=False)
class Scene:
    """Surfaces that move together for L frames; ``contact`` maps a name to the frames (L,) in which it touches."""

    tracks: Sequence[MeshTrack]
    fps: int | float = 30
    contact: Mapping[str, Bool[Array, "L"]] = field(default_factory=dict)
    caption: str = ""

    def __post_init__(self) -> None:
        lengths = {len(t.vertices) for t in self.tracks} | {len(c) for c in self.contact.values()}
        if len(lengths) != 1:
            raise ValueError(f"tracks and contacts have {sorted(lengths)} frames: expected one number for all")

    @property
    def frames(self) -> int:
        """Number of frames L."""
        return len(self.tracks[0].vertices)

    @cached_property
    def points(self) -> Float[Array, "N 3"]:
        """Places that the surfaces reach in any frame: enough to aim a camera and to find the ground."""
        seen = []
        for track in self.tracks:
            vertices = np.asarray(track.vertices)[_where(track.visible, len(track.vertices))]
            seen.append(np.stack([vertices.min(1), vertices.max(1)], 1).reshape(-1, 3))
            seen.append(vertices[:, :: max(1, vertices.shape[1] // 100)].reshape(-1, 3))
        return np.concatenate(seen)

    @cached_property
    def ground(self) -> float:
        """Height in metres of the lowest place that is ever reached."""
        return float(self.points[:, 2].min())

    def eye(self, view: str | tuple, size: tuple[int, int], zoom: float | int = 1.0) -> Camera:
        """A camera that sees all of the motion; the view "best" is found by :func:`best_view`."""
        return camera(self.points, best_view(self) if view == "best" else view, size, zoom)

    def meshes(self, frame: int) -> list[Mesh]:
        """The surfaces of one frame, ready for :func:`hoi_lib.render.render`."""
        return [Mesh(t.vertices[frame], t.faces, t.color) for t in self.tracks if t.shown(frame)]

    def label(self, name: str) -> str:
        """The words for a track's name, or the name itself."""
        return next((t.words() for t in self.tracks if t.name == name), name)

    def reading(self, frame: int) -> str:
        """One frame in words: number, time, and what touches."""
        touching = [self.label(n) for n, c in self.contact.items() if c[frame]]
        text = f"frame {frame + 1} of {self.frames}, {frame / self.fps:.2f} s"
        return text + (f", {' and '.join(touching)} in contact" if touching else "")


def best_view(scene: Scene, elevation: float = 22.0, directions: int = 12) -> tuple[float, float]:
    """The azimuth, of evenly spaced ones, from which the hands and what they hold are seen best, and the elevation.

    At five moments, three of them in contact, the visible areas of hands and of objects are multiplied, the cut wrist
    counting against the hands, so that no view looks along an arm or has one body behind the other. Of equal views
    the one nearer to the front wins.
    """
    touching = np.flatnonzero(np.any(list(scene.contact.values()), axis=0)) if scene.contact else np.zeros(0, int)
    inner = touching if len(touching) else np.arange(scene.frames)
    moments = {0, *(int(inner[k * (len(inner) - 1) // 4]) for k in (1, 2, 3)), scene.frames - 1}
    angles = VIEWS["three_quarter"][0] + np.arange(directions) * 360 / directions
    liking = 1 + 0.2 * np.cos(np.radians(angles))
    scores = [sum(_shown(scene, frame, (float(a), elevation)) for frame in moments) for a in angles]
    best = float(angles[int(np.argmax(liking * scores))])
    return (best + 180) % 360 - 180, elevation


def _shown(scene: Scene, frame: int, view: tuple[float, float]) -> float:
    """How well a view shows hands and objects in one frame: the root of the product of their areas in pixels."""
    meshes, worth = [], []
    for track in (t for t in scene.tracks if t.shown(frame)):
        hand, vertices = isinstance(track.motion, Rig), np.asarray(track.vertices[frame])
        cut = (np.asarray(track.faces) == len(vertices) - 1).any(1) & hand
        for faces, value in ((track.faces[~cut], (1, 0) if hand else (0, 1)), (track.faces[cut], (-2, 0))):
            meshes.append(Mesh(vertices, faces))
            worth.append(value)
    owner = seen(meshes, camera(np.concatenate([m.vertices for m in meshes]), view, (96, 96)), (96, 96))
    areas = np.bincount(owner[owner >= 0], minlength=len(meshes)) @ np.array(worth, float)
    hands, objects = np.maximum(areas, 1)
    return float(np.sqrt(hands * objects))


def _where(visible: Array | None, frames: int) -> Array:
    return np.ones(frames, bool) if visible is None or not visible.any() else np.asarray(visible, bool)


def scene_of(
    clip: MotionClip,
    object_model: ObjectModel,
    hands: Mapping[str, HandModel] | None = None,
    contact: Mapping[str, Bool[Array, "L"]] | None = None,
) -> Scene:
    """The scene of a recorded or generated clip.

    ``hands`` maps "left" and "right" to hand models, by default :func:`hoi_lib.hand.load_hand`'s. ``contact`` gives
    per hand the frames (L,) in which it touches, by default those that the clip is labelled with, if any.
    """
    from hoi_lib.hand import load_hand

    tracks = _object_tracks(clip, object_model)
    for side, track in clip.hands.items():
        hand = (hands or {}).get(side) or load_hand(side)
        tracks.append(hand_mesh_track(hand, track, side, COLORS["skin" if side == "right" else "skin_left"]))
    if contact is None and clip.labels is not None:
        contact = {side: clip.labels.contact[side] for side in clip.hands if side in clip.labels.contact}
    return Scene(tracks, clip.fps, dict(contact or {}), clip.caption)


def hand_mesh_track(hand: HandModel, track: HandTrack, name: str, color: str) -> MeshTrack:
    """A hand over time, its wrist closed, with the rig that moves it."""
    import torch

    rotations, transl, betas = (torch.as_tensor(a) for a in (track.rotations, track.transl, track.betas))
    with torch.no_grad():
        vertices = hand.close(hand.from_matrices(rotations, transl, betas).vertices)
        shaped = hand.template + hand.shapedirs @ betas
        joints = hand.rest_joints + hand.joint_shapedirs @ betas
        loop = hand.wrist_loop
        weights = torch.cat([hand.weights, hand.weights[loop].mean(0, keepdim=True)])
        correctives = torch.cat([hand.posedirs, hand.posedirs[loop].mean(0, keepdim=True)])
    rest, joints, weights, correctives = (x.numpy() for x in (hand.close(shaped), joints, weights, correctives))
    rig = Rig(rest, joints, hand.parents, weights, correctives, rotations.numpy(), transl.numpy())
    valid = np.asarray(track.valid, bool)
    visible = None if valid.all() else valid
    return MeshTrack(name, vertices.numpy(), hand.closed_faces.numpy(), color, rig, visible, f"{name} hand")


def _object_tracks(clip: MotionClip, model: ObjectModel) -> list[MeshTrack]:
    """One rigid track, or one for each of the two parts of a hinged object."""
    from hoi_lib.rotations import axis_angle_to_matrix

    path = clip.object
    fixed, moving = GLAZES[zlib.crc32(model.category.encode()) % len(GLAZES)]
    word = model.category.replace("_", " ")
    rotation, transl = np.asarray(path.rotation, float), np.asarray(path.transl, float)
    tracks = [MeshTrack.rigid("object", *_part(model, 0), fixed, rotation, transl, word)]
    if model.hinge is not None:
        origin, axis = np.asarray(model.hinge.origin, float), np.asarray(model.hinge.axis, float)
        angle = np.zeros(len(transl)) if path.angle is None else np.asarray(path.angle, float)
        import torch

        swing = axis_angle_to_matrix(torch.from_numpy(axis * angle[:, None])).numpy()
        shift = (rotation @ (origin - swing @ origin)[..., None])[..., 0] + transl
        tracks.append(
            MeshTrack.rigid("part", *_part(model, 1), moving, rotation @ swing, shift, f"{word}, moving part")
        )
    return tracks


def _part(model: ObjectModel, number: int) -> tuple[Array, Array]:
    """Vertices and faces of one part of an object, numbered from 0."""
    vertices, faces, part = np.asarray(model.vertices), np.asarray(model.faces), np.asarray(model.part)
    if model.hinge is None:
        return _thinned(vertices, faces)
    kept = faces[(part[faces] == number).all(1)]
    used, index = np.unique(kept, return_inverse=True)
    return _thinned(vertices[used], index.reshape(-1, 3))


def _thinned(vertices: Array, faces: Array) -> tuple[Array, Array]:
    """A scanned mesh with so few faces that a page stays small and a picture quick; finer ones are left alone if the
    package that thins them is missing."""
    if len(faces) <= MOST_FACES or find_spec("fast_simplification") is None:
        return vertices, faces
    import fast_simplification

    centre, size = vertices.mean(0), float(np.ptp(vertices, axis=0).max())
    unit = ((vertices - centre) / size).astype(np.float32)
    unit, faces = fast_simplification.simplify(unit, faces.astype(np.int32), target_count=MOST_FACES)
    return unit.astype(float) * size + centre, faces.astype(int)
