"""Endless plausible things to grasp: lathed vases and superquadrics, each a function of its seed."""

from __future__ import annotations

import numpy as np

from hoi_lib.catalogue import Solid, centred
from hoi_lib.shapes import circle, fillet, interpolate, sweep, tube

TRAINING_SEEDS = range(1_000_000)  # every synthetic set draws from these
HELD_OUT_SEEDS = tuple(range(1_000_000, 1_000_020))  # never seen in any training: a user's own mesh is like these


def random_solid(seed: int) -> Solid:
    """A graspable thing that is a function of ``seed``: 30–85 mm across, 50–190 mm tall, centred, z up.

    Half of the seeds give a lathe with a smooth random profile, a third of those hollow; the others a superquadric
    with a taper, a bulge and a lean of its own.
    """
    rng = np.random.default_rng([7211, seed])
    return centred(_lathe(rng) if rng.random() < 0.5 else _superquadric(rng))


def _lathe(rng: np.random.Generator) -> Solid:
    height, widest = rng.uniform(0.06, 0.19), rng.uniform(0.017, 0.042)
    shares = rng.uniform(0.45, 1.0, rng.integers(3, 6))
    heights = np.linspace(-height / 2, height / 2, len(shares))
    z, radius = interpolate(np.column_stack([heights, widest * shares / shares.max()]), 22).T
    edge = min(0.006, 0.4 * radius.min())
    points, edges = [(0.3 * radius[0], z[0]), *zip(radius, z, strict=True)], [edge, *[0.0] * 20]
    if rng.random() < 1 / 3 and radius.min() > 0.014:
        wall = 0.0045
        inside = [(r - wall, h) for r, h in zip(radius, z, strict=True) if h > z[0] + 1.5 * wall][::-1]
        points += [*inside, (0.3 * radius[0], inside[-1][1])]
        edges += [0.45 * wall, 0.45 * wall, *[0.0] * (len(inside) - 2), 0.004]
    else:
        points.append((0.3 * radius[-1], z[-1]))
        edges.append(edge)
    profile = fillet(points, edges)
    return Solid((sweep(circle(widest), np.column_stack([widest - profile[:, 0], profile[:, 1]])),))


def _superquadric(rng: np.random.Generator) -> Solid:
    half = rng.uniform([0.017, 0.015, 0.025], [0.040, 0.036, 0.085])
    plan, upright = rng.uniform(2, 6), rng.uniform(2, 7)
    taper, bulge, lean = rng.uniform([-0.3, -0.15, -0.012], [0.3, 0.15, 0.012])
    polar = np.linspace(-np.pi / 2, np.pi / 2, 36)[1:-1]
    c, s = np.cos(polar), np.sin(polar)
    reach = (np.abs(c) ** upright + np.abs(s) ** upright) ** (-1 / upright)
    z, share = reach * s, reach * c * (1 + taper * reach * s) * (1 - bulge * np.cos(np.pi * reach * s))
    share /= share.max()
    path = np.column_stack([lean * z**2, 0 * z, half[2] * z])
    return Solid((tube(path, share[:, None] * half[:2], exponent=plan, count=40),))
