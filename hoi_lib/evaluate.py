"""Measure a denoiser on a split: contact, penetration, jitter and placement, beside the truth and two simple baselines.

Every hand of every clip is a sample of its own. Its window is fixed, so that every run is measured on the same frames:
the first 150, or, with ``windows="tiled"``, all windows of 150 frames side by side. One motion is generated per sample
and seed with the sampler that ``hoi generate`` uses. Averages pool the valid frames of all samples. Metrics of the
contact phase need labels, which real sets lack: there they are left out. Beside the model stand, measured in the same
way:

``truth/…``        the recorded hands themselves: the ceiling of contact, the floor of penetration
``mean_object/…``  the mean hand of the training split in the *object's* frame, per side, carried along by the object
``mean_world/…``   the mean hand of the training split in the *world*, per side, standing still

A mean hand is the mean of the 99 numbers over all valid frames, made a pose again by orthonormalising.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from hoi_lib import metrics, records
from hoi_lib.data.samples import SampleSet
from hoi_lib.data.store import ClipStore
from hoi_lib.denoiser import Denoiser
from hoi_lib.diffusion import Schedule
from hoi_lib.encoders import load_encoder
from hoi_lib.errors import ConfigError, StoreError
from hoi_lib.feed import generator
from hoi_lib.guidance import Guidance, Guide
from hoi_lib.hand import load_hand
from hoi_lib.losses import posed_hands
from hoi_lib.motion import (
    MAX_FRAMES,
    POSE_DIM,
    SIDES,
    ObjectTrack,
    Sample,
    collate,
    object_to_world,
    pack_pose,
    unpack_object,
    unpack_pose,
    world_to_object,
)
from hoi_lib.records import Record
from hoi_lib.runs import data_of
from hoi_lib.sampling import load_denoiser, sample_batch, weights_file

UNITS = {"mpjpe": "mm", "mpvpe": "mm", "mpjpe_root": "mm", "pskl_real_generated": "nats", "pskl_generated_real": "nats"}
LABELS = {
    "cr": "CR ↑",
    "cr_contact": "CR, contact phase ↑",
    "cr_1024": "CR, 1 024 points ↑",
    "cr_clean": "CR without Pen ↑",
    "cr_clean_contact": "CR without Pen, contact phase ↑",
    "pen": "Pen ↓",
    "pen_contact": "Pen, contact phase ↓",
    "mpjpe": "MPJPE ↓",
    "mpvpe": "MPVPE ↓",
    "mpjpe_root": "MPJPE, wrists aligned ↓",
    "pskl_real_generated": "PSKL-J, real‖generated ↓",
    "pskl_generated_real": "PSKL-J, generated‖real ↓",
}
COLUMNS = {"": "model", "truth/": "truth", "mean_object/": "mean hand, object", "mean_world/": "mean hand, world"}


OF_TRUTH = (
    "cr",
    "cr_contact",
    "cr_clean",
    "cr_clean_contact",
    "cr_1024",
    "pen",
    "pen_contact",
)  # its errors against itself are 0
PER_VERB = ("cr", "pen", "mpjpe")
TOUCH = ("distance_L", "depth_L", "sparse_L")


class Score(NamedTuple):
    """The value of a metric and how many frames (for PSKL-J: samples) it was taken over."""

    value: float
    n: int


@dataclass(frozen=True)
class Measured:
    """One hand against its object and its truth: frames (L,) in metres, joints (L, 21, 3) in the world, and the mean
    vertex error of the clip in millimetres."""

    touch: metrics.HandObjectDistance
    joints: np.ndarray
    vertex_error: float


def evaluate(
    run: str | Path | Denoiser,
    store: ClipStore,
    split: str = "test",
    seed: int | Sequence[int] = 0,
    steps: int | None = None,
    out: str | Path | None = None,
    limit: int | None = None,
    batch: int = 32,
    progress: bool = True,
    guide: bool = False,
    windows: str = "first",
) -> Record:
    """Generate one motion for every hand of ``split`` and return the run record of what was measured.

    ``run`` is a run folder, an exported folder or a denoiser; ``seed`` one seed or several (then every metric is a mean
    with the standard deviation over seeds as its spread); ``steps`` replaces the config's number of DDIM steps;
    ``limit`` at most so many samples, spread evenly over the split; ``guide`` samples under :mod:`hoi_lib.guidance`;
    ``windows`` of :class:`~hoi_lib.data.samples.SampleSet`, "first" or "tiled".
    With ``out`` the record is also written there, in one piece. The same seeds on the same kind of machine give the
    same numbers. Raises :class:`CheckpointError`, or :class:`StoreError` for a split without a hand in it.
    """
    start = perf_counter()
    denoiser = run if isinstance(run, Denoiser) else load_denoiser(run)
    seeds = [seed] if isinstance(seed, int) else list(seed)
    samples = chosen_samples(store, split, denoiser.config.points, limit, denoiser.config.betas, windows)
    steps = steps or denoiser.config.sampling_steps
    judge = Judge(samples, store, progress)
    found = {"truth/": [{k: v for k, v in judge.scores(judge.truth).items() if k in OF_TRUTH}]}
    for prefix, poses in mean_hands(store.subset("train"), samples).items():
        found[prefix] = [judge.scores(judge.measure(poses, COLUMNS[prefix]))]
    made = (_generate(denoiser, samples, s, steps, batch, progress, store if guide else None) for s in seeds)
    found[""] = [judge.scores(judge.measure(poses, COLUMNS[""])) for poses in made]
    record = records.new(
        f"{Path(run).name if not isinstance(run, Denoiser) else 'denoiser'}, {split}",
        config={
            "split": split,
            "sampler": denoiser.config.sampler,
            "steps": steps,
            "betas": denoiser.config.betas,
            "batch": batch,
            "limit": limit,
            "frames": MAX_FRAMES,
            "windows": windows,
            "guidance": asdict(Guidance()) if guide else None,
        },
        seeds=seeds,
        data=data_of(store) | {"split": split, "clips": len({s.clip_name for s in samples}), "samples": len(samples)},
        metrics=_collect(found),
        wall_time_s=perf_counter() - start,
        sameness="close",
        checkpoint=weights_hash(run),
        notes=[f"spread: standard deviation over {len(seeds)} seeds" if len(seeds) > 1 else "one seed: no spread"],
    )
    if out is not None:
        records.write(record, out)
    return record


def chosen_samples(
    store: ClipStore,
    split: str,
    points: int,
    limit: int | None = None,
    betas: str = "subject",
    windows: str = "first",
) -> list[Sample]:
    """The hands of a split as samples, all of them or ``limit`` spread evenly; raises :class:`StoreError` for none."""
    if limit is not None and limit < 1:
        raise ConfigError(f"limit {limit}: expected at least 1 sample, or none to take all.")
    everything = SampleSet(store.subset(split), points, betas=betas, windows=windows)
    if not len(everything):
        raise StoreError(f"{store.folder}: no hand in the split {split!r}.", _instead(store, split))
    count = min(limit or len(everything), len(everything))
    return [everything[i * len(everything) // count] for i in range(count)]


def _instead(store: ClipStore, split: str) -> str:
    """What to do about a split without a hand in it."""
    full = [f"--split {other}" for other in ("test", "val", "train") if other != split and len(store.subset(other))]
    measured = f"Measure {' or '.join(full)}" if full else "Build a larger set"
    known = store.subset("train").subjects
    if split != "val" or len(known) < 2:
        return f"{measured}."
    return f"{measured}, or build the set again with a training subject set apart: --val {known[-1]}."


def mean_hands(train: ClipStore, samples: Sequence[Sample]) -> dict[str, list[Tensor]]:
    """The two copy-the-mean-hand baselines as world poses (L, 99), one per sample, by their prefix.

    A side that the training clips never show takes the other side's mean; without training clips there is no baseline.
    """
    known = SampleSet(train, points=1)
    if not len(known):
        return {}
    total, count = torch.zeros(2, len(SIDES), POSE_DIM, dtype=torch.float64), torch.zeros(len(SIDES), 1)
    for i in range(len(known)):
        batch = collate([known[i]])
        local = world_to_object(batch.pose, batch.object_pose, batch.wrist_rest)
        for row, pose in enumerate((local, batch.pose)):
            total[row, known[i].side] += pose[batch.valid].double().sum(0)
        count[batch.side] += batch.valid.sum()
    if not count.any():
        raise StoreError(f"{train.folder}: no training hand to take a mean of.", "Build a larger set.")
    mean = torch.where(count > 0, total / count, total.flip(1) / count.flip(0)).float()
    return {
        "mean_object/": [_carried(mean[0, s.side], s) for s in samples],
        "mean_world/": [pack_pose(*unpack_pose(mean[1, s.side])).expand(len(s.pose), -1) for s in samples],
    }


def _carried(mean_X: Float[Tensor, "99"], sample: Sample) -> Float[Tensor, "L 99"]:
    """A hand that rests in the object's frame, as a world pose in every frame of a sample."""
    still = pack_pose(*unpack_pose(mean_X)).expand(len(sample.pose), -1)
    return object_to_world(still[None], sample.object_pose[None], sample.wrist_rest[None])[0]


