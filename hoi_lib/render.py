"""Pictures of meshes on a CPU, with no display: soft light, smooth normals, a shadow on the ground.

A rasteriser finds the face under every sub-pixel; every visible point is then lit by a soft key light and a sky of
many directions, each with its own small shadow map, so that shadows and the darkening of creases come out smooth and
free of noise. The inner loops are `warp-lang` kernels, compiled once (2 s) and cached on disk.

V vertices, F faces, N lights, H and W the height and width of the picture. World frame with z up, metres. Colours are
sRGB in [0, 1] outside this file and linear light inside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from hoi_lib.drawables import Mesh, corner_normals, rounded

VIEWS = {
    "front": (0.0, 12.0),
    "back": (180.0, 12.0),
    "left": (-90.0, 12.0),
    "right": (90.0, 12.0),
    "top": (0.0, 89.0),
    "three_quarter": (35.0, 24.0),
    "three_quarter_left": (-35.0, 24.0),
    "behind": (145.0, 24.0),
    "palm": (0.0, 0.0, 90.0),
    "back_of_hand": (180.0, 0.0, -90.0),
    "thumb_side": (0.0, 89.0, 90.0),
}
"""Azimuth and elevation of the eye in degrees, and a roll. Azimuth 0 looks along +y with x to the right, 90 looks
along −x. The last three are for a right hand in MANO's rest frame and show it with its fingers up."""

BACKGROUND = "#FBFAF7"
FIELD = 18.0  # vertical angle of view in degrees: a mild perspective
FINE = 4000  # faces from which a mesh is drawn as it is


@dataclass(frozen=True)
class Camera:
    """An eye in perspective: ``axes`` (3, 3) with rows right, up, back; ``eye`` (3,); ``focal`` in half heights.

    ``upright`` says that the picture's up is the world's, so that a ground makes sense.
    """

    axes: np.ndarray
    eye: np.ndarray
    focal: float
    upright: bool = True

    def project(self, points: np.ndarray, width: int, height: int) -> np.ndarray:
        """Pixel x, pixel y and nearness (1 / depth) of ``points`` (V, 3), as (V, 3)."""
        local = (points - self.eye) @ self.axes.T
        near = 1.0 / np.maximum(-local[:, 2], 1e-6)
        scale = self.focal * height / 2 * near
        return np.stack([width / 2 + local[:, 0] * scale, height / 2 - local[:, 1] * scale, near], -1)


def camera(
    points: np.ndarray,
    view: str | tuple = "three_quarter",
    size: tuple[int, int] = (480, 480),
    zoom: float | int = 1.0,
    margin: float = 0.06,
    field: float | int = FIELD,
) -> Camera:
    """The eye from which all ``points`` (V, 3) just fill the picture.

    ``view`` is a name of :data:`VIEWS` or (azimuth, elevation[, roll]) in degrees; ``field`` is the vertical angle of
    view in degrees, small for a mild perspective. Give it the points of all frames to fix the eye over an animation.
    Raises ``ValueError`` for an unknown name.
    """
    if isinstance(view, str) and view not in VIEWS:
        raise ValueError(f"view {view!r}: expected one of {', '.join(VIEWS)} or (azimuth, elevation) in degrees")
    azimuth, elevation, *roll = VIEWS[view] if isinstance(view, str) else view
    axes = _axes(float(azimuth), float(elevation), float(roll[0]) if roll else 0.0)
    points = np.asarray(points, float).reshape(-1, 3)
    local = points @ axes.T
    focal = 1.0 / np.tan(np.radians(field / 2))
    slope = np.array([size[0] / size[1], 1.0]) * (1 - 2 * margin) / focal * zoom
    eye = np.array([*(local[:, :2].min(0) + local[:, :2].max(0)) / 2, 0.0])
    for _ in range(4):
        spread = np.abs(local[:, :2] - eye[:2]) / slope
        eye[2] = (local[:, 2] + spread.max(1)).max() + 1e-6
        # what is nearer looks larger, so the middle of the picture is not the middle of the box
        seen = (local[:, :2] - eye[:2]) / (eye[2] - local[:, 2])[:, None]
        eye[:2] += (seen.min(0) + seen.max(0)) / 2 * (eye[2] - local[:, 2].mean())
    return Camera(axes, eye @ axes, float(focal), upright=not (roll and roll[0]))


def _axes(azimuth: float, elevation: float, roll: float) -> np.ndarray:
    a, e, r = np.radians([azimuth, elevation, roll])
    back = np.array([np.sin(a) * np.cos(e), -np.cos(a) * np.cos(e), np.sin(e)])
    right = np.array([np.cos(a), np.sin(a), 0.0])
    up = np.cross(back, right)
    return np.stack([np.cos(r) * right + np.sin(r) * up, np.cos(r) * up - np.sin(r) * right, back])


