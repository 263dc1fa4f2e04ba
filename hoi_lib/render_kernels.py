"""The inner loops of :mod:`hoi_lib.render`, compiled by warp-lang for the CPU: find what is seen, light what is found.

One rasteriser serves the eye and every light: it is given points already projected (pixel x, pixel y, nearness) and
keeps the nearest face at every pixel centre. The shading kernels then work once per pixel, or once per sub-pixel where
a silhouette or a crease runs through it.
"""

# ruff: noqa: UP018, SIM102 - warp takes float(0.0) for a variable and evaluates both sides of an `and`
from __future__ import annotations

import warp as wp

EMPTY = wp.constant(-1.0e9)
wp.set_module_options({"enable_backward": False})


@wp.struct
class Eye:
    """Where the picture is taken from: see :class:`hoi_lib.render.Camera`."""

    position: wp.vec3
    right: wp.vec3
    up: wp.vec3
    back: wp.vec3
    focal: float


@wp.struct
class Lights:
    """N directions of light and their shadow maps (N, S, S) over a sphere of ``radius`` about ``centre``."""

    direction: wp.array(dtype=wp.vec3)
    across: wp.array(dtype=wp.vec3)
    along: wp.array(dtype=wp.vec3)
    color: wp.array(dtype=wp.vec3)
    near: wp.array3d(dtype=float)
    centre: wp.vec3
    radius: float
    offset: float
    keys: int


@wp.struct
class Surface:
    """F faces with their corners, normals per corner, linear colours per corner and the mesh they belong to."""

    faces: wp.array(dtype=wp.vec3i)
    points: wp.array(dtype=wp.vec3)
    normals: wp.array2d(dtype=wp.vec3)
    colors: wp.array2d(dtype=wp.vec3)
    owner: wp.array(dtype=int)


@wp.kernel
def rasterise(
    points: wp.array2d(dtype=wp.vec3),
    faces: wp.array(dtype=wp.vec3i),
    near: wp.array3d(dtype=float),
    ids: wp.array3d(dtype=int),
):
    """Keep the nearest face at each pixel centre; ``points`` (N, V) hold pixel x, pixel y, nearness."""
    n, f = wp.tid()
    face = faces[f]
    a = points[n, face[0]]
    b = points[n, face[1]]
    c = points[n, face[2]]
    # most faces of a shadow map miss every pixel centre: leave early
    left = wp.max(int(wp.ceil(wp.min(wp.min(a[0], b[0]), c[0]) - 0.5)), 0)
    right = wp.min(int(wp.floor(wp.max(wp.max(a[0], b[0]), c[0]) - 0.5)), near.shape[2] - 1)
    if left > right:
        return
    top = wp.max(int(wp.ceil(wp.min(wp.min(a[1], b[1]), c[1]) - 0.5)), 0)
    bottom = wp.min(int(wp.floor(wp.max(wp.max(a[1], b[1]), c[1]) - 0.5)), near.shape[1] - 1)
    if top > bottom:
        return
    ab = b - a
    ac = c - a
    area = ab[0] * ac[1] - ab[1] * ac[0]
    if wp.abs(area) < 1.0e-9:
        return
    share = 1.0 / area
    for y in range(top, bottom + 1):
        py = float(y) + 0.5 - a[1]
        for x in range(left, right + 1):
            px = float(x) + 0.5 - a[0]
            v = (px * ac[1] - py * ac[0]) * share
            w = (ab[0] * py - ab[1] * px) * share
            if v >= 0.0 and w >= 0.0 and v + w <= 1.0:
                z = a[2] + v * ab[2] + w * ac[2]
                if z > near[n, y, x]:
                    near[n, y, x] = z
                    if ids.shape[0] > 0:
                        ids[n, y, x] = f


