"""The stand-in hand: a licence-free hand in MANO's exact file layout, made by code.

``python -m hoi_lib.standin`` writes ``hoi_lib/assets/hand/standin_right.npz`` anew; the left hand is its exact mirror.
The mesh and the skeleton come from :mod:`hoi_lib.standin_mesh` (millimetres); everything here is in metres and radians.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hoi_lib.manofile import write_npz
from hoi_lib.standin_mesh import HandMesh, build_mesh, mean_of_neighbours
from hoi_lib.standin_skeleton import FINGERS, PARENTS, axes, skeleton, turn
from hoi_lib.standin_skeleton import joints as rest_joints

ASSET = Path(__file__).parent / "assets" / "hand" / "standin_right.npz"
POSES = 512  # sampled poses behind the PCA


def smoothstep(x: np.ndarray) -> np.ndarray:
    """0 below 0, 1 above 1, and ``x² (3 − 2x)`` between."""
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)


# ---------------------------------------------------------------------------------------------------------- weights


def skinning_weights(mesh: HandMesh) -> np.ndarray:
    """How much each vertex follows each joint, (778, 16): rows sum to 1, at most 4 entries, no finger holds another.

    Along a finger the weight passes from one bone to the next over a knuckle's length; in the palm the first bones
    share it by distance, and a few rounds of smoothing over the mesh take out the seams.
    """
    weights = np.zeros((len(mesh.vertices), 16))
    own = np.isin(mesh.owner, FINGERS)
    chains = {name: _chain(mesh.vertices, name) for name in FINGERS}
    for i, name in enumerate(FINGERS):
        mine = mesh.owner == name
        weights[mine, 1 + 3 * i : 4 + 3 * i] = chains[name][mine, 1:]
        weights[mine, 0] = chains[name][mine, 0]
    palm = ~own
    weights[palm] = _palm_weights(mesh.vertices[palm], {k: c[palm] for k, c in chains.items()})
    link, free = mean_of_neighbours(mesh.faces, len(weights)), palm & (mesh.vertices[:, 0] < 105)
    for _ in range(4):
        weights[free] = 0.5 * weights[free] + 0.5 * (link[free] @ weights)
    return _sparse(weights, 4)


def _chain(points: np.ndarray, name: str) -> np.ndarray:
    """Share of (palm, first, second, third bone) by the distance along a finger alone, (n, 4)."""
    finger = skeleton()[name]
    x = finger.local(points)[:, 0]
    half = (16.0, 8.0, 7.0) if name == "thumb" else np.array([10.5, 6.8, 5.8]) * finger.profile[1, 1] / 9.5
    shift = (6.0, 0.0, 0.0) if name == "thumb" else (1.0, 0.0, 0.0)
    s1, s2, s3 = (
        smoothstep((x - at - d + h) / (2 * h)) for at, d, h in zip(finger.stations[:3], shift, half, strict=True)
    )
    return np.stack([1 - s1, s1 * (1 - s2), s1 * s2 * (1 - s3), s1 * s2 * s3], -1)


def _palm_weights(points: np.ndarray, chains: dict[str, np.ndarray]) -> np.ndarray:
    weights = np.zeros((len(points), 16))
    long = [name for name in FINGERS if name != "thumb"]
    sideways = np.stack([np.abs(skeleton()[n].local(points)[:, 2]) for n in long], -1)
    near = np.exp(-((sideways / 7.0) ** 2)) + 1e-12
    share = near / near.sum(-1, keepdims=True)
    for k, name in enumerate(long):
        weights[:, 1 + 3 * FINGERS.index(name)] = share[:, k] * (1 - chains[name][:, 0])
    thumb = skeleton()["thumb"].local(points)
    across = np.hypot(thumb[:, 1], thumb[:, 2])
    hold = (1 - chains["thumb"][:, 0]) * (1 - smoothstep((across - 12) / 22))
    weights *= 1 - hold[:, None]
    weights[:, 13] = hold * (1 - chains["thumb"][:, 2])
    weights[:, 14] = hold * chains["thumb"][:, 2]
    weights[:, 0] = 1 - weights[:, 1:].sum(1)
    return weights


def _sparse(weights: np.ndarray, most: int) -> np.ndarray:
    weights = np.where(weights < 0.01, 0, weights)
    cut = np.sort(weights, axis=1)[:, -most][:, None]
    weights = np.where(weights < cut, 0, weights)
    return weights / weights.sum(1, keepdims=True)


# -------------------------------------------------------------------------------------------------------- regressor


def joint_regressor(vertices: np.ndarray, joints: np.ndarray, nearest: int = 24) -> np.ndarray:
    """Rows that give each joint from the vertices around it, (16, 778): the weights closest to a plain average of the
    nearest vertices that sum to 1 and reproduce the joint exactly."""
    rows = np.zeros((len(joints), len(vertices)))
    for row, joint in zip(rows, joints, strict=True):
        distance = np.round(np.linalg.norm(vertices - joint, axis=1), 7)  # equal on either side of a finger
        ids = np.argsort(distance, kind="stable")[:nearest]
        constraints = np.vstack([(vertices[ids] - joint).T * 100, np.ones(nearest)])
        plain = np.full(nearest, 1 / nearest)
        missing = np.array([0, 0, 0, 1.0]) - constraints @ plain
        row[ids] = plain + np.linalg.lstsq(constraints, missing, rcond=None)[0]
    return rows


# ------------------------------------------------------------------------------------------------------------ shape


SHAPES = (
    "overall size",
    "finger length",
    "thickness",
    "palm width",
    "thumb length",
    "palm length",
    "slimmer fingertips",
    "ring finger longer, index shorter",
    "fleshier palm",
    "little finger length",
)


def shape_directions(vertices: np.ndarray, joints: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The ten directions named in :data:`SHAPES`, (778, 3, 10) metres per unit; one unit is about one standard
    deviation, a few per cent of the length that it changes."""
    long = {name: 0.0 for name in FINGERS}
    changes = [
        {"size": 0.045},
        {"bones": {**dict.fromkeys(FINGERS[:4], 0.045), "thumb": 0.0}},
        {"thick": 0.06, "flesh": 0.05},
        {"palm": (0.0, 0.0, 0.05)},
        {"bones": {**long, "thumb": 0.05}},
        {"palm": (0.045, 0.0, 0.0)},
        {"taper": -0.07},
        {"bones": {**long, "index": -0.03, "ring": 0.03}},
        {"flesh": 0.07},
        {"bones": {**long, "pinky": 0.055}},
    ]
    return np.stack([_change(vertices, joints, weights, **c) for c in changes], -1)


