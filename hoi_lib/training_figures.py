"""Pictures of a training: a run record on one page, and the same noise sampled with the weights of several steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int16

from hoi_lib.motion import HandTrack, MotionClip, ObjectTrack
from hoi_lib.objects import load_object
from hoi_lib.plots import COLORS, camera, render
from hoi_lib.scene import Scene, best_view, scene_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from hoi_lib.records import Record

Rows = list[tuple[str, str]]
WIDE = 46  # characters of a value before it is broken
LINE = 0.235  # inches
QUANTUM = 2e-4  # metres, and entries of rotation matrices
PAINT = ("hand", "finger", "joint", "noise", "prediction", "penetration")


def record_rows(record: Record, metrics: Sequence[str], config: Sequence[str]) -> dict[str, Rows]:
    """What a record says, as rows (field, value) under the six questions that it answers.

    ``metrics`` and ``config`` name the entries to show; the rest is counted.
    """
    code, machine, data = record["code"], record["hardware"], record["data"]
    counts = f"{data.get('samples', '?')} hands to train on, {data.get('validation_samples', 0)} to validate on"
    shown = [(name, _measured(record["metrics"][name])) for name in metrics]
    rest = len(record["metrics"]) - len(metrics)
    state = {True: "with changes", False: "nothing changed", None: "state not known"}[code["dirty"]]
    return {
        "What was done?": [("name", record["name"]), ("command", record["command"]), ("created", record["created"])],
        "What decided it?": [
            *((f"config.{key}", _short(record["config"][key])) for key in config),
            ("config", f"… {len(record['config'])} fields in all"),
        ],
        "On which data?": [
            ("data.fingerprint", f"{data['fingerprint'][:12]}…"),
            ("data", f"{data['profile']}: {data.get('clips', '?')} clips, {counts}"),
        ],
        "With what?": [
            ("code", f"{str(code['commit'])[:12]}…, {state}"),
            ("packages", ", ".join(f"{k} {v}" for k, v in list(record["packages"].items())[:2]) + ", …"),
            (
                "hardware",
                f"{machine['cpu']}, {machine['threads']} of {machine['cores']} cores, {machine['gpu'] or 'no GPU'}",
            ),
            ("wall_time_s", f"{record['wall_time_s']:.0f}"),
            ("peak_memory_mb", f"{record['peak_memory_mb']:.0f}"),
        ],
        "What came out?": [
            *shown,
            ("", f"… {rest} more metrics, {len(record['curves'])} curves"),
            ("checkpoint", f"{str(record['checkpoint_sha256'])[:12]}…"),
        ],
        "How far can it be trusted?": [
            ("seeds", str(record["seeds"])),
            ("sameness", record["sameness"]),
            ("rule", str(record["rule"])),
            *(("notes" if i == 0 else "", note) for i, note in enumerate(record["notes"])),
        ],
    }


def record_page(record: Record, metrics: Sequence[str], config: Sequence[str]) -> Figure:
    """A record on one page: :func:`record_rows`, one colour per question, long values broken."""
    import matplotlib.pyplot as plt

    parts = {
        question: [(field if i == 0 else "", line) for field, value in rows for i, line in enumerate(_lines(value))]
        for question, rows in record_rows(record, metrics, config).items()
    }
    tall = sum(1.9 + len(rows) for rows in parts.values()) * LINE
    figure, axis = plt.subplots(figsize=(6.6, tall), layout="constrained")
    axis.set(xlim=(0, 6.6), ylim=(tall, 0))
    axis.axis("off")
    y = 0.0
    for color, (question, rows) in zip(PAINT, parts.items(), strict=True):
        high = (1.55 + len(rows)) * LINE
        axis.add_patch(plt.Rectangle((0, y), 6.6, high, facecolor=COLORS[color], alpha=0.10, lw=0))
        axis.add_patch(plt.Rectangle((0, y), 0.08, high, facecolor=COLORS[color], lw=0))
        axis.text(0.2, y + 0.85 * LINE, question, fontsize=13, weight="bold", va="center")
        for i, (field, value) in enumerate(rows):
            line = y + (1.95 + i) * LINE
            axis.text(0.2, line, field, fontsize=11.5, va="center", color="#5A5A5A")
            axis.text(2.25, line, value, fontsize=11.5, va="center")
        y += high + 0.35 * LINE
    return figure


def _lines(value: str) -> list[str]:
    return wrap(value, WIDE, break_long_words=True, break_on_hyphens=False) or [""]


def _measured(entry: Mapping[str, Any]) -> str:
    spread = "no spread" if entry["spread"] is None else f"± {entry['spread']:.3g}"
    return f"{entry['value']:.4g} {entry['unit']}".strip() + f"   (n = {entry['n']}, {spread})"


def _short(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {v}" for k, v in list(value.items())[:3]) + (", …" if len(value) > 3 else "")
    return str(value) or "(empty)"


# --- the replay ------------------------------------------------------------------------------------------------------


def packed(pose: Float[np.ndarray, "L 99"]) -> Int16[np.ndarray, "L 99"]:
    """A motion in a fifth of its bytes once compressed: its changes from frame to frame, in steps of 0.0002."""
    return np.diff(np.round(pose / QUANTUM).astype(np.int16), axis=0, prepend=np.int16(0))


def unpacked(changes: Int16[np.ndarray, "L 99"]) -> Float[np.ndarray, "L 99"]:
    """Inverse of :func:`packed`, to half a step."""
    return np.cumsum(changes, axis=0, dtype=np.int16).astype(np.float32) * np.float32(QUANTUM)


class Replay:
    """Motions of a few recorded clips, sampled from one noise with the weights of several ``steps`` of a training.

    ``path`` is a file that ``scripts/training_replay.py`` wrote: per clip, named by its verb, the object's path, the
    hand's shape and side, the frames in contact, and one :func:`packed` pose per step and one of the recording.
    """

    def __init__(self, path: str | Path):
        with np.load(path) as file:
            self.arrays = {name: file[name] for name in file.files}
        self.steps: list[int] = self.arrays["steps"].tolist()
        self.verbs = list(dict.fromkeys(name.split("/")[0] for name in self.arrays if "/" in name))

    def caption(self, verb: str) -> str:
        """The sentence that the clip was sampled from."""
        return str(self.arrays[f"{verb}/caption"])

    def frame(self, verb: str, share: float = 0.5) -> int:
        """The frame at ``share`` of the recorded contact; a share below 0 lies before it."""
        held = self.arrays[f"{verb}/contact"].nonzero()[0]
        return int(np.clip(held[0] + share * (held[-1] - held[0]), 0, len(self.arrays[f"{verb}/contact"]) - 1))

    def scene(self, verb: str, step: int | str) -> Scene:
        """The clip with the hand of a step, or of the recording (``"truth"``)."""
        import torch

        from hoi_lib.motion import SIDES, hand_track, unpack_object

        get = {name.split("/", 1)[1]: array for name, array in self.arrays.items() if name.startswith(f"{verb}/")}
        pose = torch.as_tensor(unpacked(get[str(step)]))
        track: HandTrack = hand_track(pose, torch.as_tensor(get["betas"]))
        model = load_object(str(get["object"]))
        transl, rotation, angle = unpack_object(torch.as_tensor(get["object_pose"]))
        angle = None if model.hinge is None else angle.numpy()
        item = ObjectTrack(model.name, model.category, transl.numpy(), rotation.numpy(), angle)
        side = SIDES[int(get["side"])]
        return scene_of(MotionClip("replay", {side: track}, item, verb, "replay", self.caption(verb)), model)

    def pictures(self, verb: str, share: float, size: tuple[int, int] = (300, 300)) -> dict[int, np.ndarray]:
        """One picture per step, all seen by one eye that holds the recorded hand and the object in view."""
        frame, truth = self.frame(verb, share), self.scene(verb, "truth")
        points = np.concatenate([m.vertices for m in truth.meshes(frame)])
        eye = camera(points, best_view(truth), size, 0.72)
        look = {"eye": eye, "size": size, "shadow": False, "samples": 2}
        return {step: render(self.scene(verb, step).meshes(frame), **look) for step in self.steps}