@wp.func
def visible(lights: Lights, i: int, point: wp.vec3) -> float:
    """1 if light ``i`` reaches ``point``, else 0; what lies outside the map is lit."""
    size = lights.near.shape[1]
    local = point - lights.centre
    scale = 0.5 * float(size) / lights.radius
    x = int(wp.floor(wp.dot(local, lights.across[i]) * scale + 0.5 * float(size)))
    y = int(wp.floor(wp.dot(local, lights.along[i]) * scale + 0.5 * float(size)))
    if x < 0 or y < 0 or x >= size or y >= size:
        return 1.0
    if lights.near[i, y, x] > wp.dot(local, lights.direction[i]) + lights.offset:
        return 0.0
    return 1.0


@wp.func
def ray(eye: Eye, x: float, y: float, width: float, height: float) -> wp.vec3:
    """Unit direction from the eye through a point of the picture, both in the same (sub-)pixels."""
    half = 0.5 * height
    across = (x - 0.5 * width) / (half * eye.focal)
    upward = (half - y) / (half * eye.focal)
    return wp.normalize(eye.right * across + eye.up * upward - eye.back)


@wp.func
def lit(lights: Lights, point: wp.vec3, flat: wp.vec3, normal: wp.vec3, view: wp.vec3, albedo: wp.vec3) -> wp.vec3:
    """Light that leaves ``point`` towards the eye.

    Diffuse light, of which a part is scattered inside and leaves in the surface's own colour past the terminator;
    a broad, weak highlight; a slight sheen at grazing angles.
    """
    bleed = albedo / wp.max(wp.max(albedo[0], wp.max(albedo[1], albedo[2])), 1.0e-3)
    start = point + flat * (2.5 * lights.offset)
    hard = wp.vec3(0.0, 0.0, 0.0)
    soft = wp.vec3(0.0, 0.0, 0.0)
    key = float(0.0)
    for i in range(lights.direction.shape[0]):
        cosine = wp.dot(normal, lights.direction[i])
        if cosine > -0.2:
            if visible(lights, i, start) > 0.0:
                wrapped = (cosine + 0.2) / 1.2
                soft += lights.color[i] * (wrapped * wrapped)
                if cosine > 0.0:
                    hard += lights.color[i] * cosine
                    if i < lights.keys:
                        key += 1.0 / float(lights.keys)
    middle = wp.normalize(lights.direction[0] + view)
    shine = key * wp.pow(wp.max(wp.dot(normal, middle), 0.0), 28.0)
    grazing = wp.pow(1.0 - wp.clamp(wp.dot(normal, view), 0.0, 1.0), 4.0)
    diffuse = wp.cw_mul(hard, wp.vec3(1.0, 1.0, 1.0) - 0.55 * bleed) + wp.cw_mul(soft, 0.55 * bleed)
    return wp.cw_mul(albedo, diffuse) + wp.vec3(1.0, 0.98, 0.95) * (0.055 * shine) + 0.07 * grazing * hard


@wp.func
def shade(surface: Surface, lights: Lights, eye: Eye, f: int, direction: wp.vec3) -> wp.vec3:
    """Colour of face ``f`` where the ray from the eye meets its plane."""
    face = surface.faces[f]
    a = surface.points[face[0]]
    ab = surface.points[face[1]] - a
    ac = surface.points[face[2]] - a
    flat = wp.cross(ab, ac)
    h = wp.cross(direction, ac)
    det = wp.dot(ab, h)
    if wp.abs(det) < 1.0e-14:
        det = 1.0e-14
    s = eye.position - a
    q = wp.cross(s, ab)
    v = wp.dot(s, h) / det
    w = wp.dot(direction, q) / det
    # a silhouette pixel may lie just outside its face: stay on it
    v = wp.clamp(v, 0.0, 1.0)
    w = wp.clamp(w, 0.0, 1.0 - v)
    u = 1.0 - v - w
    point = a + ab * v + ac * w
    normal = wp.normalize(surface.normals[f, 0] * u + surface.normals[f, 1] * v + surface.normals[f, 2] * w)
    albedo = surface.colors[f, 0] * u + surface.colors[f, 1] * v + surface.colors[f, 2] * w
    flat = wp.normalize(flat)
    if wp.dot(flat, direction) > 0.0:
        flat = -flat
        normal = -normal
    return lit(lights, point, flat, normal, -direction, albedo)


