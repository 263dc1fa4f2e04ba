"""A scene to turn and play in a browser: one file with everything in it, or a figure of the book.

:func:`save_html` writes a page that needs no network; :func:`embed` is the same viewer inside a notebook or the
built book. Both show a rendered still until the viewer starts, in print, and where there is no script or no WebGL.
The other writers, :func:`save_glb`, :func:`save_gif` and :func:`save_npz`, live beside this file and are re-exported.
"""

from __future__ import annotations

import base64
import io
import json
import os
import zlib
from dataclasses import dataclass
from functools import cache
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from hoi_lib.drawables import parted, quartered
from hoi_lib.glb import save_glb
from hoi_lib.motionfile import load_npz, save_gif, save_npz
from hoi_lib.plots import COLORS
from hoi_lib.records import atomic
from hoi_lib.render import FIELD, Camera, render
from hoi_lib.scene import MeshTrack, Rig, Rigid, Scene, best_view, hand_mesh_track, scene_of

__all__ = [
    "Embedded",
    "MeshTrack",
    "Rig",
    "Rigid",
    "Scene",
    "best_view",
    "embed",
    "hand_mesh_track",
    "load_npz",
    "save_glb",
    "save_gif",
    "save_html",
    "save_npz",
    "scene_of",
]

STEP = 1e-4  # metres: positions are stored to a tenth of a millimetre
STILL = (640, 480)
BOOK_FILES = "_static/hoi/"


@dataclass(frozen=True)
class Embedded:
    """A viewer for a notebook: HTML where that can be shown, its alt text elsewhere."""

    html: str
    alt: str

    def _repr_html_(self) -> str:
        return self.html

    def __repr__(self) -> str:
        return f"3D viewer: {self.alt}"


