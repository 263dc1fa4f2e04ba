"""A hand from 99 numbers: shape, pose blend shapes, kinematic chain, linear skinning.

Shapes: ``...`` any leading axes; 16 joints in MANO's order, the wrist, then index, middle, pinky, ring and thumb, each
from palm to tip; 21 joints with the five tips after them in the same order of fingers; V = 778 vertices; 10 betas.
Metres, radians. Rotation matrices go in, absolute and never through axis-angle. smplx is the oracle in the tests; this
file adds what a training loop needs: a path to the joints that never touches the mesh, and vertices on demand.
"""

from __future__ import annotations

import hashlib
import io
import os
from contextlib import redirect_stdout
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from hoi_lib.errors import HandFileError
from hoi_lib.manofile import find, read
from hoi_lib.motion import HandTrack, pack_pose, unpack_pose
from hoi_lib.rotations import axis_angle_to_matrix
from hoi_lib.standin import ASSET, mirrored
from hoi_lib.standin_skeleton import FINGERS, TIPS, axes

JOINTS = 16
SIDES = ("left", "right")
TIP_ORDER = FINGERS  # joints 16–20: index, middle, pinky, ring, thumb


class HandOutput(NamedTuple):
    """``vertices`` (..., V, 3), or only those asked for, and ``joints`` (..., 21, 3), in metres."""

    vertices: Tensor
    joints: Tensor


