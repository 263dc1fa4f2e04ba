"""What people do with what: grasp families, where each object is taken, and which verb uses which grasp.

Three tables that the solver and the choreography read; no code decides anything about a category by its name.
Directions are in the object's frame (z up, front towards -y) and are those of the approach: +z means from above.
"""

from __future__ import annotations

from dataclasses import dataclass

FINGERS = ("index", "middle", "pinky", "ring", "thumb")


@dataclass(frozen=True)
class Family:
    """A way of grasping.

    ``pads`` name what touches (finger_segment with segment 1 the phalanx next to the palm and 3 the tip, or
    ``palm``); ``flexion`` and ``thumb`` the starting bend in radians of the fingers that touch and of the thumb's
    joints, ``idle`` that of the others; ``pitch`` the angle in degrees between palm normal and approach (0 lays the
    palm on the surface, 60 points the fingers at it); ``anchor`` what the start puts on the surface: the palm, the
    pinch point between thumb and fingers, or the touching fingers; ``inset`` how far inside the surface, in metres;
    ``opposed`` that thumb and fingers press against each other, ``wraps`` that the hand goes round the object,
    ``half`` that it stays on its own side, so that two hands can hold one thing between them.
    """

    name: str
    pads: tuple[str, ...]
    flexion: tuple[float, float, float] = (0.35, 0.35, 0.2)
    thumb: tuple[float, float, float] = (0.2, 0.2, 0.2)
    idle: tuple[float, float, float] = (0.9, 0.9, 0.5)
    pitch: tuple[int, int] = (-10, 10)
    anchor: str = "palm"
    inset: float = 0.0
    opposed: bool = True
    wraps: bool = False
    half: bool = False


_FOUR = ("index", "middle", "ring", "pinky")
_TIPS = tuple(f"{f}_3" for f in _FOUR)

FAMILIES = {
    family.name: family
    for family in (
        Family("power", (*_TIPS, *(f"{f}_2" for f in _FOUR), "thumb_3", "thumb_2", "palm"), (0.4, 0.4, 0.2),
               (0.65, 0.0, 0.0), wraps=True),
        Family("spread", (*_TIPS, "thumb_3"), (0.45, 0.35, 0.2), (0.3, 0.2, 0.2), pitch=(40, 75), anchor="pinch",
               inset=0.03),
        Family("tripod", ("index_3", "middle_3", "thumb_3"), (0.6, 0.5, 0.3), (0.35, 0.2, 0.2), (1.1, 1.0, 0.5),
               (40, 75), "pinch", 0.02),
        Family("edge", (*_TIPS, "thumb_3"), (0.7, 0.25, 0.15), (0.3, 0.2, 0.1), pitch=(50, 90), anchor="pinch",
               inset=0.022),
        Family("pinch", ("index_3", "thumb_3"), (0.6, 0.4, 0.25), (0.35, 0.2, 0.2), (0.85, 0.8, 0.4), (45, 85),
               "pinch", 0.015),
        Family("lateral", ("index_side", "thumb_3"), (0.75, 0.8, 0.4), (0.3, 0.2, 0.2), (0.95, 0.9, 0.5), (50, 90),
               "pinch", 0.015),
        Family("handle", ("index_2", "middle_2", "ring_2", "index_3", "middle_3", "thumb_3"), (0.8, 0.9, 0.5),
               (0.3, 0.3, 0.2), (1.0, 1.0, 0.5), (-10, 30), "fingers"),
        Family("press", ("index_3",), (0.45, 0.25, 0.1), (0.35, 0.3, 0.4), (1.25, 1.2, 0.7), (20, 55), "fingers",
               opposed=False),
        Family("clamp", (*(f"{f}_1" for f in _FOUR), *(f"{f}_2" for f in _FOUR), "palm"), (0.12, 0.12, 0.08),
               (0.0, 0.1, 0.1), opposed=False, half=True),
    )
}  # fmt: skip


@dataclass(frozen=True)
class Slot:
    """One place where an object is taken in one way.

    ``directions`` are approach directions, with a cone of ``cone`` degrees round each ("around" any horizontal one);
    ``region`` bounds the aimed point in the bounding box of ``part`` (0 to 1 along x, y, z); ``part`` is the part in
    whose frame the hand stays; ``surface`` the part that the pads must touch (None: any) and ``fingers_on`` that of
    the fingers where it differs from the thumb's; ``thumb`` the direction the thumb's side of the hand leans to, if it
    matters; ``angles`` the hinge angles over which the grasp must hold; ``reaches_in`` that fingers may go inside a
    hollow object. All is said for a right hand; a left one takes the mirror image in x.
    """

    family: str
    directions: tuple[str, ...] = ("around",)
    region: tuple[tuple[float, float], ...] = ((0.4, 0.6), (0.4, 0.6), (0.35, 0.65))
    part: int = 0
    cone: int = 20
    surface: int | None = None
    fingers_on: int | None = None
    thumb: str | None = None
    angles: tuple[float, ...] = ()
    reaches_in: bool = False


