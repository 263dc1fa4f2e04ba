"""The synthetic set: the plan, the motion laws, and that the same seed gives the same bytes."""

from collections import Counter

import numpy as np
import pytest
import torch

from hoi_lib.data import synthetic
from hoi_lib.data.choreography import SCRIPTS, Stage, bump, course, minimum_jerk, turn
from hoi_lib.data.library import mirror_axis
from hoi_lib.data.repertoire import FAMILIES, SKILLS, SLOTS, skills
from hoi_lib.data.splits import SPLITS
from hoi_lib.data.staging import mirror_clip
from hoi_lib.errors import OutputError
from hoi_lib.hand import load_hand
from hoi_lib.metrics import hand_object_distance
from hoi_lib.objects import CATEGORIES, HELD_OUT_SEEDS, load_object
from hoi_lib.rotations import is_rotation
from hoi_lib.text import VERBS


def test_minimum_jerk_starts_and_ends_at_rest():
    x = np.array([-1.0, 0.0, 0.5, 1.0, 2.0])
    np.testing.assert_allclose(minimum_jerk(x), [0, 0, 0.5, 1, 1])
    h = 1e-4
    for end in (0.0, 1.0):
        before, at, after = minimum_jerk(end + np.array([-h, 0.0, h]))
        velocity, acceleration = (after - before) / (2 * h), (after - 2 * at + before) / h**2
        assert abs(velocity) < 1e-6 and abs(acceleration) < 1e-2
    t = np.linspace(0, 1, 2001)
    peak = np.abs(np.gradient(np.gradient(minimum_jerk(t), t), t)).max()
    assert peak == pytest.approx(10 / np.sqrt(3), rel=1e-2)  # the closed form: 5.77 distance / time²


def test_courses_and_bumps_keep_to_their_times():
    s = np.linspace(0, 1, 101)
    assert course(s, 0.2, 0.6)[20] == 0 and course(s, 0.2, 0.6)[60] == 1
    hill = bump(s, 0.1, 0.3, 0.6, 0.9)
    assert hill[10] == 0 and hill[30:61] == pytest.approx(1) and hill[90] == pytest.approx(0)


@pytest.mark.parametrize("verb", SCRIPTS)
def test_every_script_starts_where_the_object_stands(verb):
    arm, palm = np.array([0.3, 0.9, -0.2]), np.array([0.05, -0.02, 0.03])
    stage = Stage(np.linspace(0, 1, 80), 80 / 30, (0.4, 1.6), arm, palm, 1.0, False, np.random.default_rng(0))
    act = SCRIPTS[verb](stage)
    assert np.abs(act.shift[0]).max() < 1e-9 and np.allclose(act.rotation[0], np.eye(3))
    assert is_rotation(torch.from_numpy(act.rotation)) and abs(act.slide[0]) < 1e-9 and abs(act.open[0]) < 1e-9
    steps = np.linalg.norm(np.diff(act.shift, 2, axis=0), axis=1).max() * 900
    assert steps < 25
    if verb == "open":
        assert act.angle[0] == pytest.approx(0.4) and act.angle[-1] == pytest.approx(1.6)


def test_the_tables_fit_together():
    assert set(SKILLS) == set(SCRIPTS) == set(VERBS)
    assert {s.category for s in skills()} == set(CATEGORIES) | {"object"}
    for skill in skills():
        for slot in filter(None, (skill.main, skill.other)):
            assert SLOTS[skill.category][slot].family in FAMILIES


def test_a_plan_of_48_holds_every_verb_every_kind_and_every_split():
    specs = synthetic.plan(48)
    assert {s.skill.verb for s in specs} == set(VERBS)
    assert {s.object.rsplit("_", 1)[0] for s in specs} >= set(CATEGORIES)
    subjects = {s.subject for s in specs}
    assert all(subjects & set(members) for members in SPLITS.values())
    assert {bool(s.skill.other) for s in specs} == {True, False} == {s.left for s in specs}


