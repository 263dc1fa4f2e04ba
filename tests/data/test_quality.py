"""The check of a data set passes on a sound one and fails, in the right row, on a planted mistake."""

from dataclasses import replace

import numpy as np
import pytest

from hoi_lib import data
from hoi_lib.data import quality, store
from hoi_lib.data.verbs import motion_features, recognise
from hoi_lib.objects import load_object


def rows_of(folder):
    return {row.name: row for row in quality.measure(folder, progress=False, workers=1)}


def planted(small_set, folder, change):
    """A store of the same clips after ``change``, measured."""
    clips = [change(small_set[i]) for i in range(0, 36, 2)]
    store.write(folder, clips, load_object, source="test", profile="smoke", seed=0)
    return rows_of(folder)


def missed(rows):
    return {name for name, row in rows.items() if row.ok is False}


def test_a_small_build_keeps_every_promise(small_set):
    rows = data.check(small_set.folder, progress=False)
    assert len(rows) >= 20
    assert [row for row in rows if row.ok is False] == []


def test_a_transposed_object_rotation_is_found(small_set, tmp_path):
    def change(clip):
        return replace(clip, object=replace(clip.object, rotation=np.swapaxes(clip.object.rotation, 1, 2)))

    rows = planted(small_set, tmp_path / "t", change)
    assert "contact ratio, contact phase" in missed(rows) or "frames deeper than 10 mm" in missed(rows)


def test_millimetres_are_found(small_set, tmp_path):
    def change(clip):
        return replace(clip, object=replace(clip.object, transl=1000 * clip.object.transl))

    assert "farthest translation (m)" in missed(planted(small_set, tmp_path / "mm", change))


def test_a_hand_one_centimetre_away_is_found(small_set, tmp_path):
    def change(clip):
        moved = {s: replace(h, transl=h.transl + np.float32([0, 0, 0.03])) for s, h in clip.hands.items()}
        return replace(clip, hands=moved)

    rows = planted(small_set, tmp_path / "away", change)
    assert missed(rows) & {
        "contact ratio, contact phase",
        "frames deeper than 10 mm",
        "mean depth in the contact phase (mm)",
    }


