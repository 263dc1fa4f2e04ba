"""What has been published about the recorded sets: the counts that a complete build must meet, and where they stand.

Counts are those of Text2HOI's segmentation over all subjects (the test subject too), which the readers follow. None
stands where no source gives a number. "Configuration" is Text2HOI's ``configs/dataset/*.yaml``, "word lists" its
``constants/*.py`` (github.com/JunukCha/Text2HOI).
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Published:
    """Published figures of one set.

    ``clips`` after segmentation and skipping; ``text_keys`` distinct (verb, object word, hands); ``verbs``; ``pairs``
    of verb and object word; ``subjects``; ``sequences`` recorded; ``objects`` as keys of the files; ``native_fps`` of
    the files and ``fps`` of the clips, frames a second; ``splits`` of the paper by subject; ``source`` says for each of
    these names where the figure stands.
    """

    clips: int
    text_keys: int
    verbs: int
    pairs: int | None
    subjects: int
    sequences: int | None
    objects: int
    native_fps: int
    fps: int = 30
    splits: dict[str, tuple[str, ...]] = field(default_factory=dict)
    source: dict[str, str] = field(default_factory=dict)

    def rows(self) -> list[tuple[str, int, str]]:
        """(name, figure, source) of every count that is published, in the order of the fields."""
        names = ("clips", "text_keys", "verbs", "pairs", "subjects", "sequences", "objects", "native_fps", "fps")
        figures = [(name, getattr(self, name)) for name in names]
        return [(name, figure, self.source[name]) for name, figure in figures if figure is not None]


_SPLIT = "the author's answer on the split, github.com/JunukCha/Text2HOI/issues/8"
_COMMON = {
    "clips": "Text2HOI, configuration",
    "text_keys": "Text2HOI, configuration",
    "verbs": "Text2HOI, word lists",
    "objects": "Text2HOI, word lists",
    "subjects": _SPLIT,
    "splits": _SPLIT,
    "fps": "Text2HOI, preprocessing",
}

PUBLISHED: dict[str, Published] = {
    "arctic": Published(
        clips=4597,
        text_keys=161,
        verbs=11,
        pairs=55,
        subjects=9,
        sequences=None,
        objects=10,
        native_fps=30,
        splits={"train": ("s01", "s02", "s04", "s05", "s06", "s07", "s08", "s09"), "val": (), "test": ("s10",)},
        source=_COMMON | {"pairs": "Text2HOI, word lists", "native_fps": "ARCTIC, data documentation"},
    ),
    "grab": Published(
        clips=1335,
        text_keys=276,
        verbs=29,
        pairs=None,
        subjects=10,
        sequences=1335,
        objects=51,
        native_fps=120,
        splits={"train": tuple(f"s{n}" for n in range(1, 10)), "val": (), "test": ("s10",)},
        source=_COMMON
        | {
            "sequences": "one clip per sequence: Text2HOI, configuration (1334 to 1335 in other sources)",
            "objects": "GRAB, paper",
            "native_fps": "GRAB, file key framerate",
        },
    ),
    "h2o": Published(
        clips=660,
        text_keys=68,
        verbs=11,
        pairs=36,
        subjects=3,
        sequences=None,
        objects=8,
        native_fps=30,
        splits={"train": ("subject1", "subject2"), "val": (), "test": ("subject3",)},
        source=_COMMON | {"pairs": "H2O, action labels 1 to 36", "native_fps": "H2O, data documentation"},
    ),
}