def test_a_large_plan_is_even_and_never_shows_a_held_out_shape():
    specs = synthetic.plan(3000)
    verbs = Counter(s.skill.verb for s in specs)
    assert max(verbs.values()) - min(verbs.values()) <= 1
    shapes = {s.object for s in specs if s.object.startswith("shape_")}
    assert len(shapes) >= 20 and not shapes & {f"shape_{seed}" for seed in HELD_OUT_SEEDS}
    assert len({s.name for s in specs}) == 3000
    assert synthetic.plan(3000, seed=1) != specs == synthetic.plan(3000)


def test_the_number_of_processes_changes_no_byte(small_set, tmp_path):
    one = synthetic.build(tmp_path / "one", "smoke", clips=36, workers=1, progress=False)
    assert one.fingerprint == small_set.fingerprint
    for name in ("hand_pose.npy", "object_pose.npy", "manifest.json"):
        assert (one.folder / name).read_bytes() == (small_set.folder / name).read_bytes()


def test_a_place_that_cannot_be_written_is_refused_before_the_work(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("mine")
    monkeypatch.setattr(synthetic, "plan", None)
    for place in (tmp_path / "file", tmp_path / "file" / "below", tmp_path):
        with pytest.raises(OutputError):
            synthetic.build(place, "smoke", progress=False)


def test_another_seed_gives_another_set(small_set, tmp_path):
    other = synthetic.build(tmp_path / "other", "smoke", clips=3, seed=5, workers=1, progress=False)
    assert other.fingerprint != small_set.fingerprint
    assert not np.array_equal(other[0].object.transl[:20], small_set[0].object.transl[:20])


def test_a_held_hand_is_rigid_to_its_object(small_set):
    clip = next(
        c for c in small_set if c.verb in ("lift", "pour", "place", "shake", "inspect") and c.object.angle is None
    )
    side = next(iter(clip.hands))
    held = clip.labels.contact[side]
    turn_in_object = np.einsum("lji,ljk->lik", clip.object.rotation, clip.hands[side].rotations[:, 0])[held]
    assert np.abs(turn_in_object - turn_in_object[0]).max() < 1e-4
    fingers = clip.hands[side].rotations[held, 1:]
    assert np.abs(fingers - fingers[0]).max() < 1e-4


@pytest.mark.parametrize("name", ["mug_small", "laptop_small", "notebook_small", "hammer_small", "can_small"])
def test_a_mirrored_object_is_itself_again(name):
    model = load_object(name)
    axis = mirror_axis(model)
    flip = np.ones(3)
    flip[axis] = -1
    points = model.points[:200].astype(np.float64) + 0.004 * model.normals[:200]
    angle = None if model.hinge is None else 0.5
    np.testing.assert_allclose(
        model.signed_distance(points * flip, angle), model.signed_distance(points, angle), atol=2e-3
    )


def test_mirroring_a_clip_keeps_its_contact(small_set):
    clip = next(c for c in small_set if len(c.hands) == 1 and c.object.category == "mug")
    model = small_set.object(clip.object.name)
    mirrored = mirror_clip(clip, mirror_axis(model))
    assert set(mirrored.hands) == {"left", "right"} - set(clip.hands)
    assert is_rotation(torch.as_tensor(mirrored.object.rotation))

    def distances(one):
        ((side, track),) = one.hands.items()
        vertices = load_hand(side).from_matrices(
            *(torch.as_tensor(getattr(track, k)) for k in ("rotations", "transl", "betas"))
        )
        return hand_object_distance(vertices.vertices.numpy(), one.object, model).distance_L

    np.testing.assert_allclose(distances(mirrored), distances(clip), atol=2e-4)


def test_turn_is_a_rotation_about_its_axis():
    R = turn(np.array([0, 0, 2.0]), np.array([np.pi / 2]))[0]
    np.testing.assert_allclose(R @ [1, 0, 0], [0, 1, 0], atol=1e-12)