def render(
    meshes: Mesh | Sequence[Mesh],
    view: str | tuple = "three_quarter",
    size: tuple[int, int] = (480, 480),
    shadow: bool = True,
    zoom: float | int = 1.0,
    eye: Camera | None = None,
    ground: float | int | None = None,
    background: object = BACKGROUND,
    samples: int = 3,
) -> np.ndarray:
    """Draw ``meshes`` and return the picture, (H, W, 3) uint8.

    ``view`` is a name of :data:`VIEWS` or (azimuth, elevation[, roll]) in degrees; ``size`` is (width, height). The
    eye is placed so that everything just fits and ``zoom`` (> 1 is nearer) is applied; ``eye`` from :func:`camera`
    overrides all three. A soft shadow falls on the ground at height ``ground`` in metres, by default the lowest
    vertex, unless ``shadow`` is False. Each pixel averages ``samples``² sub-pixels. Nothing to draw gives the empty
    ``background``.
    """
    meshes = [meshes] if isinstance(meshes, Mesh) else list(meshes)
    width, height = size
    canvas = np.broadcast_to(to_linear(rgb(background)), (height, width, 3)).copy()
    if not meshes:
        return np.uint8(to_srgb(canvas) * 255 + 0.5)
    points = np.concatenate([np.asarray(m.vertices, float).reshape(-1, 3) for m in meshes])
    eye = eye or camera(points, view, size, zoom)
    solid = [m for m in meshes if m.opacity >= 1]
    glass = [m for m in meshes if m.opacity < 1]
    painter = _Painter(eye, size, samples, bounds=_bounds(points))
    lights = painter.lights(solid)
    if shadow and eye.upright:
        level = float(points[:, 2].min()) if ground is None else ground
        share = painter.ground(lights, level)
        if glass:
            share = 0.5 * share + 0.5 * painter.ground(painter.lights(meshes), level)
        canvas *= (1 - 0.72 * (1 - share))[..., None]
    canvas = painter.paint(canvas, [_fine(m) for m in solid], lights, 1.0, opaque=True)
    centre = [np.mean(m.vertices, 0) @ eye.axes[2] for m in glass]
    for i in np.argsort(centre):
        canvas = painter.paint(canvas, [_fine(glass[i])], lights, glass[i].opacity)
    return np.uint8(to_srgb(canvas) * 255 + 0.5)


def seen(meshes: Sequence[Mesh], eye: Camera, size: tuple[int, int]) -> np.ndarray:
    """Number of the mesh that is nearest at each pixel, (H, W), −1 where there is none."""
    painter = _Painter(eye, size, 1, bounds=(np.zeros(3), 1.0))
    vertices, faces, _ = _join(list(meshes))
    _, ids = painter.raster(eye.project(vertices, *size)[None], faces, (size[1], size[0]), keep_ids=True)
    owner = np.append(np.repeat(np.arange(len(meshes)), [len(m.faces) for m in meshes]), -1)
    return owner[ids.numpy()[0]]


def rgb(color: object) -> np.ndarray:
    """sRGB (3,) in [0, 1] of any colour that matplotlib takes."""
    from matplotlib.colors import to_rgb

    return np.array(to_rgb(color))


def to_linear(srgb: np.ndarray) -> np.ndarray:
    """Linear light of sRGB values in [0, 1]."""
    srgb = np.asarray(srgb, float)
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def softened(linear: np.ndarray) -> np.ndarray:
    """Linear light with a soft shoulder above 0.8, which keeps highlights from clipping."""
    return np.minimum(linear, 0.8) + 0.2 * np.tanh(np.maximum(linear - 0.8, 0) / 0.2)


def to_srgb(linear: np.ndarray) -> np.ndarray:
    """sRGB values of linear light in [0, 1]."""
    linear = np.clip(linear, 0, 1)
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)


def _fine(mesh: Mesh) -> Mesh:
    return rounded(mesh) if len(mesh.faces) < FINE else mesh


def _bounds(points: np.ndarray) -> tuple[np.ndarray, float]:
    """Centre and radius of a sphere about ``points``."""
    centre = (points.min(0) + points.max(0)) / 2
    return centre, float(np.linalg.norm(points - centre, axis=1).max()) * 1.02 + 1e-4


