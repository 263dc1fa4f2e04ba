"""Every procedural object is a sound, graspable thing whose parts never touch, and random shapes are too."""

import numpy as np
import pytest
import torch

from hoi_lib import catalogue as makers
from hoi_lib.errors import MeshError
from hoi_lib.objects import (
    ARTICULATED,
    CATEGORIES,
    HELD_OUT_SEEDS,
    catalogue,
    load_object,
    random_shape,
)
from hoi_lib.random_shapes import TRAINING_SEEDS, random_solid
from hoi_lib.shapes import Surface
from hoi_lib.topology import components, is_closed

HINGED = [name for name in catalogue() if name.rpartition("_")[0] in ARTICULATED]


def parts(model):
    for part in range(2 if model.hinge else 1):
        yield Surface(model.vertices, model.faces[model.part[model.faces[:, 0]] == part])


def test_the_catalogue_has_twelve_categories_in_three_sizes():
    assert len(CATEGORIES) == 12 and set(ARTICULATED) < set(CATEGORIES)
    assert len(catalogue()) == 36 == len(set(catalogue()))
    assert {load_object(f"{c}_small").hinge is not None for c in ARTICULATED} == {True}
    assert {load_object(f"{c}_small").hinge is not None for c in set(CATEGORIES) - set(ARTICULATED)} == {False}


@pytest.mark.parametrize("name", catalogue())
def test_every_part_is_one_watertight_solid_that_looks_outwards(name):
    model = load_object(name)
    for part in parts(model):
        assert is_closed(part.faces)
        assert components(part.faces).max() == 0
        assert 5e-6 < part.volume < 2e-3
        assert 400 <= len(part.faces) <= 6000
    assert all(closed for query in model._queries for closed in query.closed)  # nothing runs through itself


@pytest.mark.parametrize("name", catalogue())
def test_every_object_is_centred_and_a_hand_can_grasp_it(name):
    model = load_object(name)
    low, high = model.bounds
    assert np.abs(low + high).max() < 0.05  # a mug's handle sticks out on one side
    size = np.sort(high - low)
    assert size[0] <= 0.11 and 0.045 <= size[2] <= 0.36


@pytest.mark.parametrize("category", CATEGORIES)
def test_sizes_grow(category):
    small, medium, large = (load_object(f"{category}_{size}") for size in makers.SIZES)
    volumes = [sum(part.volume for part in parts(model)) for model in (small, medium, large)]
    assert volumes[0] < volumes[1] < volumes[2]


@pytest.mark.parametrize("name", HINGED)
def test_parts_keep_clear_of_each_other_over_the_whole_range(name):
    model = load_object(name)
    base, moving = model._queries
    closest = np.inf
    for angle in np.linspace(*model.hinge.limits, 9):
        vertices = torch.from_numpy(model.posed_vertices(angle))
        pairs = (
            (base, _dense(vertices.numpy(), model.faces[model.part[model.faces[:, 0]] == 1])),
            (moving, model.unhinge(_dense(vertices.numpy(), model.faces[model.part[model.faces[:, 0]] == 0]), angle)),
        )
        for query, points in pairs:
            nearest, normal = query(points)
            closest = min(closest, ((points - nearest) * normal).sum(-1).min().item())
    assert 0.3e-3 < closest < 0.6e-3


def _dense(vertices, faces):
    """Corners and middles of all faces and of their sides."""
    corners = vertices[faces]
    sides = (corners + np.roll(corners, 1, 1)) / 2
    return torch.from_numpy(np.concatenate([corners.reshape(-1, 3), sides.reshape(-1, 3), corners.mean(1)]))


@pytest.mark.parametrize("name", HINGED)
def test_angle_zero_is_closed_and_opening_moves_the_part_away(name):
    model = load_object(name)
    assert model.hinge.limits[0] == 0 and model.hinge.limits[1] > 0.3
    assert np.linalg.norm(model.hinge.axis) == pytest.approx(1)
    extent = [np.ptp(model.posed_vertices(a), axis=0).prod() for a in (0, 0.25 * model.hinge.limits[1])]
    assert extent[1] > 1.1 * extent[0]
    assert (model.part == 0).any() and (model.part == 1).any()


@pytest.mark.parametrize("category", ["laptop", "lidded_box", "notebook"])
def test_what_opens_lifts_its_cover(category):
    model = load_object(f"{category}_medium")
    moving = model.part == 1
    rise = model.posed_vertices(0.5)[moving, 2].max() - model.vertices[moving, 2].max()
    assert rise > 0.02


def test_hollow_things_are_hollow_and_the_handle_has_a_hole():
    mug, bowl = load_object("mug_medium"), load_object("bowl_medium")
    assert mug.signed_distance(np.zeros(3)) > 0.02
    assert bowl.signed_distance(np.array([0, 0, bowl.bounds[1, 2] - 0.001])) > 0.02
    handle = mug.bounds[1, 0]
    assert mug.signed_distance(np.array([handle - 0.022, 0, 0])) > 0.008  # room for a finger
    assert mug.signed_distance(np.array([handle - 0.004, 0, 0])) < 0
    chest = load_object("lidded_box_medium")
    assert chest.signed_distance(np.array([0, 0, -0.01])) > 0.02


def test_the_same_name_gives_the_same_bytes():
    for name in ("mug_small", "pliers_large"):
        first = makers.make(*name.split("_"))
        second = makers.make(*name.split("_"))
        for a, b in zip(first.parts, second.parts, strict=False):
            assert a.vertices.tobytes() == b.vertices.tobytes() and a.faces.tobytes() == b.faces.tobytes()


@pytest.mark.parametrize("name", ["mug", "mug_huge", "teapot_small", "", "shape_", "shape_x", "_small"])
def test_an_unknown_name_is_refused_in_words(name):
    with pytest.raises(MeshError, match="no object is called"):
        load_object(name)


@pytest.mark.parametrize("seed", [*range(30), *HELD_OUT_SEEDS])
def test_random_shapes_are_sound_and_graspable(seed):
    (part,) = random_solid(seed).parts
    assert is_closed(part.faces) and components(part.faces).max() == 0
    assert part.volume > 1e-5
    size = np.ptp(part.vertices, axis=0)
    assert 0.028 <= size[:2].min() <= size[:2].max() <= 0.0875
    assert 0.049 <= size[2] <= 0.192


def test_random_shapes_do_not_run_through_themselves():
    for seed in range(0, 40, 4):
        assert random_shape(seed)._queries[0].closed == [True]


def test_random_shapes_vary_and_repeat():
    volumes = [random_solid(seed).parts[0].volume for seed in range(20)]
    assert len({round(v * 1e9) for v in volumes}) == 20
    assert max(volumes) > 4 * min(volumes)
    assert (random_shape(7).vertices == load_object("shape_7").vertices).all()
    assert random_shape(7).category == "object" and random_shape(7).name == "shape_7"


def test_held_out_seeds_are_twenty_and_none_of_the_training_ones():
    assert len(set(HELD_OUT_SEEDS)) == 20
    assert not set(HELD_OUT_SEEDS) & set(TRAINING_SEEDS)
