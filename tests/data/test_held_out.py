"""The held-out set: truth that holds, on shapes and with a subject that training never shows."""

from collections import Counter, defaultdict

import numpy as np
import pytest

from hoi_lib.data import held_out, library, synthetic
from hoi_lib.data.quality import measure_clips
from hoi_lib.data.splits import split_of
from hoi_lib.errors import OutputError
from hoi_lib.hand import load_hand
from hoi_lib.objects import HELD_OUT_SEEDS

TWO = held_out.SHAPES[3:5]


@pytest.fixture(scope="module")
def two_shapes(tmp_path_factory):
    return held_out.build(tmp_path_factory.mktemp("data") / "held_out", workers=1, progress=False, shapes=TWO)


def test_every_shape_is_held_by_either_hand_and_by_both_with_several_verbs():
    specs = held_out.plan()
    assert len(specs) == 5 * len(HELD_OUT_SEEDS) and len({s.name for s in specs}) == len(specs)
    by_shape = defaultdict(list)
    for spec in specs:
        by_shape[spec.object].append(spec)
    assert set(by_shape) == {f"shape_{seed}" for seed in HELD_OUT_SEEDS}
    for clips in by_shape.values():
        assert sorted(c.left for c in clips if c.skill.other is None) == [False, False, True, True]
        assert len({c.skill.verb for c in clips}) >= 4 and sum(c.skill.other is not None for c in clips) == 1
    assert min(Counter(s.skill.verb for s in specs).values()) >= 10


def test_nothing_of_it_is_ever_trained_on():
    shapes, subjects = {s.object for s in held_out.plan()}, {s.subject for s in held_out.plan()}
    assert {split_of(s) for s in subjects} == {"test"}
    assert not shapes & {s.object for s in synthetic.plan(6000)} and not shapes & set(library.SHAPES)
    assert not shapes & set(library.read(library.ASSET, load_hand("right")).objects())


def test_the_shipped_grasps_are_of_the_shapes_as_they_are_now():
    known = library.read(held_out.ASSET, load_hand("right"))
    assert set(known.objects()) == set(held_out.SHAPES) and all(known.fits(shape) for shape in held_out.SHAPES)


def test_the_truth_touches_in_every_contact_frame_and_never_goes_deep(two_shapes):
    found = measure_clips((str(two_shapes.folder), [row["name"] for row in two_shapes.table], 1))
    distance, depth, contact = (
        np.concatenate([getattr(m, k) for m in found]) for k in ("distance", "depth", "contact")
    )
    assert len(found) == 12 and contact.mean() > 0.6  # five clips a shape, one of them with two hands
    assert (distance[contact] < 0.005).mean() >= 0.99 and (depth > 0.01).mean() < 0.01


def test_all_of_it_is_the_test_split(two_shapes):
    assert len(two_shapes.subset("test")) == len(two_shapes) == 10 and not len(two_shapes.subset("train"))
    assert two_shapes.objects == TWO and two_shapes.source == "held-out"


def test_the_same_seed_gives_the_same_bytes_whatever_the_number_of_processes(two_shapes, tmp_path):
    again = held_out.build(tmp_path / "again", workers=2, progress=False, shapes=TWO)
    other = held_out.build(tmp_path / "other", seed=1, workers=1, progress=False, shapes=TWO[:1])
    assert again.fingerprint == two_shapes.fingerprint != other.fingerprint


def test_a_folder_of_somebody_else_is_left_alone(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(OutputError):
        held_out.build(tmp_path / "mine", progress=False, shapes=TWO[:1])
    assert [p.name for p in (tmp_path / "mine").iterdir()] == ["letter.txt"] and not list(tmp_path.glob(".*"))