class HandModel(nn.Module):
    """A MANO hand, or the stand-in that has MANO's layout.

    v = W(template + shapedirs β + posedirs (R − I), J(β), R) + t: the mesh is shaped, repaired for the bend, turned
    joint by joint along the chain, blended by the weights, and moved. Joint 0 turns about the rest wrist J₀(β), so the
    wrist of a posed hand is at ``rest_wrist(betas) + transl``. The rotations' number type is that of the result.
    """

    def __init__(self, data: dict[str, np.ndarray], side: str = "right", tips: str = "text2hoi"):
        super().__init__()
        self.side, self.tips = side, tips
        self.parents: tuple[int, ...] = (-1, *(int(p) for p in data["kintree_table"][0, 1:]))
        self.content_hash = _content_hash(data)
        faces = torch.as_tensor(data["f"].astype(np.int64))
        self.register_buffer("faces", faces)
        self.register_buffer("wrist_loop", torch.as_tensor(boundary_loop(data["f"].astype(np.int64))))
        self.register_buffer("closed_faces", torch.cat([faces, _cap_faces(self.wrist_loop, len(data["v_template"]))]))
        regressor = np.asarray(data["J_regressor"])
        flexion, abduction = flexion_axes(side), abduction_axes(side)
        tables = {
            "template": data["v_template"],
            "shapedirs": data["shapedirs"][..., :10],
            "posedirs": data["posedirs"],
            "weights": data["weights"],
            "rest_joints": regressor @ data["v_template"],
            "joint_shapedirs": np.einsum("jv,vck->jck", regressor, data["shapedirs"][..., :10]),
            "components": data["hands_components"],
            "hands_mean": data["hands_mean"],
            "flexion_axes": flexion,
            "abduction_axes": abduction,
        }
        for name, table in tables.items():
            self.register_buffer(name, torch.as_tensor(np.asarray(table, np.float32)).contiguous())
        self.register_buffer("tip_ids", torch.tensor([TIPS[tips][finger] for finger in TIP_ORDER]))

    def forward(self, pose: Float[Tensor, "... 99"], betas: Float[Tensor, "... 10"] | None = None) -> HandOutput:
        """The posed hand from the 99 numbers of :func:`hoi_lib.motion.pack_pose`."""
        transl, rotations = unpack_pose(pose)
        return self.from_matrices(rotations, transl, betas)

    def from_matrices(
        self,
        rotations: Float[Tensor, "... 16 3 3"],
        transl: Float[Tensor, "... 3"],
        betas: Float[Tensor, "... 10"] | None = None,
        vertex_ids: Int[Tensor, "v"] | None = None,
    ) -> HandOutput:
        """The posed hand from absolute rotations, root first.

        The leading axes of ``betas`` must be the first leading axes of ``rotations`` (one shape per clip serves all
        its frames) or broadcast against them. With ``vertex_ids`` only those vertices are skinned, in that order.
        """
        ids = None if vertex_ids is None else torch.cat([vertex_ids.to(self.tip_ids.device), self.tip_ids])
        vertices, joints = self._skin(rotations, betas, ids)
        tips = vertices[..., self.tip_ids, :] if ids is None else vertices[..., -5:, :]
        vertices = vertices if ids is None else vertices[..., :-5, :]
        shift = transl[..., None, :]
        return HandOutput(vertices + shift, torch.cat([joints, tips], -2) + shift)

    def joints(
        self,
        rotations: Float[Tensor, "... 16 3 3"],
        transl: Float[Tensor, "... 3"],
        betas: Float[Tensor, "... 10"] | None = None,
    ) -> Float[Tensor, "... 21 3"]:
        """The 21 joints alone: the chain, and five skinned vertices for the tips."""
        tips, joints = self._skin(rotations, betas, self.tip_ids)
        return torch.cat([joints, tips], -2) + transl[..., None, :]

    def rest_wrist(self, betas: Float[Tensor, "... 10"] | None = None) -> Float[Tensor, "... 3"]:
        """Where the wrist lies at rest, J₀(β): (3,) without betas."""
        if betas is None:
            return self.rest_joints[0]
        return self.rest_joints[0].to(betas.dtype) + betas @ self.joint_shapedirs[0].to(betas.dtype).T

    def close(self, vertices: Float[Tensor, "... 778 3"]) -> Float[Tensor, "... 779 3"]:
        """Append the middle of the wrist loop, the vertex that ``closed_faces`` closes the wrist with."""
        return torch.cat([vertices, vertices[..., self.wrist_loop, :].mean(-2, keepdim=True)], -2)

    @property
    def pads(self) -> dict[str, Tensor]:
        """Vertices on the gripping side: "index_tip", "index_middle", "index_inner", …, "thumb_inner" (the ball of
        the thumb) and "palm"; ids found from the rest normals and the weights."""
        normals = vertex_normals(self.template, self.faces)
        owner = self.weights.argmax(1)
        found = {}
        for i, finger in enumerate(FINGERS):
            for k, part in enumerate(("inner", "middle", "tip")):
                j = 1 + 3 * i + k
                palmar = -(normals @ self.abduction_axes[j - 1]) > 0.5
                found[f"{finger}_{part}"] = torch.nonzero(palmar & (owner == j))[:, 0]
        down = torch.tensor([0.0, -1.0, 0.0], device=normals.device)
        ahead = self.template[:, 0].abs() < self.rest_joints[0, 0].abs() - 0.01
        found["palm"] = torch.nonzero((normals @ down > 0.6) & (owner == 0) & ahead)[:, 0]
        return found

    def _skin(self, rotations: Tensor, betas: Tensor | None, ids: Tensor | None) -> tuple[Tensor, Tensor]:
        """Skinned vertices ``ids`` (all when None) and the 16 joints, both without the translation."""
        lead, dtype = rotations.shape[:-3], rotations.dtype
        rest, joints = self._shaped(betas, ids, lead, dtype)  # (n or 1, v, 3), (n or 1, 16, 3)
        rotations = rotations.reshape(-1, JOINTS, 3, 3)  # n: all leading axes in one
        turn, place = self._chain(rotations, joints)  # (n, 16, 3, 3), (n, 16, 3)
        posedirs = (self.posedirs if ids is None else self.posedirs[ids]).to(dtype).flatten(0, 1)  # (3 v, 135)
        bend = (rotations[:, 1:] - torch.eye(3, dtype=dtype, device=rotations.device)).flatten(1)  # (n, 135)
        vertices = rest + (bend @ posedirs.T).unflatten(1, (-1, 3))
        shift = place - (turn @ joints[..., None])[..., 0]
        weights = (self.weights if ids is None else self.weights[ids]).to(dtype)
        moved = _blend(vertices, weights, turn, shift)
        return moved.reshape(*lead, -1, 3), place.reshape(*lead, JOINTS, 3)

    def _shaped(
        self, betas: Tensor | None, ids: Tensor | None, lead: torch.Size, dtype: torch.dtype
    ) -> tuple[Tensor, Tensor]:
        """Rest vertices and joints of a shape, flattened to (n, ·, 3), or (1, ·, 3) without betas."""
        template = (self.template if ids is None else self.template[ids]).to(dtype)
        rest_joints = self.rest_joints.to(dtype)
        if betas is None:
            return template[None], rest_joints[None]
        betas = _line_up(betas.to(dtype), lead)
        shapedirs = (self.shapedirs if ids is None else self.shapedirs[ids]).to(dtype)
        vertices = template + torch.einsum("...k,vck->...vc", betas, shapedirs)
        joints = rest_joints + torch.einsum("...k,jck->...jc", betas, self.joint_shapedirs.to(dtype))
        return tuple(x.expand(*lead, -1, 3).reshape(-1, x.shape[-2], 3) for x in (vertices, joints))

    def _chain(self, rotations: Float[Tensor, "n 16 3 3"], joints: Tensor) -> tuple[Tensor, Tensor]:
        """Forward kinematics: world rotation and place of each joint, all fingers of a level in one product."""
        turn, place = [None] * JOINTS, [None] * JOINTS
        joints = joints.expand(len(rotations), -1, -1)
        turn[0], place[0] = rotations[:, 0], joints[:, 0]
        for level in _levels(self.parents):
            up = [self.parents[j] for j in level]
            above = torch.stack([turn[p] for p in up], 1)
            bone = joints[:, level] - joints[:, up]
            new_turn = above @ rotations[:, level]
            new_place = torch.stack([place[p] for p in up], 1) + (above @ bone[..., None])[..., 0]
            for k, j in enumerate(level):
                turn[j], place[j] = new_turn[:, k], new_place[:, k]
        return torch.stack(turn, 1), torch.stack(place, 1)


