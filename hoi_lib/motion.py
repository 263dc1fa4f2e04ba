"""The records that everything passes on, and the 99 numbers of a hand.

B batch, L frames, J joints (16), P object points. Metres, radians, frames at 30 per second, world frame with z up,
``v' = R v + t``. A :class:`MotionClip` is what a data set holds (numpy); a :class:`Sample` is one hand of one clip and
a :class:`Batch` a stack of samples (torch), which is all that the model ever sees.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import pad

from hoi_lib.rotations import axis_angle_to_matrix, matrix_to_axis_angle, matrix_to_rot6d, rot6d_to_matrix

SIDES = ("left", "right")
FPS = 30
MAX_FRAMES = 150
POSE_DIM = 99  # 3 translation + 16 joints × 6
OBJECT_DIM = 10  # 3 translation + 6 rotation + 1 hinge angle (0 for a rigid object)
RICH_OBJECT_DIM = OBJECT_DIM + 13  # + displacement, velocity, angular velocity, hinge speed, gravity
PHASES = ("approach", "contact", "manipulate", "release")
COORDINATES = ("object", "world")


@dataclass(frozen=True)
class HandTrack:
    """One hand over time: ``transl`` (L, 3) the MANO translation, ``rotations`` (L, 16, 3, 3) absolute, root first,
    ``betas`` (10,), ``valid`` (L,) where the hand takes part. The wrist is at ``rest wrist(betas) + transl``."""

    transl: np.ndarray
    rotations: np.ndarray
    betas: np.ndarray
    valid: np.ndarray


@dataclass(frozen=True)
class ObjectTrack:
    """An object over time: ``transl`` (L, 3), ``rotation`` (L, 3, 3), ``angle`` (L,) of the hinge or None.

    ``name`` is the key of its model in the data set ("mug_medium"), ``category`` the word in captions ("mug").
    """

    name: str
    category: str
    transl: np.ndarray
    rotation: np.ndarray
    angle: np.ndarray | None = None


@dataclass(frozen=True)
class ClipLabels:
    """What real data lack: ``phase`` (L,) index into :data:`PHASES`; per side the frames of labelled ``contact`` (L,),
    the ``onset`` frame, the ``grasp`` family and the ``role`` ("manipulates" or "supports")."""

    phase: np.ndarray
    contact: dict[str, np.ndarray]
    onset: dict[str, int]
    grasp: dict[str, str]
    role: dict[str, str]


@dataclass(frozen=True)
class MotionClip:
    """One recorded or generated interaction: ``hands`` maps "left" and "right" to the tracks that take part."""

    name: str
    hands: dict[str, HandTrack]
    object: ObjectTrack
    verb: str
    subject: str
    caption: str
    fps: int = FPS
    labels: ClipLabels | None = None

    @property
    def frames(self) -> int:
        """Number of frames L."""
        return len(self.object.transl)


@dataclass
class Sample:
    """One hand of one clip as tensors, world frame, unpadded.

    ``pose`` (L, 99), ``object_pose`` (L, 10), ``valid`` (L,), ``betas`` (10,), ``wrist_rest`` (3,) the rest wrist of
    these betas, ``contact`` (L,) labelled contact (all False where unknown), ``side`` 0 left or 1 right. ``points``
    (P, 3), ``normals`` (P, 3) and ``part`` (P,) describe the object at hinge angle 0 in its own frame.
    """

    pose: Tensor
    object_pose: Tensor
    valid: Tensor
    betas: Tensor
    wrist_rest: Tensor
    contact: Tensor
    side: int
    points: Tensor
    normals: Tensor
    part: Tensor
    hinge: Tensor  # (6,) a point on the hinge and its unit axis; zeros for a rigid object
    caption: str
    verb: str
    object_name: str
    clip_name: str


@dataclass
class Batch:
    """Samples stacked and padded with their last frame to a common L; ``valid`` (B, L) is False in the padding.

    Shapes: ``pose`` (B, L, 99), ``object_pose`` (B, L, 10), ``valid`` and ``contact`` (B, L), ``betas`` (B, 10),
    ``wrist_rest`` (B, 3), ``side`` (B,), ``points`` and ``normals`` (B, P, 3), ``part`` (B, P), ``hinge`` (B, 6); the
    rest are lists of B strings.
    """

    pose: Float[Tensor, "B L 99"]
    object_pose: Float[Tensor, "B L 10"]
    valid: Bool[Tensor, "B L"]
    betas: Float[Tensor, "B 10"]
    wrist_rest: Float[Tensor, "B 3"]
    contact: Bool[Tensor, "B L"]
    side: Tensor
    points: Float[Tensor, "B P 3"]
    normals: Float[Tensor, "B P 3"]
    part: Tensor
    hinge: Float[Tensor, "B 6"]
    caption: list[str] = field(default_factory=list)
    verb: list[str] = field(default_factory=list)
    object_name: list[str] = field(default_factory=list)
    clip_name: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.pose)

    def to(self, device: torch.device | str) -> Batch:
        """The same batch with every tensor on ``device``."""
        moved = {f.name: getattr(self, f.name) for f in fields(self)}
        return Batch(**{k: v.to(device) if isinstance(v, Tensor) else v for k, v in moved.items()})


def collate(samples: Sequence[Sample], length: int | None = None) -> Batch:
    """Stack samples into a :class:`Batch`, padded to the longest of them or to ``length`` frames."""
    length = length or max(len(s.pose) for s in samples)
    framewise = ("pose", "object_pose", "valid", "contact")
    columns = {}
    for f in fields(Batch):
        values = [getattr(s, f.name) for s in samples]
        if f.name in framewise:
            values = [_pad(v, length, hold=f.name.endswith("pose")) for v in values]
        if f.name == "side":
            values = torch.tensor(values)
        elif isinstance(values[0], Tensor):
            values = torch.stack(values)
        columns[f.name] = values
    return Batch(**columns)


def _pad(x: Tensor, length: int, hold: bool) -> Tensor:
    """Repeat the last frame (a pose stays a pose) or fill with False up to ``length`` frames."""
    missing = length - len(x)
    if missing <= 0:
        return x[:length]
    tail = x[-1:].expand(missing, *x.shape[1:]) if hold else torch.zeros(missing, *x.shape[1:], dtype=x.dtype)
    return torch.cat([x, tail])


def pack_pose(transl: Float[Tensor, "... 3"], rotations: Float[Tensor, "... 16 3 3"]) -> Float[Tensor, "... 99"]:
    """The 99 numbers: MANO translation, then 16 rotations as six numbers each (layout ``columns``)."""
    return torch.cat([transl, matrix_to_rot6d(rotations).flatten(-2)], -1)


def unpack_pose(pose: Float[Tensor, "... 99"]) -> tuple[Float[Tensor, "... 3"], Float[Tensor, "... 16 3 3"]]:
    """Inverse of :func:`pack_pose`; the rotations come back orthonormal whatever the numbers."""
    return pose[..., :3], rot6d_to_matrix(pose[..., 3:].unflatten(-1, (16, 6)))


def pack_object(
    transl: Float[Tensor, "... 3"], rotation: Float[Tensor, "... 3 3"], angle: Float[Tensor, "..."] | None = None
) -> Float[Tensor, "... 10"]:
    """The 10 numbers of an object: translation, rotation as six numbers, hinge angle (0 when rigid)."""
    angle = torch.zeros_like(transl[..., 0]) if angle is None else angle
    return torch.cat([transl, matrix_to_rot6d(rotation), angle[..., None]], -1)


def unpack_object(
    pose: Float[Tensor, "... 10"],
) -> tuple[Float[Tensor, "... 3"], Float[Tensor, "... 3 3"], Float[Tensor, "..."]]:
    """Inverse of :func:`pack_object`: translation, rotation matrix, hinge angle."""
    return pose[..., :3], rot6d_to_matrix(pose[..., 3:9]), pose[..., 9]


def world_to_object(
    pose: Float[Tensor, "B L 99"], object_pose: Float[Tensor, "B L 10"], wrist_rest: Float[Tensor, "B 3"]
) -> Float[Tensor, "B L 99"]:
    """Write a hand in the object's own frame at each frame. Exact; undone by :func:`object_to_world`.

    MANO turns the hand about its rest wrist, not about the origin, so the wrist is what is carried over:
    ``wrist' = Rᵀ (wrist − t)``. The result is an ordinary MANO pose that puts the hand beside the resting object; the
    fingers, which turn about their own knuckles, keep their numbers.
    """
    t_o, R_o, _ = unpack_object(object_pose)
    inverse = R_o.transpose(-1, -2)
    wrist = pose[..., :3] + wrist_rest[:, None] - t_o
    return _reframe((inverse @ wrist[..., None])[..., 0] - wrist_rest[:, None], inverse, pose)


def object_to_world(
    pose: Float[Tensor, "B L 99"], object_pose: Float[Tensor, "B L 10"], wrist_rest: Float[Tensor, "B 3"]
) -> Float[Tensor, "B L 99"]:
    """Carry a hand written in the object's frame back to the world; inverse of :func:`world_to_object`."""
    t_o, R_o, _ = unpack_object(object_pose)
    wrist = (R_o @ (pose[..., :3] + wrist_rest[:, None])[..., None])[..., 0] + t_o
    return _reframe(wrist - wrist_rest[:, None], R_o, pose)