def test_a_jumping_wrist_is_found(small_set, tmp_path):
    def change(clip):
        shift = np.zeros((clip.frames, 3), np.float32)
        shift[clip.frames // 2 :] = 0.04
        return replace(clip, hands={s: replace(h, transl=h.transl + shift) for s, h in clip.hands.items()})

    assert "peak wrist acceleration (m/s²)" in missed(planted(small_set, tmp_path / "jump", change))


def test_a_finger_bent_backwards_is_found(small_set, tmp_path):
    def change(clip):
        tracks = {}
        for side, hand in clip.hands.items():
            rotations = hand.rotations.copy()
            rotations[:, 2] = np.swapaxes(rotations[:, 2], 1, 2)  # the bend of the index finger's middle joint undone
            tracks[side] = replace(hand, rotations=rotations)
        return replace(clip, hands=tracks)

    assert "joint beyond its range (rad)" in missed(planted(small_set, tmp_path / "bent", change))


def test_a_leak_between_splits_is_found(small_set, monkeypatch):
    monkeypatch.setitem(quality.SPLITS, "val", ("s03", "s10"))
    rows = {row.name: row for row in quality.table_rows(small_set)}
    assert not rows["subjects in more than one split"].ok


def test_features_ignore_where_a_scene_stands(small_set):
    clip = small_set[0]
    shift = np.float32([0.3, -0.2, 0.1])
    moved = replace(
        clip,
        object=replace(clip.object, transl=clip.object.transl + shift),
        hands={s: replace(h, transl=h.transl + shift) for s, h in clip.hands.items()},
    )
    np.testing.assert_allclose(motion_features(moved), motion_features(clip), atol=2e-4)


def test_the_verb_classifier_fails_where_verbs_are_shuffled(small_set, tmp_path):
    rng = np.random.default_rng(0)
    verbs = [row["verb"] for row in small_set.table]
    rng.shuffle(verbs)
    clips = [replace(clip, verb=verb) for clip, verb in zip(small_set, verbs, strict=True)]
    mixed = store.write(tmp_path / "mixed", clips, load_object, source="test", profile="smoke", seed=0)
    assert recognise(mixed, steps=200, split="val") < 0.6


def test_numbers_that_are_not_finite_are_found(small_set, monkeypatch):
    poses = np.array(small_set.raw("hand_pose"))
    poses[3, 7] = np.nan
    monkeypatch.setattr(type(small_set), "raw", lambda self, name: poses if name == "hand_pose" else self._arrays[name])
    rows = {row.name: row for row in quality.number_rows(small_set)}
    assert not rows["numbers are finite"].ok


def test_an_unlabelled_store_can_be_measured(small_set, tmp_path):
    clips = [replace(small_set[i], labels=None) for i in range(4)]
    store.write(tmp_path / "plain", clips, load_object, source="test", profile="smoke", seed=0)
    rows = rows_of(tmp_path / "plain")
    assert rows["contact ratio, all frames"].ok


def test_a_damaged_store_is_not_measured(small_set, tmp_path):
    with pytest.raises(data.StoreError):
        data.check(tmp_path / "nothing")


# ------------------------------------------------------------------------------------------------------- recorded sets


def recorded_store(small_set, folder, source="h2o", change=lambda clip: clip, count=12):
    """Unlabelled clips under the name of a recorded set, with a split by three of their subjects."""
    clips = [change(replace(small_set[i], labels=None)) for i in range(0, 3 * count, 3)]
    people = sorted({clip.subject for clip in clips})
    splits = {"train": people[:-1], "val": (), "test": people[-1:]}
    return store.write(folder, clips, load_object, source=source, profile="", seed=0, splits=splits)


def test_a_recorded_set_is_held_beside_the_published_counts(small_set, tmp_path):
    rows = rows_of(recorded_store(small_set, tmp_path / "h2o").folder)
    assert rows["clips"].bound == "published 660" and rows["clips"].value == "12" and rows["clips"].ok is None
    assert {"captions", "verbs", "pairs of verb and object", "subjects", "objects"} <= set(rows)
    assert missed(rows) == set()


def test_a_count_that_agrees_is_met(small_set, tmp_path, monkeypatch):
    from hoi_lib.data import recorded

    made = recorded_store(small_set, tmp_path / "h2o")
    monkeypatch.setitem(recorded.PUBLISHED, "h2o", replace(recorded.PUBLISHED["h2o"], clips=12))
    rows = {row.name: row for row in recorded.table_rows(made)}
    assert rows["clips"].ok is True and rows["verbs"].ok is None


def test_promises_of_the_synthetic_set_are_not_asked_of_a_recording(small_set, tmp_path):
    rows = rows_of(recorded_store(small_set, tmp_path / "own", source="own").folder)
    assert "reach and release, share of a clip" not in rows and rows["contact ratio, all frames"].ok is None
    assert "clips" not in rows  # nobody has published counts of one's own set


def test_another_frame_rate_is_a_fault(small_set, tmp_path):
    made = recorded_store(small_set, tmp_path / "fast", change=lambda clip: replace(clip, fps=120))
    assert rows_of(made.folder)["frames a second"].ok is False


def test_a_convention_that_was_missed_fails_the_check_by_name(small_set, tmp_path):
    def swapped(clip):
        other = {"left": "right", "right": "left"}
        return replace(clip, hands={other[side]: track for side, track in clip.hands.items()})

    rows = rows_of(recorded_store(small_set, tmp_path / "swapped", change=swapped).folder)
    row = rows["convention “sides swapped”"]
    assert row.ok is False and row.detail.startswith("Left and right hand look exchanged")
    assert rows["conventions missed"].ok is False


def test_zero_betas_lose_contact_and_true_ones_do_not(small_set):
    rows = rows_of(small_set.folder)
    true, zero = (float(rows[name].value) for name in ("contact ratio, all frames", "contact ratio with zero betas"))
    assert zero < true - 0.005


def test_frames_in_which_a_hand_is_not_seen_are_not_measured(small_set, tmp_path):
    def lost(clip):
        """The hand is far off in the second half, and marked as not seen there."""
        tracks = {}
        for side, hand in clip.hands.items():
            transl, valid = hand.transl.copy(), hand.valid.copy()
            transl[clip.frames // 2 :] += np.float32([0, 0, 1])
            valid[clip.frames // 2 :] = False
            tracks[side] = replace(hand, transl=transl, valid=valid)
        return replace(clip, hands=tracks)

    rows = rows_of(recorded_store(small_set, tmp_path / "lost", change=lost).folder)
    plain = rows_of(recorded_store(small_set, tmp_path / "plain").folder)
    name = "peak wrist acceleration, usual (m/s²)"
    assert float(rows[name].value) <= float(plain[name].value)
    assert float(rows["contact ratio, all frames"].value) > 0.5
