"""Scenes and their files: html, glb, gif, npz, read back and compared with the models they came from."""

from __future__ import annotations

import base64
import errno
import io
import json
import re
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from hoi_lib import glb, motionfile, plots, viewer
from hoi_lib.drawables import sphere
from hoi_lib.errors import OutputError, StoreError
from hoi_lib.hand import load_hand, named_pose
from hoi_lib.motion import SIDES, ClipLabels, HandTrack, MotionClip, ObjectTrack, unpack_pose
from hoi_lib.objects import Hinge, ObjectModel
from hoi_lib.rotations import axis_angle_to_matrix, slerp
from hoi_lib.viewer import MeshTrack, Rig, Scene, scene_of
from tests.book.browser import Browser
from tests.test_plots import ball, box

FRAMES = 9


def hand_track(side: str, start: str, end: str) -> HandTrack:
    """A hand of an unusual shape that bends, turns and travels; it is away in the first frame."""
    share = torch.linspace(0, 1, FRAMES)
    poses = [unpack_pose(named_pose(name, side))[1] for name in (start, end)]
    rotations = slerp(*(p.expand(FRAMES, 16, 3, 3).clone() for p in poses), share[:, None].expand(FRAMES, 16).clone())
    rotations[:, 0] = axis_angle_to_matrix(torch.stack([share, 0 * share, 2 * share], -1))
    transl = torch.stack([0.2 * share, 0.1 * torch.sin(6 * share), 0.3 + 0 * share], -1)
    betas = torch.linspace(-1, 1, 10)
    valid = np.arange(FRAMES) > 0
    return HandTrack(transl.numpy(), rotations.numpy(), betas.numpy(), valid)


def lidded_box() -> ObjectModel:
    """A block and a lid that is hinged to its back edge."""
    base, lid = box((-0.05, -0.04, 0.0), (0.05, 0.04, 0.05)), box((-0.05, -0.04, 0.05), (0.05, 0.04, 0.06))
    vertices, faces = np.vstack([base.vertices, lid.vertices]), np.vstack([base.faces, lid.faces + 8])
    hinge = Hinge(np.array([0.0, 0.04, 0.05]), np.array([1.0, 0.0, 0.0]), np.array([0.0, 2.0]))
    return ObjectModel("lidded_box_small", "lidded_box", vertices, faces, np.repeat([0, 1], 8), hinge)


@pytest.fixture(scope="module")
def clip() -> MotionClip:
    share = np.linspace(0, 1, FRAMES, dtype=np.float32)
    rotation = axis_angle_to_matrix(torch.as_tensor(np.outer(share, [0.3, 0.9, 0.2]).astype(np.float32))).numpy()
    transl = np.stack([share, -share, 0.5 * share], -1) * 0.1
    path = ObjectTrack("lidded_box_small", "lidded_box", transl, rotation, share)
    hands = {"left": hand_track("left", "rest", "fist"), "right": hand_track("right", "relaxed", "pinch")}
    contact = {side: np.arange(FRAMES) > 4 for side in SIDES}
    labels = ClipLabels(np.zeros(FRAMES, int), contact, dict.fromkeys(SIDES, 5), {}, {})
    return MotionClip("one", hands, path, "open", "s01", "Open the <b>box</b> & both hands.", labels=labels)


@pytest.fixture(scope="module")
def scene(clip) -> Scene:
    return scene_of(clip, lidded_box())


@pytest.fixture(scope="module")
def toy() -> Scene:
    """A ball that is blown up and a box that slides: no hands, no hinge."""
    mesh, block = ball(), box((0, 0, 0), (0.04, 0.04, 0.04))
    growth = np.linspace(1, 2, 4)[:, None, None]
    slide = np.stack([np.linspace(0, 0.2, 4), np.zeros(4), np.zeros(4)], -1)
    tracks = [MeshTrack("ball", mesh.vertices * growth, mesh.faces, "#DDA88C")]
    tracks.append(MeshTrack.rigid("box", block.vertices, block.faces, "gray", np.tile(np.eye(3), (4, 1, 1)), slide))
    return Scene(tracks, 10, {"ball": np.array([False, True, True, False])}, "A ball grows")


# ------------------------------------------------------------------ the scene


