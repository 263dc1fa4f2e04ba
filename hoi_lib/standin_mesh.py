"""The skin of the stand-in hand: a smooth surface around the bones, and 778 vertices laid on it in rows.

Millimetres, as in :mod:`hoi_lib.standin_skeleton`. The skin is the zero level of a smooth union of tapered capsules
(palm) and of fingers with an elliptic profile. The vertices are not cut out of it: they are laid on it in rings around
each finger and in rows across the palm, three rings to a knuckle, so that a bent finger folds where a finger folds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hoi_lib.standin_skeleton import TIPS, WEB, Finger, skeleton

WRIST_CUT = 113.0  # the plane x of the open wrist
RING = 10  # vertices in a ring around a finger
ACROSS = ("index", "middle", "ring", "pinky")  # from the thumb's side to the other

# The palm as tapered capsules: start, end, radius at the start, radius at the end.
PALM = (
    ((90, 6, 16), (8, 5, 27), 13.0, 10.5),  # metacarpals
    ((92, 7, 7), (6, 8, 5), 13.5, 11.0),
    ((92, 6, -3), (13, 5, -16), 13.5, 10.5),
    ((90, 4, -10), (27, 0, -33), 13.0, 9.5),
    ((150, 6, 17), (86, 6, 16), 15.0, 14.0),  # forearm
    ((150, 6, -8), (86, 5, -8), 15.0, 14.0),
    ((150, 6, 5), (90, 6, 5), 16.0, 14.0),
    ((7.5, 8.5, 27), (4, 8.3, 27.3), 9.6, 9.0),  # knuckles
    ((5, 11.8, 5), (2, 11.6, 5), 9.9, 9.3),
    ((13, 8.6, -16), (10, 8.4, -16.3), 9.4, 8.9),
    ((26, 2.2, -33.5), (23, 2.0, -34), 8.6, 8.0),
    ((82, -5, 21), (50, -13, 46), 15.5, 13.5),  # thenar
    ((66, -11, 20), (38, -9, 27), 11.0, 8.5),
    ((86, 0, -15), (46, -5, -30), 14.5, 11.5),  # hypothenar
    ((66, -8, -16), (42, -8, -22), 9.0, 8.0),
    ((18, -2, 22), (28, -4, -24), 8.5, 8.0),  # the pads below the fingers
    ((24, 1, 33), (42, -9, 48), 6.0, 8.0),  # the skin between thumb and index
)


def skin(points: np.ndarray) -> np.ndarray:
    """Signed field of the whole hand, zero on the skin, negative inside, in about millimetres; points (…, 3)."""
    start, end, r0, r1 = (np.array(column, float) for column in zip(*PALM, strict=True))
    bone = end - start
    offset = points[..., None, :] - start
    t = np.clip((offset * bone).sum(-1) / (bone * bone).sum(-1), 0, 1)
    palm = _soft_min(np.linalg.norm(offset - t[..., None] * bone, axis=-1) - (r0 + (r1 - r0) * t), 3.2)
    fingers = _soft_min(np.stack([f.distance(points) for f in skeleton().values()], -1), 0.8)
    return _soft_min(np.stack([palm, fingers], -1), 2.2)


def _soft_min(x: np.ndarray, softness: float) -> np.ndarray:
    low = x.min(-1, keepdims=True)
    return low[..., 0] - softness * np.log(np.exp((low - x) / softness).sum(-1))


def onto_skin(points: np.ndarray, keep_x: np.ndarray, steps: int) -> np.ndarray:
    """Move points (n, 3) along the gradient onto the skin; where ``keep_x`` (n,) they stay in their plane of x."""
    for _ in range(steps):
        gradient = np.stack([skin(points + s) - skin(points - s) for s in 1e-4 * np.eye(3)], -1) / 2e-4
        gradient[keep_x, 0] = 0
        length2 = np.maximum((gradient**2).sum(-1), 0.05)
        points = points - np.clip(skin(points) / length2, -3, 3)[:, None] * gradient
    return points


class Sheet:
    """Vertices and triangles collected row by row."""

    def __init__(self):
        self.points, self.faces, self.owner, self.count = [], [], [], 0

    def add(self, points: np.ndarray, owner: str) -> np.ndarray:
        """Append points (n, 3) that belong to a finger or to the palm; returns their numbers."""
        ids = np.arange(self.count, self.count + len(points))
        self.points.append(points)
        self.owner += [owner] * len(points)
        self.count += len(points)
        return ids

    def stitch(self, lower, upper, lower_at=None, upper_at=None, closed=False) -> None:
        """Triangles between two rows of any lengths, always from the row that lags behind; ``*_at`` say where in
        [0, 1) each vertex of a closed row lies, even spacing by default."""
        a, b = list(lower), list(upper)
        if closed:
            a, b = [*a, a[0]], [*b, b[0]]
        pa = np.linspace(0, 1, len(a)) if lower_at is None else np.append(lower_at, 1 + lower_at[0])
        pb = np.linspace(0, 1, len(b)) if upper_at is None else np.append(upper_at, 1 + upper_at[0])
        i = j = 0
        while i < len(a) - 1 or j < len(b) - 1:
            if j == len(b) - 1 or (i < len(a) - 1 and pa[i] + pa[i + 1] <= pb[j] + pb[j + 1]):
                self.faces.append((a[i], a[i + 1], b[j]))
                i += 1
            else:
                self.faces.append((a[i], b[j + 1], b[j]))
                j += 1


def _ring(finger: Finger, x: float, slant: float = 0.0, lean: float = 0.0) -> np.ndarray:
    """A ring of 10 points around a finger, from the radial side over the back to the other side and the palm; its
    palm side lies ``2 slant`` further out than its back, its far side ``2 lean`` further than its radial side."""
    angle = 2 * np.pi * np.arange(RING) / RING
    at = x - slant * np.sin(angle) - lean * np.cos(angle)
    side, above, below = finger.widths(at).T
    height = np.where(np.sin(angle) > 0, above, below)
    past = np.clip((at - finger.profile[-1, 0]) / (finger.stations[-1] - finger.profile[-1, 0]), 0, 1)
    shrink = np.sqrt(1 - past**2)
    return finger.point(at, height * np.sin(angle) * shrink, side * np.cos(angle) * shrink)


def _cap(finger: Finger) -> tuple[np.ndarray, np.ndarray]:
    """Five points around the tip and the tip itself."""
    angle = 2 * np.pi * (np.arange(5) + 0.25) / 5
    end = finger.profile[-1, 0]
    at = np.full(5, end + 0.84 * (finger.stations[-1] - end))
    side, above, below = finger.widths(at).T
    height = np.where(np.sin(angle) > 0, above, below)
    ring = finger.point(at, 0.54 * height * np.sin(angle), 0.54 * side * np.cos(angle))
    return ring, finger.point(np.array([finger.stations[-1]]), np.array([-0.3]), np.zeros(1))


def _grow(sheet: Sheet, name: str, base: np.ndarray, base_at: np.ndarray | None = None) -> np.ndarray:
    """Grow a finger out of its base loop: rings, then a cap; returns the numbers of (cap ring of 5, tip)."""
    finger = skeleton()[name]
    lower, at = base, base_at
    for k, x in enumerate(finger.rings):
        lean = (5.0, 1.0, 0.0)[min(k, 2)] if name == "thumb" else 0.0
        ring = sheet.add(_ring(finger, x, lean=lean), "palm" if name == "thumb" and k == 0 else name)
        upper_at = np.arange(RING) / RING if at is not None else None
        sheet.stitch(lower, ring, at, upper_at, closed=True)
        lower, at = ring, None
    ring, tip = _cap(finger)
    ring, tip = sheet.add(ring, name), sheet.add(tip, name)
    sheet.stitch(lower, ring, np.arange(RING) / RING, (np.arange(5) + 0.25) / 5, closed=True)
    sheet.faces += [(ring[i], ring[(i + 1) % 5], tip[0]) for i in range(5)]
    return np.append(ring, tip)


def _knuckle_row(x: float, slant: float) -> np.ndarray:
    """A loop of 34 points around the four fingers together, a share ``x`` of the way from knuckles to webs."""
    rings = [_ring(skeleton()[name], x * WEB[name], slant) for name in ACROSS]
    back = np.vstack([r[1:5] for r in rings])
    front = np.vstack([r[6:10] for r in rings[::-1]])
    return np.vstack([rings[0][:1], back, rings[-1][5:6], front])


def _resample(loop: np.ndarray, back: int, front: int) -> np.ndarray:
    """A loop of 34 (side, 16 back, side, 16 front) with other numbers of points on the back and on the front."""

    def along(points, n):
        u = np.linspace(0, len(points) - 1, n + 2)
        return np.stack([np.interp(u, np.arange(len(points)), c) for c in points.T], -1)

    upper, lower = along(loop[:18], back), along(np.vstack([loop[17:], loop[:1]]), front)
    return np.vstack([upper[:-1], lower[:-1]])


def _wrist_loop() -> np.ndarray:
    angle = 2 * np.pi * np.arange(34) / 34
    return np.stack([np.full(34, WRIST_CUT), 6 + 17 * np.sin(angle), 4.5 + 29 * np.cos(angle)], -1)


# rows of the palm from knuckles to wrist: share of the way, points on the back, on the front, open for the thumb
ROWS = (
    (0.10, 15, 15, False),
    (0.26, 11, 10, True),
    (0.42, 9, 9, True),
    (0.56, 8, 8, True),
    (0.70, 9, 9, False),
    (0.85, 8, 8, False),
    (1.00, 7, 7, False),
)


@dataclass(frozen=True)
class HandMesh:
    """``vertices`` (778, 3) in millimetres, ``faces`` (1538, 3), ``owner`` (778,) a finger's name or "palm",
    ``tips`` by finger the numbers of the five vertices around the tip and of the tip."""

    vertices: np.ndarray
    faces: np.ndarray
    owner: np.ndarray
    tips: dict[str, np.ndarray]


def build_mesh() -> HandMesh:
    """Lay the vertices on the skin: palm, knuckles and webs, fingers, thumb; then even them out."""
    sheet = Sheet()
    rows = _palm_rows(sheet)
    bases = _webs(sheet, rows[0])
    tips = {name: _grow(sheet, name, base) for name, base in bases.items()}
    hole, at = _thumb_hole(sheet, rows)
    tips["thumb"] = _grow(sheet, "thumb", hole, at)
    points, faces, owner = np.vstack(sheet.points), np.array(sheet.faces), np.array(sheet.owner)
    wrist = np.zeros(len(points), bool)
    wrist[rows[-1]] = True
    points = _even_out(points, faces, owner, wrist)
    return _renumber(HandMesh(points, faces, owner, tips))


def _palm_rows(sheet: Sheet) -> list[np.ndarray]:
    """Rows from the base of the fingers to the wrist, stitched; open ones leave a hole for the thumb."""
    base = sheet.add(_knuckle_row(1.0, 3.0), "base")
    rows = [base]
    for x, slant in ((0.5, 1.0), (0.0, 0.0)):
        rows.append(sheet.add(_knuckle_row(x, slant), "palm"))
        sheet.stitch(rows[-1], rows[-2], closed=True)
    start, end = _knuckle_row(0.0, 0.0), _wrist_loop()
    wide = False  # does the row above lie open for the thumb?
    for share, back, front, opened in ROWS:
        full = (back + 3, front + 3) if opened else (back, front)
        loop = (1 - share) * _resample(start, *full) + share * _resample(end, *full)
        kept = loop[3:-2] if opened else loop  # without the side and two neighbours at either end
        rows.append(sheet.add(kept, "palm"))
        lower, upper = rows[-1], rows[-2]
        if opened or wide:
            lower, upper = _opened(lower, opened), _opened(upper, wide)
        sheet.stitch(lower, upper, closed=not (opened or wide))
        wide = opened
    return rows


def _opened(row: np.ndarray, already: bool) -> np.ndarray:
    """A closed loop without its point on the thumb's side."""
    return row if already else row[1:]