@lru_cache(maxsize=16)
def _light_rig(azimuth: float, detail: float) -> tuple[np.ndarray, np.ndarray, int]:
    """Directions (N, 3) and linear colours (N, 3) of the lights, the first of which are the key light.

    A warm key light of 15° half width from the eye's upper left, a cool sky that is brighter above and in front, and
    a warm reflection from the ground; written for an eye at azimuth 0 and turned with it. ``detail`` scales how many
    directions stand for each.
    """
    key = _spread(int(30 * detail), np.cos(np.radians(15)), 1.0) @ _frame(np.array([-0.55, -0.5, 1.0]))
    sky = _spread(int(72 * detail), -0.1, 1.0)
    bounce = _spread(int(16 * detail), -1.0, -0.1)
    front = 0.75 - 0.25 * sky[:, 1:2]
    key_color = np.tile([[1.05, 1.0, 0.92]], (len(key), 1)) * 0.86 / len(key)
    sky_color = np.array([[0.93, 0.97, 1.05]]) * front * (0.45 + 0.55 * sky[:, 2:]) * 1.62 / len(sky)
    bounce_color = np.tile([[1.0, 0.92, 0.82]], (len(bounce), 1)) * 0.40 / len(bounce)
    turn = np.radians(azimuth)
    spin = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    return np.concatenate([key, sky, bounce]) @ spin.T, np.concatenate([key_color, sky_color, bounce_color]), len(key)


def _spread(count: int, low: float, high: float) -> np.ndarray:
    """Unit vectors (count, 3), evenly spread over the part of the sphere with ``low`` < z < ``high``."""
    k = np.arange(count)
    z = high - (high - low) * (k + 0.5) / count
    turn = k * np.pi * (3 - np.sqrt(5))
    ring = np.sqrt(1 - z**2)
    return np.stack([ring * np.cos(turn), ring * np.sin(turn), z], -1)


def _frame(z: np.ndarray) -> np.ndarray:
    """A rotation (3, 3) whose last row points along ``z``."""
    z = z / np.linalg.norm(z)
    x = np.cross([0.0, 0.0, 1.0], z)
    x /= np.linalg.norm(x)
    return np.stack([x, np.cross(z, x), z])


