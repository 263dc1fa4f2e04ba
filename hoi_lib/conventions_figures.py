"""Pictures of recordings that were read wrongly: a gallery, a comparison to scrub through, and a table of witnesses.

The mistakes themselves are :mod:`hoi_lib.data.mistakes`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from hoi_lib import plots
from hoi_lib.data.mistakes import BOUNDS, MISTAKES, objections, planted
from hoi_lib.drawables import Mesh
from hoi_lib.scene import Scene, best_view, scene_of
from hoi_lib.widgets import Choice, Frame, Picture, Slider, StaticWidget, static_widget

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from hoi_lib.motion import MotionClip
    from hoi_lib.objects import ObjectModel

SIZE = (250, 230)  # pixels of one picture of a widget
FAR = 3.0  # metres
ELSEWHERE = 0.4  # metres from its true place: a hand that is looked for there
ROOM = 1.3  # of what is seen, round a hand and its object: a wrong one lies beside them


def moment(scene: Scene, share: float | int) -> int:
    """The frame at a ``share`` of the contact, from its first frame (0) to its last (1)."""
    held = np.flatnonzero(np.any(list(scene.contact.values()), axis=0))
    return int(held[round(share * (len(held) - 1))])


def near(meshes: Sequence[Mesh]) -> list[Mesh]:
    """The surfaces but for those over :data:`FAR` from the last one, a hand: what can be in one picture with it."""
    middle = np.mean(meshes[-1].vertices, 0)
    return [m for m in meshes if np.linalg.norm(np.mean(m.vertices, 0) - middle) < FAR]


def gallery(rows: Sequence[tuple[MotionClip, ObjectModel, float, Sequence[str]]], columns: int = 3) -> Figure:
    """Moments as they were and with each of some mistakes: (clip, model, share of the contact, names) a row."""
    panels, titles, views = [], [], []
    for clip, model, share, names in rows:
        scene = scene_of(clip, model)
        frame = moment(scene, share)
        wrong = [scene_of(*planted(name, clip, model)) for name in names]
        panels += [near(s.meshes(frame)) for s in (scene, *wrong)]
        titles += ["as it was", *(MISTAKES[name].words for name in names)]
        views += [best_view(scene)] * (1 + len(names))
    return plots.show(panels, titles, views, columns=columns, size=2.4)


def comparison(clips: Mapping[bool, tuple[MotionClip, ObjectModel]], alt: str, title: str) -> StaticWidget:
    """A widget: one moment of the contact as it was and with one mistake, side by side.

    Both are seen by the same eye, unless the mistake has taken the hand so far away that it would see nothing.

    ``clips`` maps True to a clip with a hinged object, for the mistakes about hinges, and False to one for the rest.
    """
    scenes = {hinged: scene_of(*pair) for hinged, pair in clips.items()}
    views = {hinged: best_view(scene) for hinged, scene in scenes.items()}
    wrong = {name: scene_of(*planted(name, *clips[mistake.hinged])) for name, mistake in MISTAKES.items()}
    by_words = {mistake.words: name for name, mistake in MISTAKES.items()}

    def state(share: int, words: str) -> Frame:
        mistake = MISTAKES[by_words[words]]
        truth, view = scenes[mistake.hinged], views[mistake.hinged]
        frame = moment(truth, share / 100)  # a clip that seems slow has only reached its frame of this number
        sound, spoilt = truth.meshes(frame), wrong[by_words[words]].meshes(frame)
        away = np.linalg.norm(np.mean(spoilt[-1].vertices, 0) - np.mean(sound[-1].vertices, 0))
        pictures = [_drawn(sound, sound, view, truth.ground)]
        pictures.append(_drawn(spoilt, spoilt, view) if away > ELSEWHERE else _drawn(spoilt, sound, view, truth.ground))
        said = f"Left as it was, right: {words}, {share} % into the contact. What was missed: {mistake.missed}."
        return Frame(pictures, said)

    moments = Slider("contact", range(0, 101, 25), "{} %", start=2, play=True, interval=600)
    return static_widget(state, [moments, Choice("mistake", list(by_words))], alt=alt, title=title)


def _drawn(meshes: Sequence[Mesh], like: Sequence[Mesh], view: tuple, ground: float | None = None) -> Picture:
    """The surfaces as seen by an eye that has ``like`` in the middle, with some room round it."""
    places = np.concatenate([m.vertices for m in like])
    eye = plots.camera(places.mean(0) + ROOM * (places - places.mean(0)), view, SIZE)
    return Picture(plots.render(meshes, size=SIZE, eye=eye, ground=ground, samples=2))


def witness_table(heard: Mapping[str, Mapping[str, float]]) -> Figure:
    """A row for each recording, a column for each witness of :data:`BOUNDS`; hatched where the witness objects."""
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(7.2, 0.38 * len(heard) + 0.8))
    for y, found in enumerate(heard.values()):
        against = objections(found)
        for x, (name, value) in enumerate(found.items()):
            bad = {"fc": "white", "ec": plots.COLORS["penetration"], "hatch": "/////"}
            look = bad if name in against else {"fc": "#EDEBE6", "ec": "white"}
            axis.add_patch(plt.Rectangle((x - 0.47, y - 0.44), 0.94, 0.88, **look))
            paper = {"fc": "white", "ec": "none", "pad": 1.5} if name in against else None
            axis.text(x, y, _short(value), ha="center", va="center", fontsize=11, bbox=paper)
    axis.set(xlim=(-0.5, len(BOUNDS) - 0.5), ylim=(len(heard) - 0.5, -0.5))
    axis.set_xticks(range(len(BOUNDS)), [name.replace(" (", "\n(") for name in BOUNDS])
    axis.set_yticks(range(len(heard)), heard)
    axis.xaxis.tick_top()
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    axis.grid(False)
    return figure


def _short(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 10 else f"{value:.2f}"
