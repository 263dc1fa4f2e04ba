"""Pictures of mistakes: a panel for each, an eye that finds what was taken away, a hatched cell for each objection."""

import matplotlib
import numpy as np
import pytest

matplotlib.use("Agg")

from hoi_lib import conventions_figures as figures
from hoi_lib import data
from hoi_lib.data.mistakes import BOUNDS, MISTAKES, objections
from hoi_lib.drawables import Mesh
from hoi_lib.scene import scene_of
from hoi_lib.widgets import LIMIT


@pytest.fixture(scope="module")
def lift():
    store = data.default("smoke", progress=False)
    row = next(row for row in store.table if not row["hinged"])
    return store.clip(row["name"]), store.object(row["object"])


def test_a_moment_lies_in_the_contact(lift):
    scene = scene_of(*lift)
    first, last = figures.moment(scene, 0), figures.moment(scene, 1)
    assert 0 < first < figures.moment(scene, 0.5) < last < scene.frames
    assert all(any(on[frame] for on in scene.contact.values()) for frame in (first, last))


def test_what_is_hundreds_of_metres_away_is_left_out_of_the_picture():
    corners, faces = 0.1 * np.eye(3), np.array([[0, 1, 2]])
    hand, mug, lost = (Mesh(corners + away, faces) for away in (0, 0.1, 160))
    kept = figures.near([lost, mug, hand])
    assert len(kept) == 2 and kept[0] is mug and kept[1] is hand


def test_a_gallery_has_a_panel_for_what_was_and_one_for_each_mistake(lift, monkeypatch):
    monkeypatch.setattr(figures.plots, "show", lambda panels, titles, views, **_: (panels, titles, views))
    panels, titles, views = figures.gallery([(*lift, 0.5, ["transposed", "millimetres"])])
    assert titles == ["as it was", "rotation transposed", "millimetres"]
    assert [len(panel) for panel in panels] == [len(panels[0])] * 2 + [len(panels[0]) - 1]
    assert views[0] == views[1] == views[2]


def test_a_comparison_finds_what_the_camera_took_away_and_stays_small(lift, monkeypatch):
    monkeypatch.setattr(figures, "MISTAKES", {name: MISTAKES[name] for name in ("transposed", "camera kept")})
    drawn = []
    render = figures.plots.render
    monkeypatch.setattr(figures.plots, "render", lambda meshes, **how: drawn.append(render(meshes, **how)) or drawn[-1])
    widget = figures.comparison({False: lift}, alt="Left as it was, right with one mistake.", title="Mistakes")
    assert widget.weight < LIMIT and "camera kept" in widget.html and "What was missed" in widget.html
    assert all(picture.std() > 5 for picture in drawn)  # none of them is empty


def test_the_table_hatches_every_objection_and_nothing_else():
    sound = dict.fromkeys(BOUNDS, 0.0) | {"touch": 1.0, "speed (m/s)": 1.0}
    heard = {"as it was": sound, "millimetres": sound | {"reach (m)": 159.0, "touch": 0.0}}
    axis = figures.witness_table(heard).axes[0]
    hatched = [patch for patch in axis.patches if patch.get_hatch()]
    assert len(axis.patches) == 2 * len(BOUNDS)
    assert len(hatched) == len(objections(heard["millimetres"])) == 2
    assert {text.get_text() for text in axis.texts} >= {"159", "0.00", "1.00"}