def _blend(vertices: Tensor, weights: Tensor, turn: Tensor, shift: Tensor) -> Tensor:
    """Σⱼ w_vj (Rⱼ v + tⱼ), (n, v, 3); one product gives the twelve numbers of every blend."""
    matrices = (weights @ torch.cat([turn, shift[..., None]], -1).flatten(2)).unflatten(2, (3, 4))
    return (matrices[..., :3] @ vertices[..., None])[..., 0] + matrices[..., 3]


def _line_up(betas: Tensor, lead: torch.Size) -> Tensor:
    """Give betas (B, 10) room for the later leading axes of poses (B, L, …)."""
    own = betas.shape[:-1]
    if own == lead[: len(own)]:
        return betas.reshape(*own, *[1] * (len(lead) - len(own)), betas.shape[-1])
    return betas


def _levels(parents: tuple[int, ...]) -> list[list[int]]:
    """Joints by their distance from the wrist, the wrist left out."""
    depth = [0] * len(parents)
    for j, p in enumerate(parents[1:], 1):
        depth[j] = depth[p] + 1
    return [[j for j, d in enumerate(depth) if d == level] for level in range(1, max(depth) + 1)]


# ----------------------------------------------------------------------------------------------------------- loading


def load_hand(
    side: str = "right", source: str | Path | None = None, tips: str = "text2hoi", fix_left_shapedirs: bool = False
) -> HandModel:
    """The hand of one side, float32 on the CPU; loaded once and shared, so copy it before you change it.

    ``source`` is a folder with MANO_RIGHT and MANO_LEFT as .npz or as the downloaded .pkl; None takes the folder in
    HOI_MANO_DIR, or the stand-in when that is not set. ``tips`` chooses the fingertip vertices ("text2hoi" or "smplx").
    ``fix_left_shapedirs`` mends the official left file, whose shape directions are not mirrored; leave it off for data
    that were fitted with the file as it is. Raises :class:`HandFileError`.
    """
    if side not in SIDES or tips not in TIPS:
        raise ValueError(f"side {side!r}, tips {tips!r}: expected one of {SIDES} and one of {tuple(TIPS)}")
    source = source if source is not None else os.environ.get("HOI_MANO_DIR") or None
    return _load(side, None if source is None else str(Path(source).resolve()), tips, fix_left_shapedirs)