def test_a_scene_holds_the_vertices_that_hand_and_object_models_give(clip, scene):
    tracks = {t.name: t for t in scene.tracks}
    for side, hand in clip.hands.items():
        model = load_hand(side)
        rotations, transl, betas = (torch.as_tensor(a) for a in (hand.rotations, hand.transl, hand.betas))
        expected = model.close(model.from_matrices(rotations, transl, betas).vertices).numpy()
        assert np.array_equal(tracks[side].vertices, expected)
        assert not tracks[side].shown(0) and tracks[side].shown(1)
    model = lidded_box()
    world = np.einsum("lij,lvj->lvi", clip.object.rotation, model.posed_vertices(clip.object.angle))
    world = world + clip.object.transl[:, None]
    for part, name in enumerate(("object", "part")):
        expected = world[:, model.part == part]
        assert np.abs(np.sort(tracks[name].vertices, 1) - np.sort(expected, 1)).max() < 1e-6


def test_a_scene_takes_contact_from_the_labels_unless_it_is_given(clip, scene):
    assert scene.contact["left"].sum() == FRAMES - 5
    given = scene_of(clip, lidded_box(), contact={"left": np.ones(FRAMES, bool)})
    assert given.contact["left"].all() and "right" not in given.contact
    assert scene.reading(6) == "frame 7 of 9, 0.20 s, left hand and right hand in contact"


def test_tracks_of_different_lengths_are_refused(toy):
    with pytest.raises(ValueError, match=r"\[3, 4\] frames"):
        Scene(toy.tracks, contact={"ball": np.zeros(3, bool)})


def test_the_best_view_has_nothing_in_front_of_the_hand():
    rest, eye = ball().vertices, np.eye(3)[None, None]
    rig = Rig(
        rest, np.zeros((1, 3)), (-1,), np.ones((len(rest), 1)), np.zeros((len(rest), 3, 0)), eye, np.zeros((1, 3))
    )
    hand = MeshTrack("ball", rest[None], ball().faces, "#DDA88C", rig)
    for side, sign in (("left", -1), ("right", 1)):  # a wall on one side: look from the other
        wall = box((0.08 * sign, -0.2, -0.2), (0.09 * sign, 0.2, 0.2))
        azimuth, _ = viewer.best_view(Scene([hand, MeshTrack("wall", wall.vertices[None], wall.faces, "gray")]))
        assert np.sin(np.radians(azimuth)) * sign < -0.2, side


def test_a_hand_that_is_away_is_not_drawn(scene):
    assert len(scene.meshes(0)) == 2 and len(scene.meshes(1)) == 4


def test_a_finely_scanned_object_is_drawn_with_fewer_faces_in_the_same_place(clip):
    vertices, faces = sphere(5)
    model = ObjectModel("scan", "scan", 0.05 * vertices + [1.0, 0, 0], faces, np.zeros(len(vertices), int))
    path = ObjectTrack("scan", "scan", clip.object.transl, clip.object.rotation)
    track = scene_of(MotionClip("s", {}, path, "lift", "s01", ""), model).tracks[0]
    assert len(faces) > 20_000 and len(track.faces) <= 8000
    assert np.abs(np.linalg.norm(track.motion.rest - [1.0, 0, 0], axis=1) / 0.05 - 1).max() < 0.01


# ------------------------------------------------------------------ the page


def unpacked(page: str) -> tuple[dict, list[np.ndarray]]:
    """The data of the first viewer on a page: its header and its arrays, as the browser reads them."""
    text = re.search(r'class="hoi-viewer-data">(.*?)</script>', page, re.S).group(1)
    header = json.loads(text)
    data = zlib.decompress(base64.b64decode(header["data"]))
    return header, [np.frombuffer(data, name, size, start) for name, start, size in header["views"]]


def soft_positions(track: dict, arrays: list[np.ndarray], frames: int) -> np.ndarray:
    """Vertices (L, V, 3) of a soft track: byte planes joined, differences summed in 16 bits."""
    raw = arrays[track["deltas"]].view(np.uint8).reshape(2, -1).astype(np.uint16)
    steps = (raw[0] | raw[1] << 8).reshape(-1, frames).cumsum(1, dtype=np.uint16)
    return np.asarray(track["origin"]) + track["step"] * steps.T.reshape(frames, -1, 3).astype(float)