class Judge:
    """Measures motions of the same samples: the truth once, then whatever is held against it.

    ``truth`` is the recorded motion, measured like any other.
    """

    def __init__(self, samples: Sequence[Sample], store: ClipStore, progress: bool = True):
        self.samples, self.store, self.progress = samples, store, progress
        self.hands = {side: load_hand(side) for side in SIDES}
        self.valid_NL = _stack([s.valid.numpy() for s in samples])
        self.contact_NL = _stack([s.contact.numpy() for s in samples]) & self.valid_NL
        self.length_N = self.valid_NL.shape[1] - self.valid_NL[:, ::-1].argmax(1)
        self.verb_N = np.array([s.verb for s in samples])
        self.truth = self.measure([s.pose for s in samples], COLUMNS["truth/"])

    @torch.no_grad()
    def measure(self, poses: Sequence[Float[Tensor, "_ 99"]], label: str) -> list[Measured]:
        """Measure one world pose (L, 99) per sample."""
        pairs = zip(self.samples, poses, strict=True)
        bar = tqdm(pairs, f"measuring {label}", len(poses), disable=not self.progress or None, leave=False)
        return [self._measure(sample, pose) for sample, pose in bar]

    def _measure(self, sample: Sample, pose_LX: Tensor) -> Measured:
        both = torch.stack([pose_LX, sample.pose])
        side = torch.full((2,), sample.side)
        joints, vertices = posed_hands(both, sample.betas.expand(2, -1), side, self.hands)
        error = metrics.mpvpe(*vertices[:, None], sample.valid[None]) if sample.valid.any() else 0.0
        touch = metrics.hand_object_distance(vertices[0], _track(sample), self.store.object(sample.object_name))
        return Measured(touch, joints[0].numpy(), error)

    def scores(self, measured: Sequence[Measured]) -> dict[str, Score]:
        """Every metric over all samples, and CR, Pen and MPJPE of each verb under "verb/pour/cr"."""
        found = self._scores(measured, np.ones(len(measured), bool))
        for verb in sorted(set(self.verb_N)):
            part = self._scores(measured, self.verb_N == verb)
            found |= {f"verb/{verb}/{name}": part[name] for name in PER_VERB if name in part}
        return found

    def _scores(self, measured: Sequence[Measured], rows: np.ndarray) -> dict[str, Score]:
        chosen = [m for m, row in zip(measured, rows, strict=True) if row]
        truth = [m for m, row in zip(self.truth, rows, strict=True) if row]
        valid, contact = self.valid_NL[rows], self.contact_NL[rows]
        frames = self.valid_NL.shape[1]
        if not valid.any():
            return {}
        distance, depth, sparse = (_stack([getattr(m.touch, f) for m in chosen], frames) for f in TOUCH)
        made, real = (_stack([m.joints for m in part], frames) for part in (chosen, truth))
        values = {
            "cr": metrics.contact_ratio(distance, valid),
            "cr_1024": metrics.contact_ratio(sparse, valid),
            "cr_clean": metrics.clean_contact_ratio(distance, depth, valid),
            "pen": metrics.penetration_ratio(depth, valid),
            "mpjpe": metrics.mpjpe(made, real, valid),
            "mpvpe": float(np.average([m.vertex_error for m in chosen], weights=valid.sum(1))),
            "mpjpe_root": metrics.mpjpe(made, real, valid, root=0),
        }
        found = {name: Score(value, int(valid.sum())) for name, value in values.items()}
        if contact.any():
            values = {
                "cr_contact": metrics.contact_ratio(distance, contact),
                "cr_clean_contact": metrics.clean_contact_ratio(distance, depth, contact),
                "pen_contact": metrics.penetration_ratio(depth, contact),
            }
            found |= {name: Score(value, int(contact.sum())) for name, value in values.items()}
        if frames >= 3:
            pair = metrics.pskl_j(real, made, self.length_N[rows].clip(1))
            for name, value in zip(("pskl_real_generated", "pskl_generated_real"), pair, strict=True):
                found[name] = Score(value, len(chosen))
        return found


