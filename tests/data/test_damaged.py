"""A thousand damaged downloads: each is read as it was before the damage, or named; none ends in a traceback."""

import copy
import signal
import zlib
from collections import Counter
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from fixtures import arctic, damage, grab, h2o
from fixtures.motion import Canonical, canonical, cut
from test_own import write_set

from hoi_lib.data import ingest, pieces, raw, text2hoi
from hoi_lib.errors import HoiError, RawDataError
from hoi_lib.motion import MotionClip
from hoi_lib.objects import ObjectModel

VARIANTS = {"arctic": 250, "arctic_official": 100, "grab": 200, "h2o": 200, "text2hoi": 150, "own": 150}
SHARED = (".obj", ".ply", ".json", ".pkl")  # of these a reader keeps what it has read
SECONDS = 20  # after which reading counts as hanging
FRAMES = 26
SAME = 1e-9
# what may become of a damaged file, from best to worst for a sequence that needs it
FATES = (
    "unchanged",  # every record is as it was
    "doubted",  # so is the motion, and a note tells that the object may not be
    "fewer",  # the end of a list of clips or labels is missing, where nothing can tell: the others are as they were
    "gone",  # the file is gone, and its sequence with it
    "passed",  # a number has become another plausible one
    "reported",  # the sequence is skipped with file and reason
    "refused",  # the whole folder is
)


def short(item: Canonical, frames: int = FRAMES) -> Canonical:
    """The clip from just before the hand meets the object on."""
    start = max(0, min(min(item.clip.labels.onset.values()) - 3, item.clip.frames - frames))
    return Canonical(cut(item.clip, slice(start, start + frames)), item.model)


def few(hinged: bool, count: int, frames: int = FRAMES) -> list[Canonical]:
    """Short clips with the lightest meshes."""
    return [short(c, frames) for c in sorted(canonical(hinged=hinged), key=lambda c: len(c.model.vertices))[:count]]


def write_arctic(folder: Path) -> None:
    arctic.write(folder, few(True, 2) + few(False, 1))


def write_arctic_official(folder: Path) -> None:
    arctic.write(folder, few(True, 1) + few(False, 1), text2hoi=False)


def write_grab(folder: Path) -> None:
    clips = sorted(grab.some_clips(), key=lambda c: len(c.model.vertices))[:3]
    grab.write(folder, [short(c) for c in clips])


def write_h2o(folder: Path) -> None:
    h2o.write(folder, few(False, 2, 2 * FRAMES))  # two actions each


def write_text2hoi(folder: Path) -> None:
    items = few(True, 1) + few(False, 1)
    models = {item.model.name: item.model for item in items}
    text2hoi.write(folder, [item.clip for item in items], models.__getitem__)


def write_own(folder: Path) -> None:
    write_set(folder, few(True, 1) + few(False, 1))


WRITERS: dict[str, Callable[[Path], None]] = {
    "arctic": write_arctic,
    "arctic_official": write_arctic_official,
    "grab": write_grab,
    "h2o": write_h2o,
    "text2hoi": write_text2hoi,
    "own": write_own,
}


