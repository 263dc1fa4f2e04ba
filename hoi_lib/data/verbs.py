"""Can a verb be told from motion alone? A small classifier on a few plain features of a clip.

If it cannot, a model that is asked for a verb has nothing to learn. It sees trajectories only: no labels, no caption,
no name of an object. Trained on the training subjects, tested on the test subject.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from hoi_lib.data.fingers import fingers_of
from hoi_lib.data.store import ClipStore
from hoi_lib.hand import load_hand
from hoi_lib.motion import MotionClip
from hoi_lib.rotations import geodesic_angle


def motion_features(clip: MotionClip) -> np.ndarray:
    """Numbers (36,) that describe how a clip moves: the object's path, turn, shaking and hinge, and what the hand does
    beside carrying it, in the middle 70 % of the frames."""
    n = clip.frames
    middle = slice(round(0.2 * n), round(0.9 * n))
    place = clip.object.transl[middle].astype(np.float64)
    turn = torch.as_tensor(clip.object.rotation[middle], dtype=torch.float64)
    side = max(clip.hands, key=lambda s: _liveliness(clip, s, middle))
    return np.concatenate([_path(place, clip), _turning(turn), _hinge(clip, middle), _beside(clip, side, middle)])


def _path(place: np.ndarray, clip: MotionClip) -> np.ndarray:
    first, last = clip.object.transl[0], clip.object.transl[-1]
    step = np.diff(place, axis=0)
    jolt = np.diff(place, 2, axis=0) * clip.fps**2
    end = (last - first).astype(np.float64)
    return np.array([
        abs(end[0]), end[1], end[2], place[:, 2].max() - first[2], place[:, 1].max() - first[1],
        np.abs(place[:, 0] - first[0]).max(), np.linalg.norm(step, axis=1).sum(), np.linalg.norm(jolt, axis=1).mean(),
        np.linalg.norm(jolt, axis=1).max(), _beats(place[:, 2]), np.hypot(end[0], end[1]),
    ])  # fmt: skip


def _turning(turn: torch.Tensor) -> np.ndarray:
    up = turn[:, :, 2] @ turn[0, :, 2]
    tilt = torch.arccos(up.clamp(-1, 1))
    total = geodesic_angle(turn[1:], turn[:-1])
    net = geodesic_angle(turn, turn[:1].expand_as(turn))
    relative = turn[0].T @ turn
    yaw = np.unwrap(torch.atan2(relative[:, 1, 0], relative[:, 0, 0]).numpy())
    return np.array([
        float(tilt.max()), float(tilt[-1]), float(total.sum()), float(net.max()), float(net[-1]),
        np.abs(np.diff(yaw)).sum(), np.ptp(yaw), _beats(yaw), _beats(net.numpy()),
    ])  # fmt: skip


def _hinge(clip: MotionClip, middle: slice) -> np.ndarray:
    if clip.object.angle is None:
        return np.zeros(5)
    angle = clip.object.angle.astype(np.float64)
    inner = angle[middle]
    return np.array([1.0, angle[-1] - angle[0], np.ptp(angle), np.abs(np.diff(angle)).sum(), _beats(inner)])


def _beside(clip: MotionClip, side: str, middle: slice) -> np.ndarray:
    """The hand relative to the object: wandering and turning of the wrist, pulsing and shape of the fingers."""
    track, item = clip.hands[side], clip.object
    wrist = track.transl + load_hand(side).rest_wrist(torch.as_tensor(track.betas)).numpy()
    local = np.einsum("lji,lj->li", item.rotation, wrist - item.transl)[middle].astype(np.float64)
    root = torch.as_tensor(np.swapaxes(item.rotation, 1, 2) @ track.rotations[:, 0])[middle].double()
    bend = fingers_of(load_hand(side)).angles(torch.as_tensor(track.rotations[middle, 1:]))[..., 0].double().numpy()
    curl = bend[:, :12].mean(1)
    swing = geodesic_angle(root, root[:1].expand_as(root)).numpy()
    return np.array([
        np.ptp(local, axis=0).max(), np.linalg.norm(np.diff(local, axis=0), axis=1).sum(), swing.max(),
        np.abs(np.diff(swing)).sum(), _beats(swing), _beats(curl), np.ptp(curl), curl.mean(),
        bend[:, :3].mean() - bend[:, 3:12].mean(), len(clip.hands), _beats(local[:, 2]),
    ])  # fmt: skip


def _liveliness(clip: MotionClip, side: str, middle: slice) -> float:
    """How much a hand moves in the world: of two hands the livelier one acts."""
    return float(np.linalg.norm(np.diff(clip.hands[side].transl[middle], axis=0), axis=1).sum())


def _beats(x: np.ndarray) -> float:
    """Turning points of a curve that stand out by a fifth of its range (and at least a little)."""
    threshold, count, last, direction = max(0.2 * np.ptp(x), 1e-3), 0, x[0], 0
    for value in x:
        if direction >= 0 and value > last or direction <= 0 and value < last:
            if direction == 0 and abs(value - last) > threshold:
                direction = 1 if value > last else -1
            if direction:
                last = value
        elif abs(value - last) > threshold:
            direction, last, count = -direction, value, count + 1
    return float(count)


def recognise(store: ClipStore, hidden: int = 48, steps: int = 500, split: str = "test") -> float:
    """Share of the clips of ``split`` whose verb a small network, trained on the training subjects, names rightly."""
    names = sorted({row["verb"] for row in store.table})
    x, y = _table(store.subset("train"), names)
    z, w = _table(store.subset(split), names)
    mean, scale = x.mean(0), x.std(0) + 1e-6
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(x.shape[1], hidden), nn.GELU(), nn.Linear(hidden, len(names)))
        optimiser = torch.optim.AdamW(network.parameters(), lr=0.02, weight_decay=0.02)
        for _ in range(steps):
            optimiser.zero_grad()
            nn.functional.cross_entropy(network((x - mean) / scale), y, label_smoothing=0.05).backward()
            optimiser.step()
        with torch.no_grad():
            return float((network((z - mean) / scale).argmax(-1) == w).float().mean())


def _table(store: ClipStore, names: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
    features = np.stack([motion_features(clip) for clip in store])
    return torch.tensor(features, dtype=torch.float32), torch.tensor([names.index(row["verb"]) for row in store.table])