def test_the_page_carries_every_vertex_to_a_tenth_of_a_millimetre(scene, toy):
    for shown in (scene, toy):
        header, arrays = unpacked(viewer._figure(shown, "alt", "front", 1, None))
        assert header["frames"] == shown.frames and header["ground"] == shown.ground
        for track, stored in zip(shown.tracks, header["tracks"], strict=True):
            source, faces = arrays[stored["source"]], arrays[stored["faces"]].reshape(-1, 3)
            if "poses" in stored:
                poses = arrays[stored["poses"]].reshape(shown.frames, 3, 4)
                rest = arrays[stored["rest"]].reshape(-1, 3) * stored["scale"]
                found = rest @ poses[..., :3].transpose(0, 2, 1) + poses[:, None, :, 3]
                assert np.array_equal(found[:, source][:, faces].shape, track.vertices[:, track.faces].shape)
            else:
                found = soft_positions(stored, arrays, shown.frames)
                assert len(faces) == 4 * len(track.faces) and faces.max() < len(source) + len(arrays[stored["bent"]])
            assert np.abs(found - track.vertices).max() < 0.6e-4


def test_a_page_of_two_hands_and_150_frames_stays_below_three_megabytes(clip, tmp_path):
    times = np.linspace(0, FRAMES - 1, 150).round().astype(int)
    long = MotionClip(
        "long",
        {s: HandTrack(h.transl[times], h.rotations[times], h.betas, h.valid[times]) for s, h in clip.hands.items()},
        ObjectTrack("lidded_box_small", "lidded_box", *(x[times] for x in (clip.object.transl, clip.object.rotation))),
        "open",
        "s01",
        "Open the box.",
    )
    noise = np.random.default_rng(0).normal(scale=2e-3, size=(150, 3)).astype(np.float32)
    for hand in long.hands.values():
        hand.transl[:] += noise  # a motion as rough as an untrained model's
    path = viewer.save_html(scene_of(long, lidded_box()), tmp_path / "m.html")
    assert path.stat().st_size < 3e6


def test_the_page_asks_nothing_of_the_network_and_escapes_the_caption(scene, tmp_path):
    page = viewer.save_html(scene, tmp_path / "m.html").read_text(encoding="utf-8")
    assert not re.search(r"""(src|href)=["']?(?!data:)[^"'\s>]*[/.]""", page.split("<script>")[0])
    assert "default-src 'none'" in page and "@import" not in page and "fetch(" not in viewer._asset("viewer.js")
    assert "<b>box" not in page and "Open the &lt;b&gt;box&lt;/b&gt; &amp; both hands." in page
    assert "autoplay" not in page and 'alt="' in page


def test_a_caption_cannot_end_the_script_that_carries_it(toy):
    evil = Scene(toy.tracks, 10, {"</script><script>alert(1)": np.ones(4, bool)}, "</script>")
    header, _ = unpacked(viewer._figure(evil, "alt", "front", 0, None))
    assert header["contact"][0]["label"] == "</script><script>alert(1)"


def test_in_the_book_viewers_share_their_scripts_and_elsewhere_each_has_its_own(toy, monkeypatch):
    monkeypatch.delenv("HOI_BOOK", raising=False)
    alone = viewer.embed(toy, "a ball grows & a box slides", height=300)
    monkeypatch.setenv("HOI_BOOK", "1")
    shared = viewer.embed(toy, "a ball grows & a box slides", height=300)
    assert "HoiThree=" in alone._repr_html_() and "HoiThree=" not in shared._repr_html_()
    assert len(shared.html) < 120_000 and "_static/hoi/" in shared.html and "--hoi-height:300px" in shared.html
    assert repr(shared) == "3D viewer: a ball grows & a box slides"
    assert 'alt="a ball grows &amp; a box slides"' in shared.html


def test_a_browser_without_a_network_shows_the_page_and_follows_slider_and_keys(scene, tmp_path):
    path = viewer.save_html(scene, tmp_path / "m.html")
    with Browser((800, 700)) as browser:
        browser.open(path)
        page, told = browser.page, browser.page.locator(".hoi-viewer output")
        page.wait_for_selector(".hoi-viewer.hoi-viewer-page.is-live")
        said = told.text_content()
        assert said.startswith("frame 7 of 9") and "left hand and right hand in contact" in said
        seen = []
        for key in ("Home", "ArrowRight", "ArrowRight", "End", "ArrowLeft", "Home"):
            page.locator(".hoi-viewer input").press(key)
            seen.append(told.text_content().split(",")[0])
        assert seen == [f"frame {k} of 9" for k in (1, 2, 3, 9, 8, 1)]
        page.keyboard.press("Space")
        assert page.locator(".hoi-viewer-play").get_attribute("aria-label") == "pause"
        page.keyboard.press("Space")
        picture = Image.open(io.BytesIO(page.locator(".hoi-viewer-canvas").screenshot())).resize((64, 64))
        assert len(set(picture.convert("RGB").getdata())) > 60
        assert browser.outside == [] and browser.failed == [] and browser.errors == []