_TOP = ((0.45, 0.55), (0.45, 0.55), (0.9, 1.0))
_MIDDLE = ((0.45, 0.55), (0.45, 0.55), (0.4, 0.65))
_SIDE = ((0.4, 0.6), (0.4, 0.6), (0.35, 0.6))

SLOTS: dict[str, dict[str, Slot]] = {
    "ball": {
        "power": Slot("power", ("around", "+z"), _MIDDLE, cone=40),
        "spread": Slot("spread", ("+z",), _TOP, cone=25),
        "clamp": Slot("clamp", ("+x",), _MIDDLE, cone=10),
    },
    "box": {
        "power": Slot("power", ("+x", "-x", "+y", "-y"), _SIDE, cone=8, thumb="+z"),
        "spread": Slot("spread", ("+z",), _TOP, cone=8),
        "clamp": Slot("clamp", ("+x",), _MIDDLE, cone=6),
        "press": Slot("press", ("+z",), ((0.3, 0.7), (0.3, 0.7), (0.9, 1.0)), cone=6),
    },
    "can": {
        "power": Slot("power", ("around",), _SIDE, cone=8, thumb="+z"),
        "spread": Slot("spread", ("+z",), _TOP, cone=6),
        "clamp": Slot("clamp", ("+x",), _MIDDLE, cone=6),
        "press": Slot("press", ("+z",), ((0.35, 0.65), (0.35, 0.65), (0.9, 1.0)), cone=6),
    },
    "bottle": {
        "power": Slot("power", ("around",), ((0.45, 0.55), (0.45, 0.55), (0.3, 0.5)), cone=8, thumb="+z"),
        "low": Slot("power", ("around",), ((0.45, 0.55), (0.45, 0.55), (0.28, 0.42)), cone=6, thumb="+z"),
        "tripod": Slot("tripod", ("+z",), ((0.48, 0.52), (0.48, 0.52), (0.97, 1.0)), cone=12),
    },
    "mug": {
        "power": Slot("power", ("-x", "-y", "+y"), ((0.3, 0.45), (0.45, 0.55), (0.4, 0.6)), cone=12, thumb="+z"),
        "handle": Slot("handle", ("+x", "-y", "+y"), ((0.93, 0.97), (0.45, 0.55), (0.45, 0.6)), cone=35,
                       reaches_in=True),
        "spread": Slot("spread", ("+z",), ((0.3, 0.45), (0.45, 0.55), (0.95, 1.0)), cone=8),
    },
    "bowl": {
        "edge": Slot("edge", ("+x",), ((0.93, 1.0), (0.45, 0.55), (0.85, 1.0)), cone=35, reaches_in=True),
        "clamp": Slot("clamp", ("+x",), ((0.7, 0.8), (0.45, 0.55), (0.5, 0.7)), cone=10),
    },
    "hammer": {
        "power": Slot("power", ("+z", "-y", "+y"), ((0.12, 0.4), (0.3, 0.6), (0.3, 0.7)), cone=30, thumb="+x"),
    },
    "phone": {
        "spread": Slot("spread", ("+z",), ((0.45, 0.55), (0.4, 0.6), (0.9, 1.0)), cone=8),
        "edge": Slot("edge", ("-y", "+x"), ((0.3, 0.7), (0.1, 0.3), (0.4, 0.6)), cone=12),
        "pinch": Slot("pinch", ("-y", "+x"), ((0.3, 0.7), (0.0, 0.2), (0.4, 0.6)), cone=12),
        "press": Slot("press", ("+z",), ((0.3, 0.7), (0.35, 0.75), (0.9, 1.0)), cone=8),
    },
    "laptop": {
        "edge": Slot("edge", ("+x",), ((0.9, 1.0), (0.3, 0.6), (0.4, 0.6)), cone=10),
        "lid": Slot("edge", ("-y",), ((0.55, 0.85), (0.0, 0.05), (0.4, 0.6)), 1, 15, 1, angles=(0.4, 1.1, 1.8),
                    reaches_in=True),
        "base": Slot("edge", ("+x",), ((0.9, 1.0), (0.12, 0.35), (0.4, 0.6)), 0, 12, 0, angles=(0.4, 1.1, 1.8)),
        "press": Slot("press", ("+z",), ((0.3, 0.7), (0.15, 0.45), (0.9, 1.0)), 0, 8, 0, angles=(1.8,)),
    },
    "lidded_box": {
        "spread": Slot("spread", ("+z",), _TOP, cone=6),
        "clamp": Slot("clamp", ("+x",), ((0.45, 0.55), (0.4, 0.6), (0.4, 0.6)), cone=6),
        "lid": Slot("edge", ("-y",), ((0.45, 0.75), (0.0, 0.05), (0.3, 0.7)), 1, 20, 1, angles=(0.35, 0.9, 1.5),
                    reaches_in=True),
        "base": Slot("clamp", ("+x",), ((0.45, 0.55), (0.35, 0.6), (0.35, 0.6)), 0, 8, 0, angles=(0.35, 0.9, 1.5)),
        "press": Slot("press", ("+z",), ((0.3, 0.7), (0.2, 0.6), (0.9, 1.0)), cone=6),
    },
    "notebook": {
        "edge": Slot("edge", ("+x", "-y"), ((0.6, 1.0), (0.0, 0.6), (0.4, 0.6)), cone=12),
        "lateral": Slot("lateral", ("-y", "+x"), ((0.6, 1.0), (0.0, 0.5), (0.4, 0.6)), cone=12),
        "lid": Slot("edge", ("-y", "+x"), ((0.75, 0.95), (0.0, 0.2), (0.4, 0.6)), 1, 20, 1, angles=(0.4, 1.2, 2.0)),
        "base": Slot("edge", ("-y",), ((0.6, 0.85), (0.0, 0.1), (0.4, 0.6)), 0, 15, 0, angles=(0.4, 1.2, 2.0)),
    },
    "pliers": {
        "power": Slot("power", ("+z", "-y", "+y"), ((0.05, 0.4), (0.35, 0.65), (0.3, 0.7)), 0, 30, None, 1, "+x",
                      (0.06, 0.25, 0.44)),
    },
    "object": {
        "power": Slot("power", ("around",), _SIDE, cone=12, thumb="+z"),
        "spread": Slot("spread", ("+z",), _TOP, cone=10),
        "clamp": Slot("clamp", ("+x",), _MIDDLE, cone=8),
    },
}  # fmt: skip