def _reframe(transl: Tensor, turn: Tensor, pose: Tensor) -> Tensor:
    """The pose with another translation and its root turned; the 90 numbers of the fingers are carried as they are."""
    root = matrix_to_rot6d(turn @ rot6d_to_matrix(pose[..., 3:9]))
    return torch.cat([transl, root, pose[..., 9:]], -1)


def rich_trajectory(object_pose: Float[Tensor, "B L 10"], placed: bool = False) -> Float[Tensor, "B L 23"]:
    """An object's motion as a hand that holds it would feel it, per frame.

    The 10 numbers of the pose, then in the object's own axes: displacement since the first frame, velocity (m/s),
    angular velocity (rad/s), hinge speed (rad/s), and the direction of gravity. Unless ``placed``, the translation
    too is counted from the first frame, so that a motion means the same wherever in the world it happens. Speeds look
    back one frame: frames after the end of a clip never reach into it.
    """
    transl, rotation, angle = unpack_object(object_pose)
    inverse = rotation.transpose(-1, -2)
    moved = transl - transl[:, :1]
    turn = matrix_to_axis_angle(inverse[:, :-1] @ rotation[:, 1:])
    felt = [
        (inverse @ moved[..., None])[..., 0],
        (inverse @ _change(transl)[..., None])[..., 0] * FPS,
        pad(turn, (0, 0, 1, 0)) * FPS,
        _change(angle[..., None]) * FPS,
        -rotation[..., 2, :],
    ]
    return torch.cat([transl if placed else moved, object_pose[..., 3:], *felt], -1)