def weights_hash(run: str | Path | Denoiser) -> str:
    """SHA-256 of the weights: of the file ``model.safetensors``, or of a denoiser's own tensors in order of name."""
    if not isinstance(run, Denoiser):
        return records.file_hash(weights_file(run))
    digest = sha256()
    for name, tensor in sorted(run.state_dict().items()):
        digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def format_table(record: Mapping[str, Any]) -> str:
    """The record as plain text: a row per metric, a column per method, then a row per verb."""
    found = record["metrics"]
    prefixes = [p for p in COLUMNS if f"{p}cr" in found]
    rows = [["", *(COLUMNS[p] for p in prefixes)]]
    rows += [
        [label, *(_cell(found.get(p + name)) for p in prefixes)] for name, label in LABELS.items() if name in found
    ]
    verbs = sorted({key.split("/")[1] for key in found if key.startswith("verb/")})
    parts = [["verb", *(LABELS[name] for name in PER_VERB)]]
    parts += [[verb, *(_cell(found.get(f"verb/{verb}/{name}")) for name in PER_VERB)] for verb in verbs]
    data, seeds = record["data"], ", ".join(map(str, record["seeds"]))
    counts = f"{data['samples']} hands of {data['clips']} clips, {found['cr']['n']} frames, split {data['split']}"
    return "\n\n".join([_grid(rows), _grid(parts), f"{counts}; seeds {seeds}; {'; '.join(record['notes'])}"])