@lru_cache(maxsize=8)
def _load(side: str, source: str | None, tips: str, fix_left_shapedirs: bool) -> HandModel:
    data = hand_data(side, source)
    if side == "left" and fix_left_shapedirs and source is not None:
        right = hand_data("right", source)["shapedirs"]
        if (data["shapedirs"][:, 0] * right[:, 0]).sum() > 0:  # the same sign: not mirrored
            data["shapedirs"] = data["shapedirs"] * np.array([-1.0, 1.0, 1.0])[:, None]
    return HandModel(data, side, tips)


def hand_data(side: str = "right", source: str | Path | None = None) -> dict[str, np.ndarray]:
    """The arrays of one side under MANO's keys, from a folder or, when that is None, of the stand-in."""
    if source is not None:
        return read(find(source, side))
    with np.load(ASSET) as file:
        data = dict(file)
    return mirrored(data) if side == "left" else data


def smplx_layer(side: str = "right", source: str | Path | None = None) -> nn.Module:
    """The same hand as a ``smplx.MANOLayer``, the oracle of the tests, made without its message on the console."""
    from smplx import MANOLayer
    from smplx.utils import Struct

    with redirect_stdout(io.StringIO()):
        return MANOLayer("", data_struct=Struct(**hand_data(side, source)), is_rhand=side == "right")


def _content_hash(data: dict) -> str:
    digest = hashlib.sha256()
    for key in ("v_template", "f", "shapedirs", "posedirs", "J_regressor", "weights"):
        digest.update(np.ascontiguousarray(np.round(data[key].astype(np.float64), 9)).tobytes())
    return digest.hexdigest()


# ---------------------------------------------------------------------------------------------------------- topology


def boundary_loop(faces: Int[np.ndarray, "f 3"]) -> Int[np.ndarray, "n"]:
    """The one open loop of a mesh, in the direction in which its faces run along it: edges that one face alone uses.

    Raises :class:`HandFileError` when the mesh has no open edge or more than one loop.
    """
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    used = {(int(a), int(b)) for a, b in edges}
    following = {a: b for a, b in used if (b, a) not in used}
    if not following:
        raise HandFileError("the hand mesh is closed: expected one open loop at the wrist")
    loop = [min(following)]
    while (after := following[loop[-1]]) != loop[0] and len(loop) <= len(following):
        loop.append(after)
    if len(loop) != len(following):
        raise HandFileError(
            f"the hand mesh has more than one hole: {len(following)} open edges, {len(loop)} in one loop"
        )
    return np.array(loop)


def _cap_faces(loop: Tensor, centre: int) -> Tensor:
    """A fan over the wrist, wound as the faces beside it demand: against the direction of the loop."""
    return torch.stack([loop.roll(-1), loop, torch.full_like(loop, centre)], -1)


def vertex_normals(vertices: Float[Tensor, "... v 3"], faces: Int[Tensor, "f 3"]) -> Float[Tensor, "... v 3"]:
    """Unit normals, each the area-weighted mean of the faces around a vertex."""
    a, b, c = (vertices[..., faces[:, k], :] for k in range(3))
    normal = torch.linalg.cross(b - a, c - a)
    total = torch.zeros_like(vertices)
    for k in range(3):
        total = total.index_add(-2, faces[:, k], normal)
    return nn.functional.normalize(total, dim=-1)