# ------------------------------------------------------------------ glb


class Parsed:
    """A .glb read back by hand: its JSON, its accessors as arrays, its animation."""

    def __init__(self, data: bytes):
        magic, version, total = struct.unpack_from("<III", data)
        size, kind = struct.unpack_from("<II", data, 12)
        assert (magic, version, total, kind) == (0x46546C67, 2, len(data), 0x4E4F534A) and size % 4 == 0
        self.json = json.loads(data[20 : 20 + size])
        length, kind = struct.unpack_from("<II", data, 20 + size)
        assert kind == 0x004E4942 and length % 4 == 0 and 28 + size + length == total
        self.data = data[28 + size :]
        assert self.json["buffers"] == [{"byteLength": length}]

    def array(self, number: int) -> np.ndarray:
        entry = self.json["accessors"][number]
        view = self.json["bufferViews"][entry["bufferView"]]
        kind = {5126: np.float32, 5123: np.uint16, 5121: np.uint8, 5125: np.uint32}[entry["componentType"]]
        width = {"SCALAR": 1, "VEC3": 3, "VEC4": 4, "MAT4": 16}[entry["type"]]
        assert view["byteOffset"] % 4 == 0 and view["byteLength"] == entry["count"] * width * kind().itemsize
        found = np.frombuffer(self.data, kind, entry["count"] * width, view["byteOffset"]).reshape(-1, width)
        for bound, reached in (("min", found.min(0)), ("max", found.max(0))):
            assert bound not in entry or np.array_equal(np.float32(entry[bound]), np.float32(reached))
        return found

    def channel(self, node: int, path: str) -> np.ndarray:
        motion = self.json["animations"][0]
        found = [c for c in motion["channels"] if c["target"] == {"node": node, "path": path}]
        sampler = motion["samplers"][found[0]["sampler"]]
        times, values = self.array(sampler["input"]), self.array(sampler["output"])
        return values.reshape(len(times), -1)

    def node(self, name: str) -> int:
        return next(i for i, n in enumerate(self.json["nodes"]) if n.get("name") == name)

    def mesh(self, node: int) -> dict:
        return self.json["meshes"][self.json["nodes"][node]["mesh"]]["primitives"][0]


