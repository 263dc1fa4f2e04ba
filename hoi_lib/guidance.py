"""Guided sampling: contact and penetration steer every late estimate of the clean hand while it is sampled.

On a shape that training never showed, a generated hand ends a little beside the surface or inside it. Here the gradient
of MoEG-HOI Eqs. 12–14, taken in the object's frame, moves the network's estimate at every late noise level before the
sampler steps on; the next level starts from the moved hand, and the network makes of it a motion that it knows. While
sampling there is no ground truth: what the losses call the truth is what the estimate itself intends.

B batch, L frames, V vertices that are looked at, G pads of the hand (16), D = 26 numbers that correct a hand. Metres,
radians, frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import conv1d, max_pool1d, pad

from hoi_lib.denoiser import Denoiser
from hoi_lib.diffusion import Schedule
from hoi_lib.distance import DistanceGrid
from hoi_lib.errors import ConfigError
from hoi_lib.hand import HandModel, load_hand
from hoi_lib.motion import FPS, SIDES, Batch, object_to_world, pack_pose, unpack_pose, world_to_object
from hoi_lib.objects import ObjectModel
from hoi_lib.rotations import axis_angle_to_matrix

NEAR, SLOW = 0.02, 0.06  # m from the object and m/s relative to it: within both a hand means to hold, beyond twice not
LASTS = 9  # frames that this must last: a hand that comes to rest beside an object does not hold it
BAND = 0.010  # m farther away than the nearest pad: pads up to there are meant to touch too, as τ of Eq. 13
SKIN = 0.002  # m by which flesh gives way: nearer than that to the surface, on either side, is a touch
FIELD, CONTACT, PENETRATION = 1.0, 1.0, 2.0  # weights of Eqs. 12, 13 and 14
SLACK = 0.05  # share of Eq. 12's weight that is left while the hand holds
CROWD = 20  # vertices: fewer than that inside count as a part of so many
SHIFT, TURN, FINGER = 1.0, 14.0, 60.0  # steps per unit of gradient: metres of the wrist, radians of hand and of fingers
KEPT = 0.5  # share of a step that the next one continues
MARGIN, SPACING, CELLS = 0.03, 0.002, 1e6  # m round the object, m between samples, and at most so many samples
NUMBERS = 3 + 3 + 15 + 5  # shift, turn, bends, spreads
KNUCKLES = [1, 4, 7, 10]
EVERY = 3  # of the vertices that are no pad, one in so many is looked at


@dataclass(frozen=True)
class Guidance:
    """How a sampler is guided. Raises :class:`ConfigError` for impossible settings.

    ``strength`` scales every step (0 leaves the sampler as it is); guidance begins at the share ``start`` of the noise
    levels (1: at pure noise) and takes ``steps`` steps at each; ``smooth`` is the width in frames, one standard
    deviation, of the window that every correction is averaged with, so that guidance adds no trembling.
    """

    strength: float = 1.0
    start: float = 0.15
    steps: int = 8
    smooth: float = 2.0

    def __post_init__(self) -> None:
        if not (0 <= self.strength <= 1 and 0 <= self.start <= 1 and self.steps >= 1 and self.smooth >= 0):
            raise ConfigError(f"{self}: expected strength and start from 0 to 1, at least one step, smooth ≥ 0.")


class Aim(NamedTuple):
    """What an estimate intends, fixed while it is guided: its own ``field`` of distances (B, L, V) in metres, how far
    it means to ``hold`` in a frame (B, L), and which pads are then to ``touch`` (B, L, G); the last two from 0 to 1."""

    field: Tensor
    hold: Tensor
    touch: Tensor


def energy(distance: Float[Tensor, "B L V"], aim: Aim, pads: Sequence[Tensor]) -> dict[str, Float[Tensor, "B L"]]:
    """MoEG-HOI Eqs. 12–14 of each frame as a sampler can know them, half mean squares in m².

    ``distance`` is signed, negative inside; ``pads`` are G lists of places along V. Squares take the place of the
    printed absolute values, so that the pull fades as it is followed and a hand that holds is left alone.

    ``dist`` (Eq. 12) keeps the outer vertices as far away as the estimate put them, hardly so while the hand holds;
    ``con`` (Eq. 13) brings the nearest vertex of each pad that is meant to touch onto the surface; ``pen`` (Eq. 14)
    brings what is more than :data:`SKIN` inside out again. Where nothing is to be done they are 0, gradient and all.
    """
    off = torch.relu(nearest_of(distance, pads).abs() - SKIN)
    deep = torch.relu(-distance - SKIN)
    loose = FIELD * (1 - (1 - SLACK) * aim.hold)
    terms = {
        "dist": loose * ((distance - aim.field).square() * (aim.field > 0)).mean(-1),
        "con": CONTACT * aim.hold * (aim.touch * off.square()).sum(-1) / aim.touch.sum(-1).clamp(min=1),
        "pen": PENETRATION * deep.square().sum(-1) / (deep > 0).sum(-1).clamp(min=CROWD),
    }
    return {name: value / 2 for name, value in terms.items()}


def nearest_of(distance: Float[Tensor, "B L V"], pads: Sequence[Tensor]) -> Float[Tensor, "B L G"]:
    """Least signed distance over the vertices of each pad."""
    return torch.stack([distance[..., pad].amin(-1) for pad in pads], -1)


class Guide:
    """The callable that :func:`~hoi_lib.sampling.sample_batch` takes as ``guide``: it knows the batch and its objects.

    ``models`` are the objects of the batch's samples, in their order. A distance grid per object and part is computed
    once in this process, in about a second.
    """

    def __init__(
        self, denoiser: Denoiser, batch: Batch, models: Sequence[ObjectModel], guidance: Guidance | None = None
    ):
        self.guidance, self.denoiser = guidance or Guidance(), denoiser
        device = next(denoiser.parameters()).device
        self.batch = batch = batch.to(device)
        self.first = self.guidance.start * (Schedule.of(denoiser.config.schedule).steps - 1)
        self.hands = [deepcopy(load_hand(side)).to(device) for side in SIDES]
        self.pads, self.ids = _looked_at(self.hands[-1])
        self.grids = {model: [deepcopy(grid).to(device) for grid in _grids(model)] for model in dict.fromkeys(models)}
        self.rows = {m: [i for i, model in enumerate(models) if model is m] for m in self.grids}
        axes = [torch.stack([hand.flexion_axes, hand.abduction_axes]) for hand in self.hands]
        palms = [hand.rest_joints[KNUCKLES].mean(0) - hand.rest_joints[0] for hand in self.hands]
        self.axes, self.palm = (torch.stack(x).to(batch.betas.dtype)[batch.side] for x in (axes, palms))
        pace = torch.tensor([SHIFT] * 3 + [TURN] * 3 + [FINGER] * 20, device=device)
        self.pace = self.guidance.strength * pace.to(batch.betas.dtype)
        self.window = _window(self.guidance.smooth).to(self.pace)

    def __call__(self, x0: Float[Tensor, "B L X"], t: int) -> Float[Tensor, "B L X"]:
        """The guided estimate at noise level ``t``, standardised; early on, and at strength 0, ``x0`` itself."""
        if self.guidance.strength == 0 or t > self.first:
            return x0
        batch = self.batch
        pose = world_to_object(self.denoiser.to_world(x0, batch), batch.object_pose, batch.wrist_rest)
        moved = object_to_world(self.held(pose), batch.object_pose, batch.wrist_rest)
        return self.denoiser.to_model(replace(batch, pose=moved))

    def held(self, pose: Float[Tensor, "B L 99"]) -> Float[Tensor, "B L 99"]:
        """Hands in the object's frame after ``steps`` steps down the gradient; all samples move independently."""
        aim = self.aim(pose)
        correction = pose.new_zeros(*pose.shape[:2], NUMBERS)
        step = torch.zeros_like(correction)
        for _ in range(self.guidance.steps):
            with torch.enable_grad():
                correction.requires_grad_(True)
                total = self.energy(pose, correction, aim).sum()
                (slope,) = torch.autograd.grad(total, correction)
            step = KEPT * step - self.pace * slope
            correction = correction.detach() + step
        return self.corrected(pose, correction)

    def energy(
        self, pose: Float[Tensor, "B L 99"], correction: Float[Tensor, "B L D"], aim: Aim
    ) -> Float[Tensor, "B L"]:
        """The sum of :func:`energy` over Eqs. 12–14 of a corrected hand; 0 in the padding."""
        vertices, _ = self._posed(self.corrected(pose, correction))
        return sum(energy(self.distance(vertices), aim, self.pads).values()) * self.batch.valid

    @torch.no_grad()
    def aim(self, pose: Float[Tensor, "B L 99"]) -> Aim:
        """What hands (object's frame) intend. Where they are near the object and slow beside it for a while, they
        mean to hold it, with every pad that is inside and those that are nearest, up to :data:`BAND` farther away."""
        vertices, joints = self._posed(pose)
        distance = self.distance(vertices)
        near = nearest_of(distance, self.pads)
        least = near.amin(-1)
        hold = _lasting(_fading(least, NEAR) * _fading(self._speed(joints), SLOW))
        return Aim(distance, hold, _fading(near - least.clamp(min=0)[..., None], BAND))

    def corrected(self, pose: Float[Tensor, "B L 99"], correction: Float[Tensor, "B L D"]) -> Float[Tensor, "B L 99"]:
        """Apply a correction, averaged over frames: the hand shifted and turned about its palm, its joints bent
        further about their own axes, its fingers spread. Zero changes nothing."""
        shift, turn, bend, spread = self._averaged(correction).split([3, 3, 15, 5], -1)
        transl, rotations = unpack_pose(pose)
        root, joints = rotations[..., 0, :, :], rotations[..., 1:, :, :]
        turn = axis_angle_to_matrix(turn)
        arm = (root @ self.palm[:, None, :, None])[..., 0]
        flexion, abduction = self.axes[:, None].unbind(2)
        fingers = (joints @ axis_angle_to_matrix(flexion * bend[..., None])).unflatten(2, (5, 3))
        first = axis_angle_to_matrix(abduction[..., ::3, :] * spread[..., None]) @ fingers[..., 0, :, :]
        fingers = torch.cat([first[..., None, :, :], fingers[..., 1:, :, :]], 3).flatten(2, 3)
        moved = transl + shift + arm - (turn @ arm[..., None])[..., 0]
        return pack_pose(moved, torch.cat([(turn @ root)[..., None, :, :], fingers], 2))

    def distance(self, points: Float[Tensor, "B L N 3"]) -> Float[Tensor, "B L N"]:
        """Signed distance in metres of points in the object's frame, looked up in the grids of each sample's object."""
        parts, order = [], []
        for model, rows in self.rows.items():
            fixed, *moving = self.grids[model]
            local = points[rows]
            found = fixed(local)
            for grid in moving:
                found = torch.minimum(found, grid(model.unhinge(local, self.batch.object_pose[rows, :, 9])))
            parts, order = [*parts, found], [*order, *rows]
        return torch.cat(parts)[torch.tensor(order).argsort()]

    def _posed(self, pose: Float[Tensor, "B L 99"]) -> tuple[Tensor, Tensor]:
        """The vertices that are looked at and the joints."""
        transl, rotations = unpack_pose(pose)
        parts, order = [], []
        for side, hand in enumerate(self.hands):
            rows = (self.batch.side == side).nonzero()[:, 0]
            if len(rows):
                parts.append(hand.from_matrices(rotations[rows], transl[rows], self.batch.betas[rows], self.ids))
                order.append(rows)
        back = torch.cat(order).argsort()
        return torch.cat([p.vertices for p in parts])[back], torch.cat([p.joints for p in parts])[back]

    def _speed(self, joints: Float[Tensor, "B L J 3"]) -> Float[Tensor, "B L"]:
        """Mean speed of the joints in m/s relative to the part of the object beside which they move least."""
        speed = _pace(joints)
        for model, rows in self.rows.items():
            if model.hinge is not None:
                along = _pace(model.unhinge(joints[rows], self.batch.object_pose[rows, :, 9]))
                speed[rows] = torch.minimum(speed[rows], along)
        return speed

    def _averaged(self, x: Float[Tensor, "B L D"]) -> Float[Tensor, "B L D"]:
        """Each number averaged over neighbouring frames; the ends are held."""
        reach = self.window.shape[-1] // 2
        series = pad(x.transpose(1, 2).flatten(0, 1)[:, None], (reach, reach), mode="replicate")
        return conv1d(series, self.window).unflatten(0, (len(x), -1))[:, :, 0].transpose(1, 2)


