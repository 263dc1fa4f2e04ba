"""Whatever file comes: a usable object with honest notes, or one MeshError; never anything else."""

import numpy as np
import pytest
import trimesh
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hoi_lib.errors import ConfigError, MeshError
from hoi_lib.meshfile import MOST_FACES
from hoi_lib.objects import ObjectModel

FORMATS = ("obj", "ply", "stl", "off", "glb")
RNG = np.random.default_rng(0)


def ball(radius=0.05, subdivisions=3):
    return trimesh.creation.icosphere(subdivisions=subdivisions, radius=radius)


def cup(share=0.8):
    """A ball without its top: an open surface whose rim is too wide to be closed."""
    mesh = ball()
    mesh.update_faces(mesh.triangles_center[:, 2] < (2 * share - 1) * 0.05)
    return mesh


@pytest.fixture
def saved(tmp_path):
    def save(mesh, name="thing.stl"):
        mesh.export(tmp_path / name)
        return tmp_path / name

    return save


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_common_format_gives_the_same_object(saved, suffix):
    mesh = trimesh.creation.torus(0.05, 0.015, major_sections=48, minor_sections=24)
    model = ObjectModel.from_mesh(saved(mesh, f"ring.{suffix}"))
    assert model.name == "ring" and model.category == "object" and model.hinge is None
    assert len(model.vertices) == len(mesh.vertices) and len(model.faces) == len(mesh.faces)
    points = RNG.uniform(-0.08, 0.08, (500, 3))
    expected = ObjectModel.from_mesh(mesh).signed_distance(points)
    assert np.abs(model.signed_distance(points) - expected).max() < 1e-6
    assert not [note for note in model.notes if "glTF" not in note]
    assert any("y up" in note for note in model.notes) == (suffix == "glb")
    assert model.points.shape == (1024, 3)


def test_shuffled_vertices_and_a_soup_of_triangles_change_nothing():
    mesh = trimesh.creation.box((0.06, 0.08, 0.1)).subdivide().subdivide()
    soup = mesh.vertices[mesh.faces[RNG.permutation(len(mesh.faces))]].reshape(-1, 3)
    order = RNG.permutation(len(soup))
    faces = np.argsort(order)[np.arange(len(soup)).reshape(-1, 3)]
    model = ObjectModel.from_mesh(trimesh.Trimesh(soup[order], faces, process=False))
    assert len(model.vertices) == len(mesh.vertices) and model.notes == ()
    points = RNG.uniform(-0.08, 0.08, (500, 3))
    assert np.abs(model.signed_distance(points) - ObjectModel.from_mesh(mesh).signed_distance(points)).max() < 1e-9


@pytest.mark.parametrize(
    "longest, expected, word",
    [
        (0.1, 0.1, None),
        (0.7, 0.7, None),
        (12.0, 0.12, "centimetres"),
        (100.0, 0.1, "millimetres"),
        (2.0, 0.15, "fits no unit"),
        (1e6, 0.15, "fits no unit"),
        (0.001, 0.15, "fits no unit"),
    ],
)
def test_the_unit_of_a_file_is_guessed_and_said(saved, longest, expected, word):
    model = ObjectModel.from_mesh(saved(trimesh.creation.box((longest, longest / 2, longest / 2))))
    assert np.ptp(model.vertices, axis=0).max() == pytest.approx(expected, rel=1e-5)
    assert [word in note for note in model.notes] == ([True] if word else [])


@pytest.mark.parametrize("scale, factor", [("mm", 1e-3), ("cm", 1e-2), ("m", 1.0), (0.02, 0.02), (1, 1.0)])
def test_a_scale_that_is_given_is_taken(saved, scale, factor):
    model = ObjectModel.from_mesh(saved(trimesh.creation.box((30, 20, 10))), scale=scale)
    assert np.ptp(model.vertices, axis=0) == pytest.approx(np.array([30, 20, 10]) * factor, rel=1e-5)
    assert bool(model.notes) == (not 0.01 <= 30 * factor <= 0.8)


@pytest.mark.parametrize("scale", [0, -1.0, float("nan"), float("inf"), "inch"])
def test_a_scale_that_is_none_is_refused(scale):
    with pytest.raises(ConfigError, match="scale"):
        ObjectModel.from_mesh(ball(), scale=scale)


def test_a_mesh_in_memory_keeps_its_size_and_frame():
    model = ObjectModel.from_mesh(trimesh.creation.box((1, 2, 3)).apply_translation((5, 0, 0)))
    assert np.allclose(model.bounds, [[4.5, -1, -1.5], [5.5, 1, 1.5]])
    assert model.signed_distance(np.array([5.0, 0, 0])) == pytest.approx(-0.5)
    assert any("no hand grasps" in note for note in model.notes)


