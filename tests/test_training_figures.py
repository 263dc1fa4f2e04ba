"""Pictures of a training: the page of a record, and motions packed for the replay."""

import numpy as np
import pytest

from hoi_lib import records
from hoi_lib.training_figures import QUANTUM, Replay, packed, record_page, record_rows, unpacked

ASSET = records.ROOT / "book" / "assets" / "training_replay.npz"


@pytest.fixture(scope="module")
def record():
    return records.book()["laptop_training"]


def test_the_page_answers_six_questions_with_what_the_record_says(record):
    rows = record_rows(record, ["validation/mpjpe"], ["steps"])
    said = {field: value for part in rows.values() for field, value in part}
    assert len(rows) == 6 and all(question.endswith("?") for question in rows)
    assert said["config.steps"] == str(record["config"]["steps"])
    assert said["validation/mpjpe"].startswith(f"{records.value(record, 'metrics.validation/mpjpe'):.4g} mm")
    assert "no spread" in said["validation/mpjpe"] and said["sameness"] == record["sameness"]


def test_no_line_of_the_page_is_wider_than_the_page(record):
    figure = record_page(record, ["validation/mpjpe", "loss/validation/total"], ["init", "steps", "weights"])
    figure.canvas.draw()
    edge = figure.axes[0].get_window_extent().x1
    assert max(text.get_window_extent().x1 for text in figure.axes[0].texts) <= edge


def test_a_metric_that_the_record_lacks_is_named(record):
    with pytest.raises(KeyError, match="nothing"):
        record_rows(record, ["nothing"], [])


def test_a_packed_motion_comes_back_to_half_a_step():
    pose = np.random.default_rng(0).uniform(-3, 3, (40, 99)).astype(np.float32)
    assert packed(pose).dtype == np.int16
    assert np.abs(unpacked(packed(pose)) - pose).max() <= 0.51 * QUANTUM


def test_the_replay_draws_every_step_of_a_clip_and_its_recording():
    replay = Replay(ASSET)
    verb = replay.verbs[0]
    frame = replay.frame(verb)
    assert replay.arrays[f"{verb}/contact"][frame] and replay.frame(verb, -9.0) == 0
    scenes = [replay.scene(verb, step) for step in (*replay.steps, "truth")]
    assert all({"left", "right"} & {track.name for track in scene.tracks} for scene in scenes)
    joints = [scene.meshes(frame)[-1].vertices for scene in scenes]
    off = [np.linalg.norm(x - joints[-1], axis=-1).mean() for x in joints]
    assert off[0] > 2 * off[-2] > 0  # the last step is nearer to the recording than the first
    assert ASSET.stat().st_size < 300_000