class _Painter:
    """Buffers and kernels for one picture."""

    def __init__(self, eye: Camera, size: tuple[int, int], samples: int, bounds: tuple[np.ndarray, float]) -> None:
        self.eye, self.size, self.samples, self.bounds = eye, size, samples, bounds
        from hoi_lib.warp_start import start_warp

        self.wp = start_warp()
        from hoi_lib import render_kernels

        self.kernels = render_kernels
        self.hidden = self._full((size[1] * samples, size[0] * samples), self.kernels.EMPTY)
        struct = self.kernels.Eye()
        struct.position = self.wp.vec3(*eye.eye)
        struct.right, struct.up, struct.back = (self.wp.vec3(*row) for row in eye.axes)
        struct.focal = eye.focal
        self.eye_struct = struct

    def _full(self, shape: tuple, value: float | int, dtype: type = float) -> object:
        return self.wp.full(shape, value, dtype=dtype, device="cpu")

    def _array(self, values: np.ndarray, dtype: object) -> object:
        kind = np.int32 if np.issubdtype(values.dtype, np.integer) else np.float32
        return self.wp.array(np.ascontiguousarray(values, dtype=kind), dtype=dtype, device="cpu")

    def raster(self, points: np.ndarray, faces: np.ndarray, shape: tuple, keep_ids: bool) -> tuple:
        """Nearness (N, H, W) and face (N, H, W) of ``points`` (N, V, 3), already projected."""
        near = self._full((len(points), *shape), self.kernels.EMPTY)
        ids = self._full((len(points), *shape) if keep_ids else (0, 0, 0), -1, int)
        if len(faces):
            vectors = self._array(points, self.wp.vec3)
            inputs = [vectors, self._array(faces, self.wp.vec3i), near, ids]
            self.wp.launch(self.kernels.rasterise, dim=(len(points), len(faces)), inputs=inputs, device="cpu")
        return near, ids

    def lights(self, meshes: list[Mesh]) -> object:
        """The lights with shadow maps of ``meshes``."""
        vertices, faces, _ = _join(meshes)
        axes = self.eye.axes
        detail = 1.0 if max(self.size) > 400 else 0.6
        if self.eye.upright:
            azimuth = round(float(np.degrees(np.arctan2(axes[0, 1], axes[0, 0]))), 3)
            directions, colors, keys = _light_rig(azimuth, detail)
        else:  # a rolled picture is lit from its own upper left
            directions, colors, keys = _light_rig(0.0, detail)
            directions = directions @ np.stack([axes[0], -axes[2], axes[1]])
        across, along = _tangents(directions)
        centre, radius = self.bounds
        resolution = int(np.clip(max(self.size) * 0.42, 128, 240))
        local = (vertices - centre) / radius
        maps = np.stack([local @ across.T, local @ along.T, local @ directions.T], -1).transpose(1, 0, 2)
        maps = maps * [resolution / 2, resolution / 2, radius] + [resolution / 2, resolution / 2, 0]
        rig = self.kernels.Lights()
        rig.near, _ = self.raster(maps, faces, (resolution, resolution), keep_ids=False)
        vec3 = self.wp.vec3
        rig.direction, rig.color = self._array(directions, vec3), self._array(colors, vec3)
        rig.across, rig.along = self._array(across, vec3), self._array(along, vec3)
        rig.centre, rig.radius, rig.offset, rig.keys = vec3(*centre), radius, 1.4 * radius / resolution, keys
        return rig

    def ground(self, lights: object, level: float) -> np.ndarray:
        """Share of the light that reaches the ground at height ``level``, (H, W)."""
        from scipy.ndimage import gaussian_filter, zoom

        half = -(-self.size[1] // 2), -(-self.size[0] // 2)  # soft enough for half the resolution
        out = self._full(half, 1.0)
        inputs = [lights, self.eye_struct, level, out]
        self.wp.launch(self.kernels.ground_light, dim=out.shape, inputs=inputs, device="cpu")
        share = gaussian_filter(out.numpy(), max(self.size) / 400, mode="nearest")
        return zoom(share, 2, order=1, mode="nearest", grid_mode=True)[: self.size[1], : self.size[0]]

    def paint(
        self, canvas: np.ndarray, meshes: list[Mesh], lights: object, opacity: float | int, opaque: bool = False
    ) -> np.ndarray:
        """Lay ``meshes`` over ``canvas`` (H, W, 3) where nothing opaque is nearer; returns the new canvas."""
        if not meshes:
            return canvas
        vertices, faces, colors = _join(meshes)
        shape = self.size[1] * self.samples, self.size[0] * self.samples
        screen = self.eye.project(vertices, shape[1], shape[0])
        near, ids = self.raster(screen[None], faces, shape, keep_ids=True)
        surface = self.kernels.Surface()
        vec3 = self.wp.vec3
        surface.faces, surface.points = self._array(faces, self.wp.vec3i), self._array(vertices, vec3)
        surface.normals = self._array(corner_normals(vertices, faces), vec3)
        surface.colors = self._array(to_linear(colors)[faces], vec3)
        owner = np.repeat(np.arange(len(meshes)), [len(m.faces) for m in meshes])
        surface.owner = self._array(owner, int)
        out = self.wp.zeros((self.size[1], self.size[0]), dtype=self.wp.vec4, device="cpu")
        inputs = [surface, lights, self.eye_struct, self.samples, near[0], ids[0], self.hidden, out]
        self.wp.launch(self.kernels.draw, dim=out.shape, inputs=inputs, device="cpu")
        if opaque:
            self.hidden = near[0]
        layer = out.numpy()
        return canvas * (1 - opacity * layer[..., 3:]) + opacity * softened(layer[..., :3])


def _join(meshes: list[Mesh]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices (V, 3), faces (F, 3) and sRGB colours (V, 3) of all meshes together."""
    vertices, faces, colors, start = [np.zeros((0, 3))], [np.zeros((0, 3), int)], [np.zeros((0, 3))], 0
    for m in meshes:
        v = np.asarray(m.vertices, float).reshape(-1, 3)
        vertices.append(v)
        faces.append(np.asarray(m.faces, int) + start)
        plain = np.broadcast_to(rgb(m.color), v.shape) if m.vertex_colors is None else m.vertex_colors
        colors.append(np.asarray(plain, float)[:, :3])
        start += len(v)
    return np.concatenate(vertices), np.concatenate(faces), np.concatenate(colors)


def _tangents(directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two unit vectors (N, 3) across each direction, turned differently for each so that map texels never line up."""
    helper = np.where(np.abs(directions[:, 2:]) < 0.9, [[0.0, 0.0, 1.0]], [[1.0, 0.0, 0.0]])
    a = np.cross(helper, directions)
    a /= np.linalg.norm(a, axis=1, keepdims=True)
    b = np.cross(directions, a)
    turn = np.arange(len(directions))[:, None] * 0.7
    return np.cos(turn) * a + np.sin(turn) * b, np.cos(turn) * b - np.sin(turn) * a