def test_a_small_hole_is_closed_and_said(saved):
    mesh = ball()
    mesh.update_faces((mesh.faces != 0).all(1) & (mesh.faces != 100).all(1))
    model = ObjectModel.from_mesh(saved(mesh))
    assert model.notes == ("Closed 2 small holes.",)
    points = RNG.uniform(-0.08, 0.08, (500, 3))
    whole = ObjectModel.from_mesh(ball())
    assert np.abs(model.signed_distance(points) - whole.signed_distance(points)).max() < 5e-4
    assert model._queries[0].closed == [True]


def test_a_cup_without_a_lid_stays_open_and_says_how_inside_is_told(saved):
    model = ObjectModel.from_mesh(saved(cup()))
    assert any("not watertight" in note for note in model.notes)
    assert model.signed_distance(np.zeros(3)) == pytest.approx(-0.05, abs=5e-4)
    assert model.signed_distance(np.array([0, 0, 0.048])) > 0
    assert model.signed_distance(np.array([0, 0, -0.06])) == pytest.approx(0.01, abs=5e-4)


def test_a_sheet_has_no_inside():
    sheet = trimesh.Trimesh([[0, 0, 0], [0.1, 0, 0], [0.1, 0.1, 0], [0, 0.1, 0]], [[0, 1, 2], [0, 2, 3]])
    model = ObjectModel.from_mesh(sheet)
    assert model.signed_distance(np.array([[0.05, 0.05, 0.01], [0.05, 0.05, -0.01]])) == pytest.approx([0.01, 0.01])
    assert model.points.shape == (1024, 3)


def test_faces_that_look_the_wrong_way_are_turned(saved):
    inside_out = ball()
    inside_out.invert()
    mixed = ball()
    mixed.faces[::7] = mixed.faces[::7, ::-1]
    points = RNG.uniform(-0.08, 0.08, (300, 3))
    expected = ObjectModel.from_mesh(ball()).signed_distance(points)
    for mesh in (inside_out, mixed):
        model = ObjectModel.from_mesh(saved(mesh, "wrong.ply"))
        assert any("Turned" in note for note in model.notes)
        assert np.abs(model.signed_distance(points) - expected).max() < 1e-6


def test_several_bodies_are_one_union_apart_nested_or_overlapping():
    far, near = ball().apply_translation((0.2, 0, 0)), ball().apply_translation((0.03, 0, 0))
    points = RNG.uniform(-0.1, 0.25, (400, 3))

    def single(mesh):
        return ObjectModel.from_mesh(mesh).signed_distance(points)

    apart = ObjectModel.from_mesh(trimesh.util.concatenate([ball(), far]), scale=1)
    assert np.allclose(apart.signed_distance(points), np.minimum(single(ball()), single(far)), atol=1e-8)
    overlapping = ObjectModel.from_mesh(trimesh.util.concatenate([ball(), near]))
    assert np.allclose(overlapping.signed_distance(points), np.minimum(single(ball()), single(near)), atol=1e-8)
    cavity = ball(0.03)
    cavity.invert()
    hollow = ObjectModel.from_mesh(trimesh.util.concatenate([ball(), cavity]))
    assert hollow.signed_distance(np.zeros(3)) == pytest.approx(0.03, abs=3e-4)
    assert hollow.signed_distance(np.array([0.04, 0, 0])) == pytest.approx(-0.01, abs=3e-4)


def test_a_scene_places_its_meshes(saved):
    scene = trimesh.Scene()
    scene.add_geometry(ball(0.03), transform=trimesh.transformations.translation_matrix((0.1, 0, 0)))
    scene.add_geometry(ball(0.02))
    scene.add_geometry(trimesh.PointCloud(np.zeros((4, 3))))
    for source in (scene, saved(scene, "scene.glb")):
        model = ObjectModel.from_mesh(source)
        assert np.allclose(model.bounds, [[-0.02, -0.03, -0.03], [0.13, 0.03, 0.03]], atol=1e-3)
        assert model.signed_distance(np.array([0.1, 0, 0])) == pytest.approx(-0.03, abs=5e-4)


def test_a_huge_mesh_is_decimated_and_stays_the_same_shape():
    model = ObjectModel.from_mesh(ball(subdivisions=6))
    assert len(model.faces) <= MOST_FACES and any("Decimated" in note for note in model.notes)
    points = RNG.uniform(-0.08, 0.08, (500, 3))
    assert np.abs(model.signed_distance(points) - (np.linalg.norm(points, axis=1) - 0.05)).max() < 1e-4
    assert model._queries[0].closed == [True]