def _change(x: Float[Tensor, "B L X"]) -> Float[Tensor, "B L X"]:
    """Difference to the frame before; zero at the first frame."""
    return pad(x.diff(dim=1), (0, 0, 1, 0))


def pose_object_points(
    points: Float[Tensor, "B P 3"], part: Tensor, hinge: Float[Tensor, "B 6"], angle: Float[Tensor, "B L"]
) -> Float[Tensor, "B L P 3"]:
    """Object points in the object's frame at each hinge angle: part 1 turns by ``angle`` about the hinge."""
    origin, axis = hinge[:, None, None, :3], hinge[:, None, 3:]
    turn = axis_angle_to_matrix(axis * angle[..., None])  # (B, L, 3, 3)
    turned = torch.einsum("blij,bpj->blpi", turn, points - origin[:, 0]) + origin
    return torch.where((part == 1)[:, None, :, None], turned, points[:, None].expand_as(turned))


def hand_track(pose: Float[Tensor, "L 99"], betas: Float[Tensor, "10"]) -> HandTrack:
    """A :class:`HandTrack` (numpy) of one hand from its 99 numbers a frame in the world frame."""
    transl, rotations = unpack_pose(pose.detach().cpu())
    return HandTrack(transl.numpy(), rotations.numpy(), betas.cpu().numpy(), np.ones(len(transl), bool))


def with_hands(clip: MotionClip, hands: dict[str, HandTrack]) -> MotionClip:
    """The same clip with other hands: how a generated motion is put beside its ground truth."""
    return replace(clip, hands=hands)