@dataclass
class Tree:
    """A folder of one set: what its undamaged sequences and objects are, and which sequences need a file."""

    name: str
    root: Path
    reader: raw.Reader
    clips: dict[str, list[MotionClip]]
    objects: dict[str, ObjectModel]
    notes: dict
    users: dict[Path, list[str]] = field(default_factory=dict)

    def make(self) -> raw.Reader:
        return raw.reader_for(self.name.partition("_")[0], self.root)

    def files(self) -> list[Path]:
        """Those that clips need, and as many as a tenth of them that nobody needs; six of a folder of many."""
        needed = [path for path, users in self.users.items() if path.is_file() and any(map(self.clips.get, users))]
        others = sorted(p for p in self.root.rglob("*") if p.is_file() and p not in needed)
        rng = np.random.default_rng(0)
        folders = sorted({path.parent for path in needed})
        files = [p for f in folders for p in _some(sorted(p for p in needed if p.parent == f), rng)]
        return files + _some(others, rng, len(files) // 10)


def _some(paths: list[Path], rng: np.random.Generator, most: int = 6) -> list[Path]:
    return paths if len(paths) <= most else [paths[i] for i in rng.choice(len(paths), most, replace=False)]


def planted(name: str, root: Path) -> Tree:
    """Write the set ``name`` and read all of it."""
    WRITERS[name](root)
    reader = raw.reader_for(name.partition("_")[0], root)
    clips = {sequence: reader.read(sequence) for sequence in reader.sequences()}
    assert sum(map(len, clips.values())) >= 2
    names = {clip.object.name for part in clips.values() for clip in part}
    tree = Tree(name, root, reader, clips, {n: reader.object(n) for n in names}, reader.notes)
    for sequence in clips:
        for path in [*reader.files(sequence), *(root.rglob("objects/**/*") if name == "own" else ())]:
            for file in [path, *path.iterdir()] if path.is_dir() else [path]:
                tree.users.setdefault(file, []).append(sequence)
    return tree


@pytest.fixture(scope="module", params=list(WRITERS))
def tree(request, tmp_path_factory):
    return planted(request.param, tmp_path_factory.mktemp(request.param) / "raw")


# ------------------------------------------------------------------------------------------------------------ judging


def judged(tree: Tree, wound: damage.Wound) -> str:
    """What became of a wound: one of :data:`FATES`; anything else is an AssertionError."""
    try:
        fresh = tree.make()
        listed = fresh.sequences()
    except RawDataError as error:
        assert_names_a_path(error, tree)
        return "refused"
    shared = wound.path.suffix in SHARED or tree.name.startswith(("own", "text2hoi"))
    reader = fresh if shared else copy.copy(tree.reader)
    affected = tree.users.get(tree.root / wound.path, [])[:2]
    fates = [fate_of(tree, reader, sequence, wound) for sequence in affected if sequence in listed]
    if gone := [sequence for sequence in affected if sequence not in listed]:
        assert wound.kind in damage.MAY_VANISH, f"{gone} vanished without a word"
        fates.append("gone")
    for sequence in sorted(set(listed) - set(tree.clips)):
        fates.append(fate_of(tree, reader, sequence, wound))
    return max(fates, key=FATES.index, default="unchanged")


def fate_of(tree: Tree, reader: raw.Reader, sequence: str, wound: damage.Wound) -> str:
    try:
        clips = reader.read(sequence)
        models = {clip.object.name: reader.object(clip.object.name) for clip in clips}
    except RawDataError as error:
        assert_names_a_path(error, tree)
        return "reported"
    faults = [fault for fault in map(pieces.fault_of, clips) if fault]
    if any("name" in fault for fault in faults):
        return "reported"  # by the build, whatever set it is
    assert not faults, faults[0]
    truth = tree.clips.get(sequence)
    if truth is None:  # a new name: what it holds has to be one of the known recordings
        truth = next((t for t in tree.clips.values() if same_motion(clips, t)), [])
    if same_motion(clips, truth) and all(doubted(tree, reader, model) for model in models.values()):
        return "doubted"
    if all(same_model(model, tree.objects.get(name)) for name, model in models.items()):
        if same_motion(clips, truth):
            return "unchanged"
        if wound.path.suffix == ".txt" and same_motion(clips, [t for t in truth if t.name in {c.name for c in clips}]):
            return "fewer"  # nothing in a list of clips or labels tells that its end is missing
    assert wound.kind in damage.MAY_PASS, f"{sequence}: a wrong record ({difference(clips, truth) or 'its object'})"
    assert_plausible(clips)
    return "passed"


def assert_names_a_path(error: HoiError, tree: Tree) -> None:
    assert error.what.startswith(str(tree.root)) and "\n" not in error.what, error.what


def assert_plausible(clips: list[MotionClip]) -> None:
    for clip in clips:
        for track in (clip.object, *clip.hands.values()):
            assert np.abs(track.transl).max() < 25, f"{clip.name}: {np.abs(track.transl).max()} m away"
        for hand in clip.hands.values():
            assert np.abs(hand.betas).max() < 100, f"{clip.name}: betas of {np.abs(hand.betas).max()}"


def same_motion(clips: list[MotionClip], truth: list[MotionClip]) -> bool:
    return difference(clips, truth) == ""


def difference(clips: list[MotionClip], truth: list[MotionClip]) -> str:
    """In words what differs where a hand of ``clips`` is valid; nothing where nothing does."""
    if len(clips) != len(truth):
        return f"{len(clips)} clips, not {len(truth)}"
    for a, b in zip(clips, truth, strict=True):
        if (a.frames, a.verb, a.subject, a.object.name) != (b.frames, b.verb, b.subject, b.object.name):
            return f"{a.name}: frames, words or object"
        if a.hands.keys() != b.hands.keys():
            return f"{a.name}: hands"
        seen = np.any([hand.valid for hand in a.hands.values()], 0)
        pairs = {"object place": (a.object.transl[seen], b.object.transl[seen])}
        pairs["object turn"] = a.object.rotation[seen], b.object.rotation[seen]
        if a.object.angle is not None:
            pairs["hinge"] = a.object.angle[seen], b.object.angle[seen]
        for side, hand in a.hands.items():
            other = b.hands[side]
            pairs[f"{side} place"] = hand.transl[hand.valid], other.transl[hand.valid]
            pairs[f"{side} pose"] = hand.rotations[hand.valid], other.rotations[hand.valid]
            pairs[f"{side} shape"] = hand.betas, other.betas
        for what, (x, y) in pairs.items():
            if x.shape != y.shape or (x.size and np.abs(x - y).max() > SAME):
                return f"{a.name}: {what}"
    return ""


def doubted(tree: Tree, reader: raw.Reader, model: ObjectModel) -> bool:
    """Whether an object is another than it was and something tells so: a doubt, its own notes, or the reader's."""
    truth = tree.objects.get(model.name)
    if truth is None or same_model(model, truth):
        return False
    return ingest.doubt_of(model) is not None or model.notes != truth.notes or reader.notes != tree.notes


def same_model(model: ObjectModel, truth: ObjectModel | None) -> bool:
    return (
        truth is not None
        and np.array_equal(model.vertices, truth.vertices)
        and np.array_equal(model.faces, truth.faces)
        and np.array_equal(model.part, truth.part)
    )


@contextmanager
def at_most(seconds: int):
    """Turn a hang into an error."""

    def hang(*_):
        raise AssertionError(f"still reading after {seconds} s")

    before = signal.signal(signal.SIGALRM, hang)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def check(tree: Tree, count: int, kinds: tuple = damage.KINDS, start: int = 0) -> tuple[Counter, list[str]]:
    """Damage the tree ``count`` times; what became of it, and in words every failure."""
    fates, failures, files = Counter(), [], tree.files()
    for number in range(start, start + count):
        rng = np.random.default_rng([zlib.crc32(tree.name.encode()), number])
        with damage.wounded(tree.root, files, rng, kinds) as wound, at_most(SECONDS):
            try:
                fates[judged(tree, wound)] += 1
            except Exception as error:
                failures.append(f"{number} {wound.kind} {wound.path} ({wound.note}): {type(error).__name__}: {error}")
    ran = [p for p in tree.root.rglob(damage.MARKER)]
    failures += [f"a payload ran: {path}" for path in ran]
    return fates, failures


# -------------------------------------------------------------------------------------------------------------- tests


def test_damaged_files_are_read_as_before_or_named(tree, capsys):
    fates, failures = check(tree, VARIANTS[tree.name])
    with capsys.disabled():
        print(f"\n{tree.name}: {VARIANTS[tree.name]} damaged variants, {dict(fates.most_common())}", end=" ")
    assert not failures, "\n".join([f"{len(failures)} of {VARIANTS[tree.name]}:", *failures[:20]])
    assert fates["refused"] + fates["reported"] > VARIANTS[tree.name] // 4


def test_a_thousand_variants_are_tried():
    assert sum(VARIANTS.values()) >= 1000
    assert VARIANTS.keys() == WRITERS.keys()