def test_degenerate_faces_are_dropped():
    mesh = ball()
    bad = np.array([[0, 0, 1], [5, 5, 5]])
    model = ObjectModel.from_mesh(trimesh.Trimesh(mesh.vertices, np.concatenate([mesh.faces, bad]), process=False))
    assert len(model.faces) == len(mesh.faces) and model._queries[0].closed == [True]


def text(path, content):
    (path.write_bytes if isinstance(content, bytes) else path.write_text)(content)
    return path


@pytest.mark.parametrize(
    "name, content, word",
    [
        ("missing.obj", None, "no such file"),
        ("folder.obj", "folder", "is a folder"),
        ("empty.obj", "", "empty"),
        ("empty.stl", "", "empty"),
        ("thing.foo", "x", "'.foo' cannot be read"),
        ("no_suffix", "x", "cannot be read"),
        ("points.obj", "v 0 0 0\nv 1 0 0\nv 0 1 0\n", "no faces"),
        ("points.xyz", "0 0 0\n1 0 0\n0 1 0\n", "3 points and no faces"),
        ("nan.obj", "v 0 0 0\nv 1 0 0\nv 0 nan 0\nf 1 2 3\n", "not finite"),
        ("line.obj", "v 0\nv 1\nv 2\nf 1 2 3\n", "three coordinates"),
        ("huge.obj", "v 0 0 0\nv 1 0 0\nv 0 1e300 0\nf 1 2 3\n", "farther away"),
        ("inf.off", "OFF\n3 1 0\n0 0 0\n1 0 0\n0 inf 0\n3 0 1 2\n", "not finite"),
        ("flat.obj", "v 0 0 0\nv 1 0 0\nv 2 0 0\nf 1 2 3\n", "has an area"),
        ("same.obj", "v 1 1 1\nv 1 1 1\nv 1 1 1\nf 1 2 3\n", "has an area"),
        ("wrong.off", "OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 7\n", ""),
        ("words.ply", "this is no mesh", ""),
        ("cut.glb", b"glTF\x02\x00\x00\x00\xff\x00\x00\x00", ""),
        ("cut.stl", bytes(84) + b"\x01", ""),
        ("bad.zip", b"PK\x03\x04", ""),
        ("outline.dxf", "0\nSECTION\n", ""),
    ],
)
def test_what_is_no_mesh_is_refused_in_one_sentence(tmp_path, capfd, name, content, word):
    path = tmp_path / name
    if content == "folder":
        path.mkdir()
    elif content is not None:
        text(path, content)
    with pytest.raises(MeshError, match=word or ".") as caught:
        ObjectModel.from_mesh(path)
    assert name in caught.value.what and "\n" not in caught.value.what and len(caught.value.what) < 400
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("source", [None, 5, trimesh.PointCloud(np.zeros((3, 3))), trimesh.Scene(), trimesh.Trimesh()])
def test_what_is_no_mesh_in_memory_is_refused(source):
    with pytest.raises(MeshError, match="expected a triangle mesh"):
        ObjectModel.from_mesh(source)


def only_mesh_errors(path):
    """Read a file; what comes back must be usable."""
    try:
        model = ObjectModel.from_mesh(path)
    except MeshError as error:
        assert error.what and "\n" not in error.what
        return
    assert np.isfinite(model.vertices).all() and np.isfinite(model.points).all()
    assert np.isfinite(model.signed_distance(np.zeros((2, 3)))).all()


FUZZ = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@FUZZ
@given(st.sampled_from([*FORMATS, "gltf", "xyz", "dxf", "zip", "tar.gz", "stl_ascii"]), st.binary(max_size=400))
def test_random_bytes_never_give_anything_but_a_mesh_error(tmp_path, suffix, content):
    path = tmp_path / f"fuzz.{suffix}"
    path.write_bytes(content)
    only_mesh_errors(path)


@FUZZ
@given(st.sampled_from(FORMATS), st.data())
def test_damaged_files_never_give_anything_but_a_mesh_error(tmp_path, suffix, data):
    path = tmp_path / f"damaged.{suffix}"
    trimesh.creation.box((0.1, 0.1, 0.1)).export(path)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(content[: data.draw(st.integers(1, len(content)))]))
    only_mesh_errors(path)


NUMBERS = st.one_of(st.floats(-1, 1), st.floats(), st.integers(-(2**40), 2**40))


@FUZZ
@given(
    st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS), max_size=12),
    st.lists(st.lists(st.integers(-3, 14), min_size=1, max_size=5), max_size=12),
)
def test_obj_files_with_any_numbers_never_give_anything_but_a_mesh_error(tmp_path, vertices, faces):
    lines = [f"v {x} {y} {z}" for x, y, z in vertices] + ["f " + " ".join(map(str, face)) for face in faces]
    path = tmp_path / "numbers.obj"
    path.write_text("\n".join(lines))
    only_mesh_errors(path)