def matrix(quaternion: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Transforms (L, 4, 4) of quaternions x, y, z, w (L, 4) and translations (L, 3)."""
    from scipy.spatial.transform import Rotation

    found = np.tile(np.eye(4), (len(quaternion), 1, 1))
    found[:, :3, :3], found[:, :3, 3] = Rotation.from_quat(quaternion).as_matrix(), place
    return found


def triangles(file: Parsed, primitive: dict, vertices: np.ndarray) -> np.ndarray:
    """Corners (L, F, 3, 3) of vertices (L, W, 3)."""
    return vertices[:, file.array(primitive["indices"]).reshape(-1, 3).astype(int)]


def skinned(file: Parsed, node: int) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (L, W, 3) of a skinned, morphed node below the turned root, put back to z up."""
    primitive = file.mesh(node)
    skin = file.json["skins"][file.json["nodes"][node]["skin"]]
    rest = file.array(primitive["attributes"]["POSITION"]).astype(float)
    shapes = np.array([file.array(t["POSITION"]) for t in primitive.get("targets", [])]).reshape(-1, *rest.shape)
    weights = file.channel(node, "weights") if len(shapes) else np.zeros((FRAMES, 0))
    morphed = rest + np.einsum("ln,nvi->lvi", weights, shapes)
    world: dict[int, np.ndarray] = {}
    for bone in skin["joints"]:
        still = np.tile(file.json["nodes"][bone]["translation"], (FRAMES, 1))
        place = file.channel(bone, "translation") if bone == skin["joints"][0] else still
        above = [world[b] for b in world if bone in file.json["nodes"][b].get("children", [])]
        local = matrix(file.channel(bone, "rotation"), place)
        world[bone] = above[0] @ local if above else local
    bind = file.array(skin["inverseBindMatrices"]).reshape(-1, 4, 4).transpose(0, 2, 1)
    palette = np.stack([world[b] @ bind[i] for i, b in enumerate(skin["joints"])], 1)
    bones, shares = (file.array(primitive["attributes"][k]) for k in ("JOINTS_0", "WEIGHTS_0"))
    assert np.allclose(shares.sum(1), 1, atol=1e-6)
    blended = np.einsum("vk,lvkij->lvij", shares, palette[:, bones.astype(int)])
    return np.einsum("lvij,lvj->lvi", blended[..., :3, :3], morphed) + blended[..., :3, 3], primitive


def test_the_bones_in_a_glb_move_the_hand_as_the_hand_model_does(scene):
    file = Parsed(glb.glb_bytes(scene))
    for track in scene.tracks:
        if not isinstance(track.motion, Rig):
            continue
        vertices, primitive = skinned(file, file.node(track.words()))
        missed = np.linalg.norm(triangles(file, primitive, vertices) - track.vertices[:, track.faces], axis=-1)
        assert missed.max() < 2e-4
        scale = file.channel(file.node(f"{track.words()} bone 0"), "scale")
        assert np.array_equal(scale[:, 0] > 0.5, track.visible)


def test_without_its_morph_targets_the_hand_in_a_glb_would_be_wrong(scene):
    rig = next(t.motion for t in scene.tracks if t.name == "left")
    base, targets, weights = glb.correctives(rig)
    bend = (rig.rotations[:, 1:] - np.eye(3)).reshape(FRAMES, -1)
    offsets = np.einsum("vik,lk->lvi", rig.correctives, bend)
    assert np.abs(base + np.einsum("ln,nvi->lvi", weights, targets) - offsets).max() < glb.CORRECTIVE_ERROR
    assert np.abs(offsets).max() > 5 * glb.CORRECTIVE_ERROR and len(targets) < 30
    assert weights.min() >= 0 and weights.max() <= 1  # Blender shows no others


def test_rigid_parts_and_soft_surfaces_in_a_glb_move_as_in_the_scene(scene, toy):
    for shown in (scene, toy):
        file = Parsed(glb.glb_bytes(shown))
        for track in shown.tracks:
            node = file.node(track.words())
            primitive = file.mesh(node)
            rest = file.array(primitive["attributes"]["POSITION"]).astype(float)
            if isinstance(track.motion, viewer.Rigid):
                poses = matrix(file.channel(node, "rotation"), file.channel(node, "translation"))
                found = rest @ poses[:, :3, :3].transpose(0, 2, 1) + poses[:, None, :3, 3]
            elif track.motion is None:
                shapes = np.array([file.array(t["POSITION"]) for t in primitive["targets"]])
                found = rest + np.einsum("ln,nvi->lvi", file.channel(node, "weights"), shapes)
            else:
                continue
            assert np.abs(triangles(file, primitive, found) - track.vertices[:, track.faces]).max() < 1e-6


def test_a_glb_names_its_nodes_keeps_time_and_stands_upright(scene):
    file = Parsed(glb.glb_bytes(scene))
    names = {n["name"] for n in file.json["nodes"]}
    assert {"left hand", "right hand", "lidded box", "lidded box, moving part"} <= names
    times = file.array(file.json["animations"][0]["samplers"][0]["input"])[:, 0]
    assert np.allclose(np.diff(times), 1 / 30) and len(times) == FRAMES
    root = file.json["nodes"][file.node("world")]
    up = matrix(np.array([root["rotation"]]), np.zeros((1, 3)))[0, :3, :3] @ [0, 0, 1]
    assert np.allclose(up, [0, 1, 0])
    assert file.json["scenes"][0]["extras"]["contact_frames"]["left"] == [5, 6, 7, 8]
    for accessor in range(len(file.json["accessors"])):
        file.array(accessor)
    for mesh in file.json["meshes"]:
        part = mesh["primitives"][0]
        count = len(file.array(part["attributes"]["POSITION"]))
        assert file.array(part["indices"]).max() < count
        assert np.allclose(np.linalg.norm(file.array(part["attributes"]["NORMAL"]), axis=1), 1, atol=1e-5)


def test_quaternions_never_jump_to_the_other_side():
    turn = torch.linspace(0, 12, 60)[:, None] * torch.tensor([0.6, 0.0, 0.8])
    found = glb.quaternions(axis_angle_to_matrix(turn).numpy())
    assert (found[1:] * found[:-1]).sum(1).min() > 0.9


# ------------------------------------------------------------------ gif and npz


def test_a_gif_has_half_the_frames_the_right_pace_and_the_contact_bar(scene, tmp_path):
    path = viewer.save_gif(scene, tmp_path / "m.gif", size=120)
    with Image.open(path) as picture:
        assert picture.size == (120, 120) and picture.n_frames == 5 and picture.info["loop"] == 0
        assert picture.info["duration"] == pytest.approx(1000 * 2 / 30, abs=10)
        frames = []
        for k in range(5):
            picture.seek(k)
            frames.append(np.asarray(picture.convert("RGB")).astype(int))
    blue = motionfile._bytes(plots.COLORS["contact"]).astype(int)
    assert frames[0][-1, 3].tolist() == motionfile._bytes(plots.BACKGROUND).tolist()
    row = np.abs(frames[0][-8] - blue).max(-1) == 0
    touched = np.flatnonzero(row)
    assert touched.min() == pytest.approx(12 + 96 * 5 / 9, abs=2) and touched.max() > 100
    assert np.abs(frames[4] - frames[0]).max() > 60


def test_long_captions_are_broken_into_lines_that_fit():
    short, long = (motionfile._caption(text, 200) for text in ("Pour.", "Pour the bottle with the right hand " * 8))
    assert short.shape[1] == long.shape[1] == 200 and len(short) < len(long) < 80


def test_a_clip_comes_back_from_npz_as_it_went(clip, tmp_path):
    path = viewer.save_npz(clip, tmp_path / "m.npz", contact=clip.labels.contact)
    again = viewer.load_npz(path)
    assert (again.name, again.verb, again.caption, again.fps) == (clip.name, clip.verb, clip.caption, clip.fps)
    assert again.object.name == clip.object.name and np.array_equal(again.object.angle, clip.object.angle)
    for side, track in clip.hands.items():
        for field in ("transl", "rotations", "betas", "valid"):
            assert np.array_equal(getattr(again.hands[side], field), getattr(track, field))
    with np.load(path) as fields:
        hand = clip.hands["right"]
        arrays = (torch.as_tensor(a) for a in (hand.rotations, hand.transl, hand.betas))
        assert np.allclose(fields["right_joints"], load_hand("right").joints(*arrays), atol=1e-6)
        assert np.array_equal(fields["t"], clip.object.transl) and np.array_equal(fields["R"], clip.object.rotation)
        assert fields["left_contact"].dtype == bool


def test_a_file_that_is_no_motion_is_named(tmp_path):
    (tmp_path / "x.npz").write_bytes(b"no archive")
    with pytest.raises(StoreError, match=r"x\.npz"):
        viewer.load_npz(tmp_path / "x.npz")


# ------------------------------------------------------------------ errors


WRITERS = {
    "m.html": lambda scene, clip, path: viewer.save_html(scene, path),
    "m.glb": lambda scene, clip, path: viewer.save_glb(scene, path),
    "m.gif": lambda scene, clip, path: viewer.save_gif(scene, path, size=48),
    "m.npz": lambda scene, clip, path: viewer.save_npz(clip, path),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_folder_that_cannot_be_written_is_one_clear_line(name, toy, clip, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot be written") as error:
        WRITERS[name](toy, clip, tmp_path / "file" / name)
    assert str(tmp_path) in error.value.what and "\n" not in error.value.what


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_leaves_the_old_file_and_nothing_else(name, toy, clip, tmp_path, monkeypatch):
    (tmp_path / name).write_text("old")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OutputError, match="No space left on device"):
        WRITERS[name](toy, clip, tmp_path / name)
    assert [p.name for p in tmp_path.iterdir()] == [name] and (tmp_path / name).read_text() == "old"


def test_a_film_strip_sets_moments_side_by_side(scene):
    strip = plots.film_strip(scene, 3, size=(60, 50))
    assert strip.shape == (50, 180, 3)
    assert not np.array_equal(strip[:, :60], strip[:, 120:])
    assert np.array_equal(strip[:, :60], plots.film_strip(scene, [0, 4, 8], size=(60, 50))[:, :60])