def save_html(scene: Scene, path: str | Path, view: str | tuple = "best", title: str | None = None) -> Path:
    """Write the scene as one page that runs from disk with no network, in one piece or not at all.

    ``view`` is where it is first seen from: "best" for both hands and object, a name of :data:`hoi_lib.render.VIEWS`,
    or degrees. The page turns, plays, scrubs, tells frame and contact in words, and follows the reader's dark mode.
    Raises :class:`hoi_lib.errors.OutputError` where it cannot be written.
    """
    name = escape(title or scene.caption or "Hands and object")
    body = _figure(scene, name, view, frame=_key_frame(scene), height=None)
    page = _asset("page.html")
    parts = {"title": name, "css": _asset("viewer.css"), "figure": body, "scripts": _scripts_inline()}
    for key, text in parts.items():
        page = page.replace(f"<!--{key}-->", text)
    path = Path(path)
    with atomic(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def embed(scene: Scene, alt: str, height: int = 420, view: str | tuple = "best", frame: int | None = None) -> Embedded:
    """The scene as a figure of a notebook or of the book, ``height`` pixels tall, starting at ``frame``.

    ``alt`` says what there is to see. In the book's build (``HOI_BOOK=1``) all viewers share one copy of the scripts
    among the book's files; elsewhere each carries its own. It starts when it scrolls into view and never plays alone.
    """
    frame = _key_frame(scene) if frame is None else frame
    figure = _figure(scene, escape(alt), view, frame, height)
    if os.environ.get("HOI_BOOK") == "1":
        return Embedded(figure + f"<script>{_asset('loader.js')}</script>", alt)
    return Embedded(f"<style>{_asset('viewer.css')}</style>{figure}{_scripts_inline()}", alt)


def _key_frame(scene: Scene) -> int:
    """The frame to show first: the middle of the contact, else of the clip."""
    touched = [np.flatnonzero(c) for c in scene.contact.values() if np.any(c)]
    return int(np.median(np.concatenate(touched))) if touched else scene.frames // 2


def _figure(scene: Scene, alt: str, view: str | tuple, frame: int, height: int | None) -> str:
    eye = scene.eye(view, STILL)
    still = render(scene.meshes(frame), size=STILL, eye=eye, ground=scene.ground, samples=2)
    style = f' style="--hoi-height:{height}px"' if height else ""
    caption = f'<p class="hoi-viewer-caption">{escape(scene.caption)}</p>' if scene.caption else ""
    return (
        f'<div class="hoi-viewer" role="group" aria-label="{alt}"{style}>{caption}'
        f'<div class="hoi-viewer-stage"><img class="hoi-viewer-still" src="{_jpeg(still)}" alt="{alt}"></div>'
        f'<script type="application/json" class="hoi-viewer-data">{payload(scene, eye, frame)}</script></div>'
    )


def _jpeg(picture: np.ndarray) -> str:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=86, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


def payload(scene: Scene, eye: Camera, frame: int = 0) -> str:
    """The scene as JSON for ``viewer.js``; arrays are deflated together and written in base64.

    A rigid surface is stored once, with its transforms (float32). Any other is stored as 16-bit positions in steps of
    :data:`STEP` metres, as differences from frame to frame, which deflate to about a tenth.
    """
    pack = _Pack()
    low, high = scene.points.min(0), scene.points.max(0)
    header = {
        "fps": scene.fps,
        "frames": scene.frames,
        "frame": frame,
        "ground": scene.ground,
        "low": low.tolist(),
        "high": high.tolist(),
        "eye": eye.eye.tolist(),
        "target": (eye.eye - eye.axes[2] * np.dot(eye.eye - (low + high) / 2, eye.axes[2])).tolist(),
        "field": FIELD,
        "aspect": STILL[0] / STILL[1],
        "tracks": [_track(t, pack) for t in scene.tracks],
        "contact": [
            {"label": scene.label(n), "on": np.asarray(c, int).tolist()} for n, c in scene.contact.items() if len(c)
        ],
        "colors": {"contact": COLORS["contact"]},
    }
    header |= pack.finish()
    return json.dumps(header, separators=(",", ":")).replace("</", "<\\/")


def _track(track: MeshTrack, pack: _Pack) -> dict[str, Any]:
    from matplotlib.colors import to_hex

    found: dict[str, Any] = {"label": track.words(), "color": to_hex(track.color)}
    if track.visible is not None:
        found["visible"] = np.asarray(track.visible, int).tolist()
    rest = track.motion.rest if isinstance(track.motion, Rigid | Rig) else track.vertices[0]
    source, faces = parted(rest, track.faces)
    found["source"] = pack.add(_index(source))
    if isinstance(track.motion, Rigid):
        scale = float(np.abs(rest).max()) / 32767 or 1.0
        found |= {
            "scale": scale,
            "rest": pack.add(np.round(rest / scale).astype(np.int16)),
            "poses": pack.add(_poses(track.motion).astype(np.float32)),
        }
    else:
        vertices = np.asarray(track.vertices, float)
        low, size = vertices.min((0, 1)), float(np.ptp(vertices, axis=(0, 1)).max())
        step = float(np.clip(STEP, size / 32767, size / 1000)) or STEP
        steps = np.round((vertices - low) / step).astype(np.int64).reshape(len(vertices), -1)
        change = np.ascontiguousarray(np.diff(steps, axis=0, prepend=0).astype(np.int16).T)
        pairs, sides, faces = quartered(faces, len(source))
        found |= {"origin": low.tolist(), "step": step, "deltas": pack.add(change, planes=True)}
        found |= {"pairs": pack.add(_index(pairs)), "bent": pack.add((sides[:, 1] >= 0).astype(np.uint8))}
    return found | {"faces": pack.add(_index(faces))}


def _index(numbers: np.ndarray) -> np.ndarray:
    return numbers.astype(np.uint16 if numbers.max(initial=0) < 65536 else np.uint32)


def _poses(motion: Rigid) -> np.ndarray:
    """Row-major 3 × 4 matrices (L, 12)."""
    return np.concatenate([motion.rotation, motion.transl[..., None]], -1).reshape(len(motion.transl), 12)


class _Pack:
    """Arrays laid end to end, each beginning at a multiple of four bytes."""

    def __init__(self) -> None:
        self.views: list[list] = []
        self.data = bytearray()

    def add(self, array: np.ndarray, planes: bool = False) -> int:
        """Append an array and return its number; ``planes`` parts low bytes from high ones, which deflates better."""
        raw = array.astype(array.dtype.newbyteorder("<")).tobytes()
        if planes:
            raw = np.frombuffer(raw, np.uint8).reshape(-1, array.itemsize).T.tobytes()
        self.views.append([array.dtype.name, len(self.data), array.size])
        self.data += raw + b"\0" * (-len(raw) % 4)
        return len(self.views) - 1

    def finish(self) -> dict[str, Any]:
        """The list of arrays and their bytes, for the header."""
        packed = zlib.compress(bytes(self.data), 9)
        return {"views": self.views, "data": base64.b64encode(packed).decode()}


@cache
def _asset(name: str) -> str:
    return (files("hoi_lib") / "assets" / "viewer" / name).read_text(encoding="utf-8").strip()


def _scripts_inline() -> str:
    three = _asset("three.min.js").replace(
        "var HoiThree=", "window.HoiThree=window.HoiThree||", 1
    )  # one a page is enough
    return f"<script>{three}</script><script>{_asset('viewer.js')}</script>"