@wp.kernel
def draw(
    surface: Surface,
    lights: Lights,
    eye: Eye,
    samples: int,
    near: wp.array2d(dtype=float),
    ids: wp.array2d(dtype=int),
    hidden: wp.array2d(dtype=float),
    out: wp.array2d(dtype=wp.vec4),
):
    """Colour and coverage of each pixel from ``samples``² sub-pixels, of what is nearer than ``hidden``."""
    y, x = wp.tid()
    width = float(near.shape[1])
    height = float(near.shape[0])
    count = int(0)
    plain = int(1)  # one smooth patch: shade it once
    first = int(-1)
    ref = wp.vec3(0.0, 0.0, 0.0)
    depth = float(0.0)
    for k in range(samples * samples):
        sy = y * samples + k // samples
        sx = x * samples + k % samples
        f = ids[sy, sx]
        if f >= 0 and near[sy, sx] > hidden[sy, sx]:
            count += 1
            n = surface.normals[f, 0] + surface.normals[f, 1] + surface.normals[f, 2]
            if first < 0:
                first = f
                ref = wp.normalize(n)
                depth = 1.0 / near[sy, sx]
            elif f != first:
                step = wp.abs(1.0 / near[sy, sx] - depth)
                if (
                    surface.owner[f] != surface.owner[first]
                    or wp.dot(wp.normalize(n), ref) < 0.9
                    or step > lights.offset
                ):
                    plain = 0
    total = wp.vec3(0.0, 0.0, 0.0)
    if count > 0 and plain == 1:
        middle = y * samples + samples // 2
        centre = x * samples + samples // 2
        f = ids[middle, centre]
        if f < 0 or near[middle, centre] <= hidden[middle, centre]:
            f = first
        direction = ray(eye, float(centre) + 0.5, float(middle) + 0.5, width, height)
        total = shade(surface, lights, eye, f, direction) * float(count)
    elif count > 0:
        for k in range(samples * samples):
            sy = y * samples + k // samples
            sx = x * samples + k % samples
            f = ids[sy, sx]
            if f >= 0 and near[sy, sx] > hidden[sy, sx]:
                direction = ray(eye, float(sx) + 0.5, float(sy) + 0.5, width, height)
                total += shade(surface, lights, eye, f, direction)
    share = 1.0 / float(samples * samples)
    out[y, x] = wp.vec4(total[0] * share, total[1] * share, total[2] * share, float(count) * share)


@wp.kernel
def ground_light(lights: Lights, eye: Eye, height_of_ground: float, out: wp.array2d(dtype=float)):
    """Share of the light from above that reaches the ground seen through each pixel; 1 where no ground is seen."""
    y, x = wp.tid()
    out[y, x] = 1.0
    direction = ray(eye, float(x) + 0.5, float(y) + 0.5, float(out.shape[1]), float(out.shape[0]))
    if direction[2] > -1.0e-3 or eye.position[2] <= height_of_ground:
        return
    point = eye.position + direction * ((height_of_ground - eye.position[2]) / direction[2])
    away = point - lights.centre
    reach = wp.sqrt(away[0] * away[0] + away[1] * away[1]) / lights.radius
    if reach > 6.0:
        return
    total = float(0.0)
    free = float(0.0)
    for i in range(lights.direction.shape[0]):
        cosine = lights.direction[i][2]
        if cosine > 0.0:
            weight = cosine * lights.color[i][1]
            total += weight
            free += weight * visible(lights, i, point + wp.vec3(0.0, 0.0, lights.offset))
    fade = wp.smoothstep(6.0, 3.0, reach)
    out[y, x] = 1.0 - fade * (1.0 - free / total)
