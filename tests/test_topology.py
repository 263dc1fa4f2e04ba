"""What is said of a surface's topology is checked on surfaces built to have exactly one fault."""

import numpy as np
import pytest
import trimesh

from hoi_lib.topology import (
    bodies,
    boundary_loops,
    components,
    face_outwards,
    is_closed,
    orient,
    turn,
    volume,
    weld,
    winding_number,
)


def arrays(mesh):
    return np.asarray(mesh.vertices, float), np.asarray(mesh.faces, np.int64)


@pytest.fixture
def ball():
    return arrays(trimesh.creation.icosphere(subdivisions=2, radius=0.05))


def joined(*surfaces):
    offsets = np.cumsum([0, *(len(v) for v, _ in surfaces[:-1])])
    return (
        np.concatenate([vertices for vertices, _ in surfaces]),
        np.concatenate([faces + offset for (_, faces), offset in zip(surfaces, offsets, strict=True)]),
    )


def test_closed_means_every_edge_once_in_each_direction(ball):
    _, faces = ball
    assert is_closed(faces)
    assert not is_closed(faces[1:])
    assert not is_closed(np.concatenate([faces, faces[:1]]))
    assert not is_closed(turn(faces, np.arange(len(faces)) == 3))
    assert not is_closed(faces[:0])


def test_weld_undoes_a_soup_of_shuffled_triangles(ball):
    vertices, faces = ball
    rng = np.random.default_rng(0)
    soup = vertices[faces[rng.permutation(len(faces))]].reshape(-1, 3)
    order = rng.permutation(len(soup))
    where = np.argsort(order)
    soup_faces = where[np.arange(len(soup)).reshape(-1, 3)]
    degenerate = np.array([[0, 0, 1], [2, 2, 2]])
    v, f = weld(soup[order], np.concatenate([soup_faces, degenerate, soup_faces[:5]]))
    assert len(v) == len(vertices) and len(f) == len(faces)
    assert is_closed(f)
    assert volume(v, f) == pytest.approx(volume(vertices, faces))


def test_weld_drops_a_face_without_area_though_its_corners_differ():
    vertices = np.array([(0, 0, 0), (1, 0, 0), (0.5, 0, 0), (0, 1, 0)], float)
    _, faces = weld(vertices, np.array([[0, 1, 2], [0, 1, 3]]))
    assert len(faces) == 1


def test_orient_turns_back_what_was_turned(ball):
    vertices, faces = joined(ball, (ball[0] + 1, ball[1]))
    wrong = np.random.default_rng(1).random(len(faces)) < 0.3
    mended, count = orient(turn(faces, wrong))
    assert count == wrong.sum()
    assert (mended == faces).all()


def test_orient_leaves_a_moebius_strip_alone():
    n = 12
    along, across = np.meshgrid(np.arange(n), [0, 1], indexing="ij")
    index = along * 2 + across
    faces = []
    for i in range(n):
        a, b = index[i]
        c, d = index[(i + 1) % n] if i < n - 1 else index[0][::-1]
        faces += [[a, c, b], [b, c, d]]
    mended, count = orient(np.array(faces))
    assert count == 0 and (mended == faces).all()


def test_components_are_the_pieces_that_share_edges(ball):
    _, faces = joined(ball, (ball[0] + 1, ball[1]), (ball[0] - 1, ball[1]))
    piece = components(faces)
    assert piece.max() == 2
    assert all(len(set(block)) == 1 for block in piece.reshape(3, -1))


def test_volume_does_not_depend_on_the_origin(ball):
    vertices, faces = ball
    assert volume(vertices + 100, faces) == pytest.approx(volume(vertices, faces), rel=1e-6)
    assert volume(vertices, faces[:, ::-1]) == pytest.approx(-volume(vertices, faces))


def test_winding_number_counts_the_wraps(ball):
    vertices, faces = ball
    assert winding_number(np.array([0.01, 0.02, 0]), vertices, faces) == pytest.approx(1)
    assert winding_number(np.array([0.06, 0.02, 0]), vertices, faces) == pytest.approx(0, abs=1e-12)
    twice = joined(ball, (ball[0] * 0.8, ball[1]))
    assert winding_number(np.zeros(3), *twice) == pytest.approx(2)


def test_rims_are_found_and_walked_in_order(ball):
    vertices, faces = ball
    keep = vertices[faces].mean(1)[:, 2] < 0.03
    (rim,) = boundary_loops(faces[keep])
    edges = {frozenset(e) for f in faces[keep].tolist() for e in ((f[0], f[1]), (f[1], f[2]), (f[2], f[0]))}
    assert len(rim) > 4
    assert all(frozenset((int(a), int(b))) in edges for a, b in zip(rim, np.roll(rim, -1), strict=False))
    assert boundary_loops(faces) == []


def test_rims_that_touch_at_a_vertex_are_taken_apart(ball):
    _, faces = ball
    around = np.flatnonzero((faces == 0).any(1))
    chosen = [around[0], next(f for f in around[1:] if len(np.intersect1d(faces[f], faces[around[0]])) == 1)]
    loops = boundary_loops(np.delete(faces, chosen, axis=0))
    assert sorted(map(len, loops)) == [3, 3]
    assert all(0 in loop for loop in loops)


def test_a_cavity_stays_with_the_solid_around_it(ball):
    inner = ball[0] * 0.5, ball[1][:, ::-1]
    vertices, faces = joined(ball, inner, (ball[0] + 1, ball[1]))
    found = bodies(vertices, faces)
    assert sorted(len(f) for f, _ in found) == [len(ball[1]), 2 * len(ball[1])]
    assert all(closed for _, closed in found)


def test_loose_patches_are_one_body_and_closed_pieces_one_each(ball):
    vertices, faces = joined((ball[0], ball[1][:100]), (ball[0] * 1.0001, ball[1][100:]), (ball[0] + 1, ball[1]))
    found = bodies(vertices, faces)
    assert [closed for _, closed in found] == [True, False]
    assert len(found[1][0]) == len(ball[1])


def test_many_pieces_are_judged_together(ball):
    vertices, faces = joined(*[(ball[0] + k, ball[1]) for k in range(20)])
    ((everything, closed),) = bodies(vertices, faces)
    assert len(everything) == len(faces) and not closed


def test_what_looks_inwards_is_turned_and_a_cavity_is_not(ball):
    inner = ball[0] * 0.5, ball[1][:, ::-1]
    other = ball[0] + 1, ball[1][:, ::-1]
    vertices, faces = joined(ball, inner, other)
    mended, count = face_outwards(vertices, faces)
    assert count == 1
    expected = volume(*ball) * (1 - 0.125 + 1)
    assert volume(vertices, mended) == pytest.approx(expected, rel=1e-6)
    hollow = joined(ball, inner)
    turned, count = face_outwards(hollow[0], hollow[1][:, ::-1])
    assert count > 0 and (turned == hollow[1]).all()