FLAT = ("hammer", "phone", "laptop", "notebook", "pliers")  # shown on a slim stand, so that fingers get underneath
FACING = ("laptop", "lidded_box", "notebook")  # have a front, which turns to the person

# verb -> category -> ways, each a slot for one hand, or "a+b" for two: b mirrors a if they are equal, else it supports
SKILLS: dict[str, dict[str, str]] = {
    "grasp": {
        "ball": "power spread clamp+clamp", "box": "power spread clamp+clamp", "can": "power spread", "bottle": "power",
        "mug": "power handle", "bowl": "edge edge+edge", "hammer": "power", "phone": "spread edge pinch",
        "pliers": "power", "notebook": "edge lateral", "lidded_box": "spread clamp+clamp", "laptop": "edge+edge",
        "object": "power spread",
    },
    "lift": {
        "ball": "power spread clamp+clamp", "box": "power spread clamp+clamp", "can": "power spread clamp+clamp",
        "bottle": "power", "mug": "power handle", "bowl": "edge edge+edge", "hammer": "power",
        "phone": "spread edge pinch", "pliers": "power", "notebook": "edge lateral", "lidded_box": "spread clamp+clamp",
        "laptop": "edge+edge", "object": "power spread clamp+clamp",
    },
    "place": {
        "ball": "power clamp+clamp", "box": "power spread clamp+clamp", "can": "power spread", "bottle": "power",
        "mug": "power handle", "bowl": "edge edge+edge", "hammer": "power", "phone": "spread pinch", "notebook": "edge",
        "lidded_box": "spread clamp+clamp", "laptop": "edge+edge", "object": "power spread",
    },
    "pour": {"can": "power", "bottle": "power", "mug": "power handle", "bowl": "edge", "object": "power"},
    "shake": {
        "can": "power", "bottle": "power", "box": "power clamp+clamp", "ball": "power clamp+clamp", "object": "power",
    },
    "inspect": {
        "ball": "power", "box": "power spread clamp+clamp", "can": "power", "bottle": "power", "mug": "power handle",
        "hammer": "power", "phone": "edge spread", "notebook": "edge lateral", "pliers": "power",
        "object": "power spread",
    },
    "screw": {"bottle": "tripod tripod+low", "can": "spread", "ball": "spread"},
    "squeeze": {
        "ball": "power", "can": "power", "bottle": "power", "box": "power", "pliers": "power", "object": "power",
    },
    "press": {"phone": "press press+edge", "box": "press", "can": "press", "laptop": "press", "lidded_box": "press"},
    "open": {"laptop": "lid lid+base", "lidded_box": "lid lid+base", "notebook": "lid lid+base", "pliers": "power"},
    "close": {"laptop": "lid lid+base", "lidded_box": "lid lid+base", "notebook": "lid lid+base", "pliers": "power"},
    "hand over": {
        "ball": "power spread", "box": "power spread clamp+clamp", "can": "power", "bottle": "power", "mug": "power",
        "hammer": "power", "phone": "edge pinch", "notebook": "edge lateral", "pliers": "power", "object": "power",
    },
}  # fmt: skip


@dataclass(frozen=True)
class Skill:
    """A verb done to a category in one way: ``main`` slot, and ``other`` slot if the second hand takes part."""

    verb: str
    category: str
    main: str
    other: str | None = None

    @property
    def mirrored(self) -> bool:
        """True if both hands do the same on opposite sides."""
        return self.other == self.main


def skills() -> tuple[Skill, ...]:
    """Every way in which a verb of :data:`SKILLS` is done, in a fixed order."""
    return tuple(
        Skill(verb, category, *way.split("+"))
        for verb, row in SKILLS.items()
        for category, ways in row.items()
        for way in ways.split()
    )