def _webs(sheet: Sheet, base: np.ndarray) -> dict[str, np.ndarray]:
    """Close the gaps between the fingers; returns the base loop of each finger."""
    back, front = base[1:17].reshape(4, 4), base[18:34].reshape(4, 4)[::-1]
    radial, ulnar = [base[0]], []
    for k in range(3):
        ring_a, ring_b = (_ring(skeleton()[n], WEB[n], 3.0) for n in ACROSS[k : k + 2])
        u, r = sheet.add(np.vstack([ring_a[5], ring_b[0]]), "base")
        ulnar.append(u)
        radial.append(r)
        a, b, c, d = back[k][3], back[k + 1][0], front[k][0], front[k + 1][3]
        sheet.faces += [(a, b, r), (a, r, u), (u, r, d), (u, d, c)]
    ulnar.append(base[17])
    return {name: np.array([radial[i], *back[i], ulnar[i], *front[i]]) for i, name in enumerate(ACROSS)}


def _thumb_hole(sheet: Sheet, rows: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The loop of 12 left open for the thumb and where around the thumb each of its points lies, in [0, 1)."""
    top, a, b, c, low = rows[3], rows[4], rows[5], rows[6], rows[7]
    loop = np.array(
        [low[0], low[1], c[0], b[0], a[0], top[1], top[0], top[-1], a[-1], b[-1], c[-1], low[-1]],
    )
    points = np.vstack(sheet.points)[loop]
    centre = points - points.mean(0)
    thumb = skeleton()["thumb"]
    at = np.unwrap(np.arctan2(centre @ thumb.dorsal, centre @ thumb.axis)) / (2 * np.pi)
    first = np.argmin(np.abs(at - np.round(at)))
    loop = np.roll(loop, -first)
    at = np.roll(at, -first)
    at = np.unwrap((at - at[0]) * 2 * np.pi) / (2 * np.pi)
    return loop, at


def _even_out(points, faces, owner, wrist, rounds: int = 60) -> np.ndarray:
    """Spread the palm's vertices evenly on the skin; fingers keep their rings, the wrist its plane."""
    link = mean_of_neighbours(faces, len(points))
    free = np.isin(owner, ["palm", "base"]) & ~wrist
    points = onto_skin(points, wrist, 6)
    for _ in range(rounds):
        points[free] += 0.5 * (link[free] @ points - points[free])
        points = onto_skin(points, wrist, 1)
    return onto_skin(points, wrist, 4)


def mean_of_neighbours(faces: np.ndarray, count: int) -> np.ndarray:
    """The matrix (count, count) that replaces each vertex by the mean of the vertices it shares an edge with."""
    link = np.zeros((count, count))
    for i, j in ((0, 1), (1, 2), (2, 0)):
        link[faces[:, i], faces[:, j]] = link[faces[:, j], faces[:, i]] = 1
    return link / link.sum(1, keepdims=True)


def _renumber(mesh: HandMesh) -> HandMesh:
    """Put the fingertips at the numbers where smplx and Text2HOI look for them."""
    wanted = {}
    for name, ids in mesh.tips.items():
        ring, tip = ids[:5], ids[5]
        height = skeleton()[name].local(mesh.vertices[ring])[:, 1]
        wanted[TIPS["text2hoi"][name]] = tip
        wanted[TIPS["smplx"][name]] = ring[np.argmin(height)]
    rest = iter(np.setdiff1d(np.arange(len(mesh.vertices)), list(wanted.values())))
    order = np.array([wanted[i] if i in wanted else next(rest) for i in range(len(mesh.vertices))])
    where = np.argsort(order)
    tips = {name: where[ids] for name, ids in mesh.tips.items()}
    return HandMesh(mesh.vertices[order], where[mesh.faces], mesh.owner[order], tips)