def _change(vertices, joints, weights, size=0.0, bones=None, palm=(0.0, 0.0, 0.0), thick=0.0, taper=0.0, flesh=0.0):
    """Displacement (778, 3) of a change of the skeleton and of the flesh around it."""
    palm, wrist = np.array(palm), joints[0]
    moved = weights[:, :1] * (vertices - wrist) * (palm + (0, flesh, 0))
    for i, name in enumerate(FINGERS):
        finger = skeleton()[name]
        longer = (bones or {}).get(name, 0.0)
        shift = (joints[1 + 3 * i] - wrist) * palm
        for k in range(3):
            j = 1 + 3 * i + k
            bone = finger.bones[k] / 1000
            direction = (finger.joints[k + 1] - finger.joints[k]) / finger.bones[k]
            offset = vertices - joints[j]
            along = offset @ direction
            around = offset - along[:, None] * direction
            fatter = thick + taper * (along / bone + k) / 3
            stretched = shift + longer * along[:, None] * direction + fatter[:, None] * around
            moved += weights[:, j : j + 1] * stretched
            shift = shift + longer * bone * direction
    return moved + size * (vertices - wrist)


# ------------------------------------------------------------------------------------------------- pose blend shapes


def pose_directions(vertices: np.ndarray, joints: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Pose blend shapes (778, 3, 135): they give back what linear skinning takes from a bent knuckle.

    Linear skinning averages two matrices, and the average of a matrix and its turn by θ shrinks by cos(θ/2). The aim
    of the fit is the same vertex turned by its own share of θ, which shrinks nothing; carried back through the
    averaged matrix it is an offset at rest, and the offsets of sample bends are fitted linearly in R − I.
    """
    flexion, abduction = axes()
    directions = np.zeros((*vertices.shape, 15, 9))
    for j in range(1, 16):
        child = _below(j, weights)
        parent = weights[:, PARENTS[j]] if PARENTS[j] else 1 - child
        mixed = np.flatnonzero((child > 0.005) & (child < 0.995) & (parent > 0.0))
        bends, offsets = [], []
        samples = [(flexion[j - 1], np.radians([-20, 20, 40, 60, 80, 100]))]
        if PARENTS[j] == 0:
            samples.append((abduction[j - 1], np.radians([-20, -10, 10, 20])))
        for axis, angles in samples:
            offset = _repair(vertices[mixed] - joints[j], child[mixed], axis, angles)
            bends.append((turn(axis, angles) - np.eye(3)).reshape(-1, 9))
            offsets.append(offset.reshape(len(angles), -1))
        x, y = np.vstack(bends), np.vstack(offsets)
        fit = np.linalg.solve(x.T @ x + 1e-3 * np.eye(9), x.T @ y)
        directions[mixed, :, j - 1] = np.moveaxis(fit.reshape(9, len(mixed), 3), 0, -1)
    return directions.reshape(*vertices.shape, 135)


def _below(j: int, weights: np.ndarray) -> np.ndarray:
    """Weight of joint ``j`` and of everything that hangs on it."""
    last = j + 3 - (j - 1) % 3
    return weights[:, j:last].sum(1)


def _repair(offset: np.ndarray, share: np.ndarray, axis: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """Rest offsets (angles, n, 3) after which linear skinning with weight ``share`` equals a turn by ``share · θ``."""
    full = turn(axis, angles)[:, None]
    part = turn(axis, angles[:, None] * share)
    blend = (1 - share)[:, None, None] * np.eye(3) + share[:, None, None] * full
    aim = (part @ offset[..., None]) - blend @ offset[..., None]
    return np.linalg.solve(blend, aim)[..., 0]


# ------------------------------------------------------------------------------------------------------------ poses


def relaxed() -> np.ndarray:
    """The relaxed hand as 45 axis-angle numbers."""
    flexion, _ = axes()
    bend = np.radians([14, 22, 12, 17, 26, 14, 26, 30, 16, 22, 28, 15, 6, 10, 14])
    return (flexion * bend[:, None]).reshape(45)


def sample_poses(count: int, seed: int = 0) -> np.ndarray:
    """Plausible poses (count, 45): fingers that curl together, each with its own share, some spread, a moving thumb."""
    rng = np.random.default_rng(seed)
    flexion, abduction = axes()
    together = rng.beta(1.2, 1.6, (count, 1, 1))
    each = np.clip(together + rng.normal(0, 0.18, (count, 5, 1)), -0.05, 1.05)
    reach = np.radians([[80, 95, 60]] * 4 + [[25, 45, 60]])
    bend = each * reach + rng.normal(0, 0.06, (count, 5, 3))
    spread = np.zeros((count, 5, 3))
    spread[..., 0] = rng.normal(0, 0.10, (count, 5)) * (1 - 0.6 * each[..., 0])
    spread[:, 4, 0] = rng.normal(-0.1, 0.3, count)
    pose = bend.reshape(count, 15, 1) * flexion + spread.reshape(count, 15, 1) * abduction
    return (pose + rng.normal(0, 0.02, pose.shape)).reshape(count, 45)


def principal_poses(poses: np.ndarray, mean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """PCA about ``mean``: components (45, 45), one to a row, largest first, and coefficients (n, 45)."""
    _, _, components = np.linalg.svd(poses - mean, full_matrices=False)
    peak = np.abs(components).argmax(1)
    components *= np.sign(components[np.arange(45), peak])[:, None]
    return components, (poses - mean) @ components.T


# ------------------------------------------------------------------------------------------------------------- file


def build() -> dict[str, np.ndarray]:
    """The right hand as a dictionary with MANO's keys, shapes and number types."""
    mesh = build_mesh()
    vertices, joints = mesh.vertices / 1000, rest_joints() / 1000
    weights = skinning_weights(mesh)
    mean = relaxed()
    components, coefficients = principal_poses(sample_poses(POSES), mean)
    table = np.array([PARENTS, range(16)])
    table[0, 0] = 2**32 - 1
    return {
        "v_template": vertices,
        "f": mesh.faces.astype(np.uint32),
        "shapedirs": shape_directions(vertices, joints, weights),
        "posedirs": pose_directions(vertices, joints, weights),
        "J_regressor": joint_regressor(vertices, joints),
        "J": joints,
        "weights": weights,
        "kintree_table": table.astype(np.uint32),
        "hands_components": components,
        "hands_mean": mean,
        "hands_coeffs": coefficients,
        "bs_style": np.array("lbs"),
        "bs_type": np.array("lrotmin"),
    }


def mirrored(hand: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The other hand: every place with x negated, faces turned round, rotations conjugated with diag(−1, 1, 1)."""
    flip = np.array([-1.0, 1.0, 1.0])
    turned = (flip[:, None] * flip).reshape(9)
    vector = np.tile([1.0, -1.0, -1.0], 15)
    return {
        **hand,
        "v_template": hand["v_template"] * flip,
        "J": hand["J"] * flip,
        "f": hand["f"][:, ::-1].copy(),
        "shapedirs": hand["shapedirs"] * flip[:, None],
        "posedirs": hand["posedirs"] * flip[:, None] * np.tile(turned, 15),
        "hands_components": hand["hands_components"] * vector,
        "hands_mean": hand["hands_mean"] * vector,
    }


def write(path: Path = ASSET) -> Path:
    """Build the hand and write it to ``path``, whole or not at all; returns the path."""
    write_npz(path, build())
    return path


def export(folder: str | Path) -> Path:
    """Write MANO_RIGHT.npz and MANO_LEFT.npz of the stand-in, for smplx (``ext="npz"``) or HOI_MANO_DIR."""
    right = build()
    for side, hand in (("RIGHT", right), ("LEFT", mirrored(right))):
        write_npz(Path(folder) / f"MANO_{side}.npz", hand)
    return Path(folder)


if __name__ == "__main__":
    print(write())
