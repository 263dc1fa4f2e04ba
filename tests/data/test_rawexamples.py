"""Folders made for trying readers: what is written is what each set's own reader gives back."""

import numpy as np
import pytest
from fixtures.motion import canonical

from hoi_lib.data.mistakes import moving_camera
from hoi_lib.data.raw import reader_for
from hoi_lib.data.rawexamples import (
    exact,
    on_template_hinge,
    world,
    write_arctic,
    write_grab,
    write_h2o,
)
from hoi_lib.motion import MotionClip


def test_exact_changes_nothing_but_the_digits():
    clip, model = canonical(hinged=True, both=True, count=1)[0]
    again = exact(clip)
    assert isinstance(again, MotionClip) and again.labels is None and again.object.rotation.dtype == np.float64
    assert np.abs(world(again, model) - world(clip, model)).max() < 1e-6
    on_axis, template = on_template_hinge(again, model)
    assert np.abs(world(on_axis, template) - world(again, model)).max() < 1e-9
    assert np.allclose(template.hinge.axis, [0, 0, -1]) and not np.any(template.hinge.origin)


@pytest.mark.parametrize("name", ["arctic", "grab", "h2o"])
def test_a_reader_gives_back_what_was_written(name, tmp_path):
    clip, model = canonical(hinged=name == "arctic", both=name != "h2o", count=1)[0]
    kept = slice(None)
    if name == "arctic":
        clip, model = on_template_hinge(clip, model)
        sequence = write_arctic(tmp_path, clip, model)
    elif name == "grab":
        sequence, kept = write_grab(tmp_path, clip, model), slice(2, None)
    else:
        sequence = write_h2o(tmp_path, clip, model, moving_camera(clip.frames))
    reader = reader_for(name, tmp_path)
    assert reader.sequences() == [sequence]
    [found] = reader.read(sequence)
    truth = world(clip, model)[kept][: found.frames]
    assert len(truth) == found.frames > 30 and found.hands.keys() == clip.hands.keys()
    assert np.abs(world(found, model) - truth).max() < 1e-6
    assert np.abs(reader.object(found.object.name).bounds - model.bounds).max() < 1e-6
