"""A motion as an animated picture (``.gif``) and as plain arrays (``.npz``)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hoi_lib.errors import StoreError
from hoi_lib.motion import HandTrack, MotionClip, ObjectTrack
from hoi_lib.plots import COLORS
from hoi_lib.records import atomic
from hoi_lib.render import BACKGROUND, render, rgb
from hoi_lib.scene import Scene

if TYPE_CHECKING:
    from PIL.Image import Image

BAR = 7  # pixels: height of one row of the contact bar


def save_gif(
    scene: Scene,
    path: str | Path,
    size: int = 360,
    fps: float = 15,
    view: str | tuple = "best",
    caption: bool = True,
) -> Path:
    """Write the scene as a looping picture of ``size``² pixels, in one piece or not at all.

    Frames are skipped down to ``fps``. Along the foot one bar per hand runs through the clip, in the contact colour
    where the hand touches. Raises :class:`hoi_lib.errors.OutputError` where it cannot be written.
    """
    from PIL import Image

    path, step = Path(path), max(1, round(scene.fps / fps))
    with atomic(path) as temporary:  # opened first: a folder that refuses is found before the work
        pictures = _pictures(scene, range(0, scene.frames, step), size, view, caption)
        # one palette for all frames, so that nothing flickers and still places stay equal
        sheet = Image.fromarray(np.concatenate(pictures[:: max(1, len(pictures) // 6)]))
        palette = sheet.quantize(254, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        frames = [_indexed(picture, palette) for picture in pictures]
        more = {"append_images": frames[1:], "duration": round(1000 * step / scene.fps), "loop": 0, "optimize": False}
        frames[0].save(temporary, "GIF", save_all=True, **more)
    return path


def _indexed(picture: np.ndarray, palette: Image) -> Image:
    """The picture (H, W, 3) in the colours of ``palette``, background and contact colour exactly as they are meant."""
    from PIL import Image

    entries = np.array(palette.getpalette()[: 3 * 254], np.uint8).reshape(-1, 3)
    places = np.array(Image.fromarray(picture).quantize(palette=palette, dither=Image.Dither.NONE))
    exact = [_bytes(BACKGROUND), _bytes(COLORS["contact"])]
    for k, color in enumerate(exact, len(entries)):
        places[(picture == color).all(-1)] = k
    found = Image.fromarray(places)
    found.putpalette(np.concatenate([entries, exact]).reshape(-1).tolist())
    return found


def _pictures(scene: Scene, frames: range, size: int, view: str | tuple, caption: bool) -> list[np.ndarray]:
    """Rendered frames (size, size, 3), each with the contact bar at its foot and the caption at its head."""
    foot = (BAR + 3) * len(scene.contact) + (6 if scene.contact else 0)
    head = _caption(scene.caption, size) if caption and scene.caption else np.zeros((0, size, 3), np.uint8)
    head = head if len(head) <= size // 3 else head[:0]  # a tiny picture has no room for words
    box = (size, size - foot - len(head))
    eye = scene.eye(view, box)
    found = []
    for frame in frames:
        picture = render(scene.meshes(frame), size=box, eye=eye, ground=scene.ground, samples=2)
        found.append(np.concatenate([head, picture, _bars(scene, frame, size, foot)]))
    return found


def _bars(scene: Scene, frame: int, size: int, foot: int) -> np.ndarray:
    """The contact bars (foot, size, 3): the whole clip from left to right, with a mark at ``frame``."""
    strip = np.empty((foot, size, 3), np.uint8)
    strip[:] = _bytes(BACKGROUND)
    inside = np.arange(12, size - 12)
    place = (inside - 12) * scene.frames // (size - 24)
    for row, on in enumerate(scene.contact.values()):
        rows = slice(3 + row * (BAR + 3), 3 + row * (BAR + 3) + BAR)
        touching = np.asarray(on, bool)[place][:, None]
        strip[rows, inside] = np.where(touching, _bytes(COLORS["contact"]), _bytes("#E4E1DB"))
        strip[rows, inside[0] + (size - 26) * frame // max(scene.frames - 1, 1)][:] = _bytes(COLORS["ink"])
    return strip


def _caption(text: str, size: int) -> np.ndarray:
    """The caption in up to three lines, (height, size, 3)."""
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(max(11, size // 24))
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= size - 24 or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    if len(lines) > 3:
        lines = [*lines[:2], lines[2] + " …"]
    height = int(font.size * 1.35)
    sheet = Image.new("RGB", (size, 10 + height * len(lines)), tuple(_bytes(BACKGROUND)))
    pen = ImageDraw.Draw(sheet)
    for k, line in enumerate(lines):
        pen.text((12, 8 + k * height), line, fill=COLORS["ink"], font=font)
    return np.asarray(sheet)


def _bytes(color: str) -> np.ndarray:
    return np.uint8(rgb(color) * 255 + 0.5)


def save_npz(clip: MotionClip, path: str | Path, contact: Mapping[str, np.ndarray] | None = None) -> Path:
    """Write a clip as plain arrays, in one piece or not at all; :func:`load_npz` reads it back.

    Metres, radians, world frame with z up, ``v' = R v + t``; L frames. Fields:

    - ``t`` (L, 3), ``R`` (L, 3, 3), and ``angle`` (L,) if the object has a hinge: the object's path, under the names
      that a trajectory file has;
    - per hand ``left_…`` or ``right_…``: ``transl`` (L, 3) MANO translation, ``rotations`` (L, 16, 3, 3) absolute in
      the sense of MANO (root in the world, others relative to their parent), ``betas`` (10,), ``valid`` (L,),
      ``joints`` (L, 21, 3), and ``contact`` (L,) where given;
    - ``fps``, ``caption``, ``verb``, ``subject``, ``name``, ``object_name``, ``object_category``.
    """
    import torch

    from hoi_lib.hand import load_hand

    path = Path(path)
    fields = {"t": clip.object.transl, "R": clip.object.rotation, "fps": np.float64(clip.fps)}
    if clip.object.angle is not None:
        fields["angle"] = clip.object.angle
    words = {"caption": clip.caption, "verb": clip.verb, "subject": clip.subject, "name": clip.name}
    words |= {"object_name": clip.object.name, "object_category": clip.object.category}
    fields |= {key: np.str_(text) for key, text in words.items()}
    for side, track in clip.hands.items():
        parts = {"transl": track.transl, "rotations": track.rotations, "betas": track.betas, "valid": track.valid}
        rotations, transl, betas = (torch.as_tensor(parts[k]) for k in ("rotations", "transl", "betas"))
        parts["joints"] = load_hand(side).joints(rotations, transl, betas).numpy()
        if contact and side in contact:
            parts["contact"] = np.asarray(contact[side], bool)
        fields |= {f"{side}_{key}": value for key, value in parts.items()}
    with atomic(path) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, **fields)
    return path


def load_npz(path: str | Path) -> MotionClip:
    """Read a clip that :func:`save_npz` wrote; raises :class:`StoreError` for any other file."""
    try:
        with np.load(path, allow_pickle=False) as file:
            fields = {key: file[key] for key in file.files}
        words = {key: str(fields[key]) for key in ("name", "verb", "subject", "caption")}
        kind = str(fields["object_name"]), str(fields["object_category"])
        track = ObjectTrack(*kind, fields["t"], fields["R"], fields.get("angle"))
        keys = ("transl", "rotations", "betas", "valid")
        hands = {
            side: HandTrack(*(fields[f"{side}_{key}"] for key in keys))
            for side in ("left", "right")
            if f"{side}_transl" in fields
        }
        return MotionClip(hands=hands, object=track, fps=int(fields["fps"]), **words)
    except Exception as problem:  # numpy raises half a dozen kinds for damaged archives
        raise StoreError(f"{path}: not a motion file ({problem}).", "Write it with hoi generate or save_npz.") from None
