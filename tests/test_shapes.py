"""Surfaces from formulas are closed, look outwards, and have the volume that the formula gives."""

import numpy as np
import pytest

from hoi_lib.shapes import (
    block,
    circle,
    cylinder,
    densify,
    fillet,
    hull,
    interpolate,
    loft,
    rounded_rectangle,
    sphere,
    superellipse,
    sweep,
    torus,
    tube,
    union,
)
from hoi_lib.topology import is_closed


def shapes():
    profile = np.array([(0.01, 0.0), (0.0, 0.0), (0.0, 0.05), (0.004, 0.05), (0.004, 0.004), (0.02, 0.004)])
    arc = np.linspace(-1, 1, 9)
    path = np.column_stack([0.03 * np.cos(arc), 0 * arc, 0.03 * np.sin(arc)])
    return {
        "block": block(0.04, 0.05, -0.01, 0.02, corner=0.004, edge=0.003),
        "sharp block": block(0.04, 0.05, -0.01, 0.02),
        "edge as round as the corner": block(0.04, 0.05, -0.01, 0.02, corner=0.003, edge=0.003),
        "cylinder": cylinder(0.02, -0.01, 0.01, edge=0.002),
        "sphere": sphere(0.03),
        "torus": torus(0.03, 0.004),
        "hollow": sweep(circle(0.03), profile),
        "tube": tube(path, np.full((9, 2), 0.004), up=(0, 1, 0), ends=(0.004, 0.002)),
        "union": block(0.04, 0.04, 0, 0.01) | sphere(0.012),
        "difference": block(0.04, 0.04, 0, 0.01) - cylinder(0.01, -1, 1),
        "turned": tube(path, np.full((9, 2), 0.004), up=(0, 1, 0)).along("x").moved(0.1, 0.2, 0.3),
    }


@pytest.mark.parametrize("name", shapes())
def test_every_surface_is_closed_and_looks_outwards(name):
    surface = shapes()[name]
    assert is_closed(surface.faces)
    assert surface.volume > 0


def test_volumes_are_those_of_the_formulas():
    assert block(0.04, 0.05, -0.01, 0.02).volume == pytest.approx(0.04 * 0.05 * 0.03, rel=1e-9)
    assert sphere(0.03, 5).volume == pytest.approx(4 / 3 * np.pi * 0.03**3, rel=2e-3)
    area = 40 / 2 * np.sin(2 * np.pi / 40)  # a polygon of 40 sides in the unit circle
    assert cylinder(0.02, -0.01, 0.02).volume == pytest.approx(area * 0.02**2 * 0.03, rel=1e-9)
    straight = tube([[0, 0, 0], [0, 0, 0.01], [0, 0, 0.03]], np.full((3, 2), 0.02), count=40)
    assert straight.volume == pytest.approx(area * 0.02**2 * 0.03, rel=1e-9)


def test_booleans_obey_inclusion_and_exclusion():
    a, b = block(0.04, 0.04, 0, 0.02), block(0.04, 0.04, 0.01, 0.03).moved(x=0.01)
    shared = 0.03 * 0.04 * 0.01
    assert (a | b).volume == pytest.approx(a.volume + b.volume - shared, rel=1e-6)
    assert (a - b).volume == pytest.approx(a.volume - shared, rel=1e-6)
    assert union(a, b, a.moved(z=0.5)).volume == pytest.approx(2 * a.volume + b.volume - shared, rel=1e-6)


def test_a_rounded_block_has_the_volume_of_its_minkowski_sum():
    w, d, h, r = 0.04, 0.05, 0.06, 0.004
    a, b, c = w - 2 * r, d - 2 * r, h - 2 * r
    exact = a * b * c + 2 * r * (a * b + b * c + c * a) + np.pi * r * r * (a + b + c) + 4 / 3 * np.pi * r**3
    assert block(w, d, -h / 2, h / 2, corner=r, edge=r).volume == pytest.approx(exact, rel=2e-3)


def test_a_fillet_is_tangent_to_both_sides_and_keeps_its_radius():
    arc = fillet([(0, 0), (0.02, 0), (0.02, 0.02)], [0.005])[1:-1]
    assert np.allclose(np.linalg.norm(arc - [0.015, 0.005], axis=1), 0.005)
    assert np.allclose(arc[0], [0.015, 0]) and np.allclose(arc[-1], [0.02, 0.005])
    sharp = fillet([(0, 0), (0.02, 0), (0.02, 0.02)], [0.0])
    assert np.allclose(sharp, [(0, 0), (0.02, 0), (0.02, 0.02)])
    crowded = fillet([(0, 0), (0.02, 0), (0.02, 0.02)], [1.0])
    assert crowded.min() >= 0 and crowded.max() <= 0.02


def test_insets_of_a_rounded_rectangle_move_its_walls_by_exactly_as_much():
    outline = rounded_rectangle(0.04, 0.06, 0.006)
    for inset in (0.0, 0.002, 0.006):
        ring = outline(inset)
        assert np.allclose(ring.max(0), [0.02 - inset, 0.03 - inset])
        assert len(ring) == len(outline(0.0))
        x, y = ring.T
        assert (x * np.roll(y, -1) - np.roll(x, -1) * y).sum() > 0  # counter-clockwise


def test_a_superellipse_fulfils_its_equation():
    x, y = superellipse(np.array([0.03, 0.02]), 3.5).T
    assert np.allclose(np.abs(x / 0.03) ** 3.5 + np.abs(y / 0.02) ** 3.5, 1)


def test_densify_keeps_every_corner_and_bounds_every_segment():
    line = np.array([(0, 0), (0.05, 0), (0.05, 0.001)])
    dense = densify(line, 0.01)
    assert np.linalg.norm(np.diff(dense, axis=0), axis=1).max() <= 0.01 + 1e-12
    assert all(np.isclose(dense, corner).all(1).any() for corner in line)


def test_interpolation_passes_through_its_rows_and_never_overshoots():
    keys = [(0, 1.0), (1, 1.0), (2, 3.0), (4, 3.0)]
    rows = interpolate(keys, 401)
    assert rows[:, 1].min() >= 1 and rows[:, 1].max() <= 3
    assert np.allclose(rows[[0, 100, 200, 400], 1], [1, 1, 3, 3])


def test_the_hull_of_a_cube_with_points_inside_is_the_cube():
    cube = np.array([(x, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1)], float)
    assert hull(np.concatenate([cube, [[0.5, 0.5, 0.5]]])).volume == pytest.approx(1)


def test_turning_a_surface_to_an_axis_keeps_its_orientation():
    rod = loft(np.stack([np.column_stack([circle(0.01)(0), np.full(40, z)]) for z in (0.0, 0.1)]))
    for axis, k in (("x", 0), ("y", 1), ("z", 2)):
        turned = rod.along(axis)
        assert np.ptp(turned.vertices, axis=0).argmax() == k
        assert turned.volume == pytest.approx(rod.volume)