# ------------------------------------------------------------------------------------------------------------ mirror

_FLIP = (-1.0, 1.0, 1.0)


def mirror_pose(pose: Float[Tensor, "... 99"]) -> Float[Tensor, "... 99"]:
    """The same pose of the other hand, mirrored in the plane x = 0: t' = S t and R' = S R S with S = diag(−1, 1, 1)."""
    transl, rotations = unpack_pose(pose)
    flip = torch.tensor(_FLIP, dtype=pose.dtype, device=pose.device)
    return pack_pose(transl * flip, rotations * flip[:, None] * flip)


def mirror_track(track: HandTrack) -> HandTrack:
    """:func:`mirror_pose` for a recorded track; betas stay as they are."""
    flip = np.array(_FLIP, track.transl.dtype)
    return replace(track, transl=track.transl * flip, rotations=track.rotations * flip[:, None] * flip)


# ------------------------------------------------------------------------------------------------------- named poses


def flexion_axes(side: str = "right") -> Float[np.ndarray, "15 3"]:
    """Unit axes of joints 1–15 at rest: a turn by a positive angle curls the finger towards the palm, either hand."""
    return _for_side(axes()[0], side)


def abduction_axes(side: str = "right") -> Float[np.ndarray, "15 3"]:
    """Unit axes out of the back of each finger: a turn by a positive angle takes a finger towards the thumb's side,
    and the thumb away from the palm, either hand."""
    return _for_side(axes()[1], side)


def _for_side(right: np.ndarray, side: str) -> np.ndarray:
    return right * np.array([1.0, -1.0, -1.0]) if side == "left" else right.copy()


# degrees of flexion for the 15 joints, then {joint: abduction} and {joint: twist about the bone}
_POSES = {
    "rest": ((0,) * 15, {}, {}),
    "relaxed": ((14, 22, 12, 17, 26, 14, 26, 30, 16, 22, 28, 15, 6, 10, 14), {}, {}),
    "fist": ((82, 103, 62, 85, 104, 66, 80, 94, 52, 84, 104, 63, 29, 33, 46), {1: -2, 7: 2, 10: 2, 13: 26}, {13: -35}),
    "pinch": ((59, 34, 20, 30, 30, 15, 18, 20, 12, 24, 24, 12, 35, 11, 9), {1: -10, 13: 27}, {1: 5, 13: -36}),
    "point": ((0, 0, 0, 85, 104, 66, 80, 94, 52, 84, 104, 63, 38, 30, 31), {7: 2, 10: 2, 13: 25}, {13: -36}),
    "spread": ((0,) * 15, {1: 12, 4: 1, 7: -16, 10: -9, 13: 14}, {}),
}


def named_pose(name: str, side: str = "right") -> Float[Tensor, "99"]:
    """A standing example pose as 99 numbers at the origin: rest, relaxed, fist, pinch, point or spread."""
    if name not in _POSES:
        raise ValueError(f"no pose is called {name!r}: expected one of {', '.join(_POSES)}")
    bends, spreads, twists = _POSES[name]
    flexion, abduction = axes()
    along = np.cross(flexion, abduction)
    vectors = np.radians(bends)[:, None] * flexion
    for joint, degrees in spreads.items():
        vectors[joint - 1] += np.radians(degrees) * abduction[joint - 1]
    for joint, degrees in twists.items():
        vectors[joint - 1] += np.radians(degrees) * along[joint - 1]
    vectors = torch.as_tensor(np.vstack([np.zeros(3), vectors]))
    pose = pack_pose(torch.zeros(3, dtype=torch.float64), axis_angle_to_matrix(vectors)).float()
    return mirror_pose(pose) if side == "left" else pose
