"""A page of pictures of a data set: some clips at four moments each, one HTML file that needs nothing else.

Figures tell whether a set is sound; a look tells what it is. Every strip has a text that says the same in words.
"""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Sequence
from dataclasses import replace
from html import escape
from pathlib import Path

import numpy as np

from hoi_lib.data.figures import Row
from hoi_lib.data.probe import Excerpt, spread_rows
from hoi_lib.data.store import ClipStore
from hoi_lib.errors import OutputError
from hoi_lib.hand import load_hand
from hoi_lib.motion import MotionClip
from hoi_lib.records import atomic
from hoi_lib.render import render
from hoi_lib.scene import scene_of

CLIPS, MOMENTS, SIZE = 16, 4, (280, 240)
STYLE = """
:root { color-scheme: light dark; --ink: #22282c; --quiet: #5b6368; --paper: #fbfaf7; --line: #d9d5cc; --bad: #a4341f }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8e6e1; --quiet: #a3a9ad; --paper: #1c2023; --line: #3a4146; --bad: #ff9d85 } }
body { margin: 0 auto; max-width: 74rem; padding: 1.5rem; font: 1rem/1.5 system-ui, sans-serif; color: var(--ink);
  background: var(--paper) }
h1 { margin: 0; font-size: 1.6rem } p { color: var(--quiet); margin: .2rem 0 1rem }
main { display: grid; gap: 1.2rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 32rem), 1fr)) }
figure { margin: 0; border: 1px solid var(--line); border-radius: 8px; overflow: hidden }
img { display: block; width: 100%; height: auto; background: #fbfaf7 }
figcaption { padding: .5rem .8rem } figcaption span { color: var(--quiet); display: block; font-size: .85rem;
  overflow-wrap: anywhere }
table { border-collapse: collapse; margin: .5rem 0 1.2rem; font-size: .9rem; display: block; overflow-x: auto }
th, td { text-align: left; padding: .15rem 1.2rem .15rem 0; border-bottom: 1px solid var(--line); vertical-align: top }
.MISSED { color: var(--bad); font-weight: 600 } details { margin-bottom: 1rem } summary { cursor: pointer }
"""


def prepare(path: str | os.PathLike) -> None:
    """Make sure, before the work, that a page can be written at ``path``; raises :class:`OutputError` if not."""
    path = Path(path)
    if path.suffix.lower() not in (".html", ".htm") or path.is_dir():
        raise OutputError(f"{path}: expected the name of an HTML file.", "For example --pictures clips.html.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error}).", "Choose another place.") from error


def write(store: ClipStore, path: str | os.PathLike, rows: Sequence[Row] = (), clips: int = CLIPS) -> int:
    """Write a page of up to ``clips`` clips, spread over the objects, with the figures ``rows`` of a check above them.

    Returns how many clips are shown. Raises :class:`OutputError` where the page cannot be written.
    """
    prepare(path)
    chosen = sorted(spread_rows(store.table, clips), key=lambda row: (row["category"], row["name"]))
    strips = [_figure(store, store.clip(row["name"])) for row in chosen]
    title = escape(f"{store.source}: {len(chosen)} of {len(store)} clips")
    about = escape(
        f"{len(store.subjects)} subjects, {len(store.objects)} objects, {len({r['verb'] for r in store.table})} verbs; "
        f"fingerprint {store.fingerprint[:16]}. Four moments of each clip, from left to right."
    )
    page = (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style></head>\n'
        f"<body><h1>{title}</h1><p>{about}</p>{_table(rows)}<main>\n{''.join(strips)}</main></body></html>\n"
    )
    with atomic(path) as temporary:
        Path(temporary).write_text(page, encoding="utf-8")
    return len(strips)


def _table(rows: Sequence[Row]) -> str:
    """The figures as a table that is folded away unless one is missed."""
    if not rows:
        return ""
    missed = sum(row.ok is False for row in rows)
    cells = "".join(
        f"<tr><td>{escape(r.name)}</td><td>{escape(r.detail or r.value)}</td><td>{escape(r.bound)}</td>"
        f'<td class="{r.verdict}">{r.verdict}</td></tr>\n'
        for r in rows
    )
    told = f"{len(rows)} figures, {missed} missed" if missed else f"{len(rows)} figures, none missed"
    head = "<tr><th>figure</th><th>value</th><th>bound</th><th></th></tr>"
    return f"<details{' open' if missed else ''}><summary>{told}</summary><table>{head}{cells}</table></details>"


def _figure(store: ClipStore, clip: MotionClip) -> str:
    """One clip as an HTML figure."""
    frames = np.unique(np.linspace(0.1, 0.9, MOMENTS) * (clip.frames - 1)).round().astype(int)
    few, words = at_frames(clip, frames), describe(store, clip, frames)
    numbers = [few.object.transl, few.object.rotation, *(h.transl for h in few.hands.values())]
    numbers += [h.rotations for h in few.hands.values()]
    if all(np.isfinite(x).all() for x in numbers):
        image = f'<img src="{_picture(few, store)}" alt="{escape(words)}" loading="lazy">'
    else:
        image = "<p>No picture: some of its numbers are not finite.</p>"
    note = f"{clip.name}, {clip.frames} frames, {clip.object.name}; {words.partition(': ')[2]}"
    return f"<figure>{image}<figcaption>{escape(clip.caption)}<span>{escape(note)}</span></figcaption></figure>\n"


def _picture(few: MotionClip, store: ClipStore) -> str:
    """The frames of a clip side by side, as a data address."""
    from PIL import Image

    scene = scene_of(few, store.object(few.object.name))
    eye = scene.eye("best", SIZE)
    panels = [render(scene.meshes(i), size=SIZE, eye=eye, ground=scene.ground, samples=2) for i in range(few.frames)]
    file = io.BytesIO()
    Image.fromarray(np.concatenate(panels, 1)).save(file, "WEBP", quality=82, method=5)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode()


def at_frames(clip: MotionClip, frames: np.ndarray) -> MotionClip:
    """The clip in some of its frames alone, without labels."""
    item = clip.object
    angle = None if item.angle is None else item.angle[frames]
    hands = {
        side: replace(h, transl=h.transl[frames], rotations=h.rotations[frames], valid=h.valid[frames])
        for side, h in clip.hands.items()
    }
    moved = replace(item, transl=item.transl[frames], rotation=item.rotation[frames], angle=angle)
    return replace(clip, hands=hands, object=moved, labels=None)


def describe(store: ClipStore, clip: MotionClip, frames: np.ndarray) -> str:
    """The moments of a clip in words: which hands, what they are at, and how far they are from it, in millimetres."""
    word, model = clip.object.category.replace("_", " "), store.object(clip.object.name)
    hands = []
    for side, track in clip.hands.items():
        excerpt = Excerpt(clip.name, clip.subject, side, track, clip.object, model, load_hand(side), frames, clip.fps)
        gaps = ["absent" if not track.valid[f] else _gap(d) for f, d in zip(frames, excerpt.distance, strict=True)]
        hands.append(f"{side} hand {', '.join(gaps)}")
    return f"{len(frames)} moments of {word}: {'; '.join(hands) or 'no hand'}"


def _gap(distance: np.ndarray) -> str:
    """One moment of one hand in words, from the signed distances (V,) of its skin."""
    nearest, depth = np.abs(distance).min(), -distance.min()
    if not np.isfinite(nearest):
        return "unknown"
    if depth > 0.01:
        return f"{1000 * depth:.0f} mm inside"
    return "touching" if nearest < 0.005 else "far off" if nearest >= 0.0499 else f"{1000 * nearest:.0f} mm away"