def _generate(
    denoiser: Denoiser,
    samples: Sequence[Sample],
    seed: int,
    steps: int,
    batch: int,
    progress: bool,
    objects: ClipStore | None = None,
) -> list[Tensor]:
    """One world pose (L, 99) per sample; clips of similar length share a batch; guided if there are ``objects``."""
    encoder = load_encoder(denoiser.config.encoder)
    by_length = sorted(range(len(samples)), key=lambda i: len(samples[i].pose))
    poses: dict[int, Tensor] = {}
    starts = range(0, len(samples), batch)
    each = Schedule.of(denoiser.config.schedule).steps if denoiser.config.sampler == "ddpm" else steps
    with tqdm(total=len(starts) * each, desc="sampling", disable=not progress or None, leave=False) as bar:
        for number, start in enumerate(starts):
            chosen = by_length[start : start + batch]
            stacked = collate([samples[i] for i in chosen])
            guide = None
            if objects is not None:
                guide = Guide(denoiser, stacked, [objects.object(samples[i].object_name) for i in chosen])
            random, tick = generator(seed, 2, number), lambda _: bar.update(1)
            made = sample_batch(denoiser, stacked, encoder, steps, random, tick, guide)
            poses |= {i: pose[: len(samples[i].pose)].cpu() for i, pose in zip(chosen, made, strict=True)}
    return [poses[i] for i in range(len(samples))]


def _collect(runs: Mapping[str, Sequence[dict[str, Score]]]) -> dict[str, dict[str, Any]]:
    """Metrics of the record: the mean over runs (seeds) and, with two or more, their standard deviation."""
    collected = {}
    for prefix, scores in runs.items():
        for name, first in scores[0].items():
            values = [score[name].value for score in scores]
            spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
            unit = UNITS.get(name.rpartition("/")[2], "")
            collected[prefix + name] = records.metric(np.mean(values), first.n, unit, spread)
    return collected


def _track(sample: Sample) -> ObjectTrack:
    transl, rotation, angle = (x.double().numpy() for x in unpack_object(sample.object_pose))
    return ObjectTrack(sample.object_name, sample.object_name, transl, rotation, angle)


def _stack(arrays: Sequence[np.ndarray], frames: int | None = None) -> np.ndarray:
    """Arrays (L, …) of different length as one (N, L, …), zeros in the padding."""
    frames = frames or max(map(len, arrays))
    return np.stack([np.pad(a, [(0, frames - len(a)), *[(0, 0)] * (a.ndim - 1)]) for a in arrays])


def _cell(entry: Mapping[str, Any] | None) -> str:
    if entry is None:
        return "–"
    digits = 1 if entry["unit"] == "mm" else 3
    spread = "" if entry["spread"] is None else f" ± {entry['spread']:.{digits}f}"
    return f"{entry['value']:.{digits}f}{spread} {entry['unit']}".rstrip()


def _grid(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join(c.rjust(w) if i else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True)))
        for row in rows
    ]
    return "\n".join([lines[0], "  ".join("─" * w for w in widths), *lines[1:]])