def _fading(x: Tensor, width: float) -> Tensor:
    """1 up to ``width``, falling to 0 at twice that."""
    return (2 - x / width).clamp(0, 1)


def _lasting(x: Float[Tensor, "B L"], frames: int = LASTS) -> Float[Tensor, "B L"]:
    """What of ``x`` stays at its height for so many frames in a row (an odd number)."""
    low = -max_pool1d(-pad(x, (frames // 2, frames // 2)), frames, 1)  # zeros beyond the ends
    return max_pool1d(pad(low, (frames // 2, frames // 2)), frames, 1)


def _pace(joints: Float[Tensor, "B L J 3"]) -> Float[Tensor, "B L"]:
    """Mean speed of joints in m/s, looking back one frame; 0 in the first."""
    return joints.diff(dim=1, prepend=joints[:, :1]).norm(dim=-1).mean(-1) * FPS


def _window(width: float) -> Float[Tensor, "1 1 W"]:
    """A normal distribution of standard deviation ``width`` frames, cut at three of them, as weights that sum to 1."""
    reach = int(3 * width)
    weight = torch.exp(-((torch.arange(-reach, reach + 1) / max(width, 1e-6)) ** 2) / 2)
    return (weight / weight.sum())[None, None]


@lru_cache(maxsize=64)
def _grids(model: ObjectModel) -> tuple[DistanceGrid, ...]:
    """One distance grid per part, every :data:`SPACING` metres, coarser only for what is too large for that."""
    low, high = model.bounds
    volume = float((high - low + 2 * MARGIN).prod())
    spacing = max(SPACING, (volume / CELLS) ** (1 / 3))
    return tuple(model.grid(spacing, MARGIN, part) for part in range(1 if model.hinge is None else 2))


def _looked_at(hand: HandModel) -> tuple[list[Tensor], Tensor]:
    """Where each pad's vertices stand among those that are looked at, and the numbers of these: pads, then the rest
    thinned. One table serves both hands, since they mirror each other vertex by vertex."""
    pads = list(hand.pads.values())
    places = torch.arange(sum(map(len, pads)), device=hand.faces.device).split([len(p) for p in pads])
    ids = torch.cat(pads)
    rest = torch.ones(len(hand.template), dtype=torch.bool, device=ids.device).index_fill(0, ids, False)
    return list(places), torch.cat([ids, rest.nonzero()[::EVERY, 0]])
