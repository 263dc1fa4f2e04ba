"""Every printed equation with the code that implements it, the chapter that teaches it and the tests that check it.

:func:`index` is the book's appendix "Equation index" as data. The tables below say what is printed and where it lives;
lines, tests and chapters are found by reading the files, so that nothing here can go stale in silence. Nothing is
imported to read it, and nothing is run. A package that was installed without its tests and its book has empty lists.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
ROOT = PACKAGE.parent
MOEG_HOI = "MoEG-HOI"


@dataclass(frozen=True)
class Source:
    """Where a piece of code stands: a path below the repository's root, its lines from 1, both ends included."""

    path: str
    first: int
    last: int

    def __str__(self) -> str:
        return f"{self.path}, lines {self.first} to {self.last}"


@dataclass(frozen=True)
class TestPlace:
    """One marked test: its file below the repository's root, the line of its ``def``, its name."""

    __test__ = False  # pytest collects whatever begins with Test

    path: str
    line: int
    name: str


@dataclass(frozen=True)
class Equation:
    """One printed equation.

    ``code`` is ``module:qualname`` inside ``hoi_lib``; ``latex`` the equation in the project's notation; ``reading``
    what the print leaves open and how the code takes it; ``label`` the name under which a chapter shows it. The last
    four fields are found by :func:`index`: ``source`` is None where the code does not exist.
    """

    paper: str
    number: int
    title: str
    latex: str
    code: str
    reading: str = ""
    label: str | None = None
    source: Source | None = None
    named: bool = False
    tests: tuple[TestPlace, ...] = ()
    chapters: tuple[str, ...] = ()

    @property
    def status(self) -> str:
        """``no code``, ``unnamed`` (its docstring is silent about the number), ``untested``, or ``tested``."""
        if self.source is None:
            return "no code"
        if not self.named:
            return "unnamed"
        return "tested" if self.tests else "untested"


def _moeg(number: int, title: str, latex: str, code: str, reading: str, label: str | None = None) -> Equation:
    return Equation(MOEG_HOI, number, title, latex, code, reading, label)


TABLES: dict[str, tuple[Equation, ...]] = {
    MOEG_HOI: (
        _moeg(
            1,
            "Noise in one go",
            r"\begin{aligned} x_t &= \sqrt{\bar\alpha_t}\,x_0 + \sqrt{1-\bar\alpha_t}\,\epsilon, \\"
            r" \bar\alpha_t &= \textstyle\prod_{s\le t}(1-\beta_s) \end{aligned}",
            "diffusion:Schedule.noised",
            "The tables are float64 and made from logarithms: the printed schedule would underflow in float32.",
            "eq-forward",
        ),
        _moeg(
            2,
            "A group listens to its text",
            r"\begin{gathered} z'_g = \operatorname{CrossAttn}(q = z,\ k = f_g,\ v = f_g), \\"
            r" g \in \{\text{hand}, \text{finger}, \text{joint}\} \end{gathered}",
            "experts:CrossAttention",
            "One pooled text vector makes the output the same for every token; with one state per word it depends on "
            "the token. A residual and a norm follow, as in the release.",
            "eq-groups-attention",
        ),
        _moeg(
            3,
            "A router for each group",
            r"w_{g,m} = \operatorname{ANR}_g(f_a, f_t)",
            "routing:ActionNoiseRouter",
            "The action and the noise level are the sample's, so all of its tokens go to the same experts.",
            "eq-router-anr",
        ),
        _moeg(
            4,
            "Only the best K of a group",
            r"w_{g,m} \leftarrow \begin{cases} w_{g,m} & w_{g,m} \in \operatorname{TopK}(w_g) \\"
            r" 0 & \text{otherwise} \end{cases}",
            "selection:top",
            "The choice is made in each group by itself, on the weights of Eq. 8.",
            "eq-groups-topk",
        ),
        _moeg(
            5,
            "Weights over all groups",
            r"w'_{g,m} = \frac{w_{g,m}}{\sum_{g'=1}^{G} \sum_{m'=1}^{M} w_{g',m'}}",
            "selection:Selector",
            "After Eq. 4 the sum has G · K terms. Inside one group a single weight would always be 1, and the router "
            "would learn nothing from the task.",
            "eq-groups-normalise",
        ),
        _moeg(
            6,
            "The weighted sum of the experts",
            r"y = \sum_{g=1}^{G} \sum_{m=1}^{M} w'_{g,m}\, E_{g,m}(z'_g)",
            "experts:HierarchicalExperts",
            "Terms of weight 0 are left out of the sum; the dense executor keeps them and must agree.",
            "eq-groups-mixture",
        ),
        _moeg(
            7,
            "Two branches of logits",
            r"w_a = W_a f_a, \qquad w_t = W_t f_t",
            "routing:ActionNoiseRouter.logits",
            "No bias: a constant would favour the same expert whatever the action and the noise.",
            "eq-router-branches",
        ),
        _moeg(
            8,
            "Added, then a softmax",
            r"w_g = \operatorname{Softmax}(w_a + w_t)",
            "routing:route_all",
            "The softmax runs over the M experts of a group. The branches only add up: by how much one action prefers "
            "an expert to another, compared with a second action, is the same at every noise level.",
            "eq-router-softmax",
        ),
        _moeg(
            9,
            "Balance, branch by branch",
            r"\begin{aligned} \mathcal L_{balance} ={}& \mathcal L(\operatorname{Softmax}(w_a)) \\"
            r" &+ \mathcal L(\operatorname{Softmax}(w_t)), \\"
            r" \mathcal L(p) ={}& M \textstyle\sum_{m=1}^{M} f_m\, \bar p_m \end{aligned}",
            "selection:balance_loss",
            "f is the share of the samples whose own branch would choose expert m, a constant to the gradient; the "
            "bar is the mean over the batch. Summed over groups and blocks.",
            "eq-moe-balance-branches",
        ),
        _moeg(
            10,
            "The clean motion",
            r"\mathcal L_{diff} = \mathbb E_{x_0, t}\, \lVert \hat x_\theta(x_t, t, c) - x_0 \rVert_2^2",
            "losses:diffusion_loss",
            "A mean over numbers, valid frames and samples, of standardised numbers.",
            "eq-reconstruction-numbers",
        ),
        _moeg(
            11,
            "Joints and skin",
            r"\mathcal L_{rec} = \lVert \hat J - J \rVert_2^2 + \lVert \hat V - V \rVert_2^2",
            "losses:reconstruction_loss",
            "Means over joints and over vertices, in m²; 21 joints, with the fingertips.",
            "eq-reconstruction-positions",
        ),
        _moeg(
            12,
            "The same distances",
            r"\begin{aligned} \mathcal L_{dist} ={}& \sum_{p \in P} \lVert d(p, \hat v) - d(p, v) \rVert \\"
            r" &+ \lambda \sum_{v \in V} \lVert d(\hat v, p) - d(v, p) \rVert \end{aligned}",
            "losses:distance_loss",
            "d is the distance to the nearest neighbour; means instead of sums, in metres, λ = 0.1.",
            "eq-interaction-dist",
        ),
        _moeg(
            13,
            "What touches stays together",
            r"\begin{aligned} \mathcal L_{con} ={}& \sum_{p \in P_{con}} \min_{v \in V} \lVert p - \hat v \rVert \\"
            r" &+ \sum_{v \in V_{con}} \min_{p \in P} \lVert \hat v - p \rVert \end{aligned}",
            "losses:contact_loss",
            "Who touches is read from the ground truth, nearer than τ = 10 mm: the prediction cannot get away by "
            "letting go.",
            "eq-interaction-con",
        ),
        _moeg(
            14,
            "Out of the hand",
            r"\mathcal L_{pen} = \sum_{p \in P_{pen}} \min_{v \in V} \lVert p - \hat v \rVert",
            "losses:penetration_loss",
            "Who is inside is read from the prediction, without a gradient.",
            "eq-interaction-pen",
        ),
        _moeg(
            15,
            "No trembling",
            r"\mathcal L_{acc} = \sum_{v \in V} \lVert \hat v_i - 2\,\hat v_{i-1} + \hat v_{i-2} \rVert",
            "losses:acceleration_loss",
            "A mean over vertices and over the triples of frames that are all valid, in metres per frame².",
            "eq-total-acc",
        ),
        _moeg(
            16,
            "The sum that is trained",
            r"\begin{aligned} \mathcal L_{total} ={}& \mathcal L_{diff} + \lambda_1 \mathcal L_{rec}"
            r" + \lambda_2 \mathcal L_{dist} \\"
            r" &+ \lambda_3 \mathcal L_{con} + \lambda_4 \mathcal L_{pen} \\"
            r" &+ \lambda_5 \mathcal L_{acc} + \lambda_6 \mathcal L_{balance} \end{aligned}",
            "losses:total_loss",
            "λ₁ to λ₅ are 20 and λ₆ is 0.01; the weights stand in one table and nowhere else.",
            "eq-total-total",
        ),
    ),
}
"""The printed equations by paper, in print order."""


def index() -> tuple[Equation, ...]:
    """Every printed equation of :data:`TABLES` with its source lines, its tests and its chapters."""
    tests, chapters = marked_tests(), taught()
    return tuple(
        replace(
            equation,
            source=source_of(equation.code),
            named=equation.number in numbers_in(docstring_of(equation.code)),
            tests=tests.get((equation.paper, equation.number), ()),
            chapters=chapters.get((equation.paper, equation.number), ()),
        )
        for table in TABLES.values()
        for equation in table
    )


def source_of(code: str) -> Source | None:
    """The lines of ``module:qualname`` inside ``hoi_lib``, decorators included; None if there is no such code."""
    path, node = _find(code)
    if node is None:
        return None
    first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
    return Source(path.relative_to(ROOT).as_posix(), first, node.end_lineno)


def docstring_of(code: str) -> str:
    """The docstring of ``module:qualname``, or an empty string."""
    node = _find(code)[1]
    return (ast.get_docstring(node) if node is not None else None) or ""


def numbers_in(text: str) -> set[int]:
    """The equations that a text names: "Eq. 5", "Eqs. 4, 5 and 8", "Eqs. 12–14"."""
    found = set()
    for listed in re.findall(r"\bEqs?\.\s*(\d+(?:\s*(?:,|and|to|or|–|-)+\s*\d+)*)", text):
        for first, last in re.findall(r"(\d+)(?:\s*(?:–|-|to)\s*(\d+))?", listed):
            found |= set(range(int(first), int(last or first) + 1))
    return found


def marked_tests(folder: Path = ROOT / "tests") -> dict[tuple[str, int], tuple[TestPlace, ...]]:
    """The tests in ``folder`` by the equation of their ``@equation(paper, number)`` marks; none if it is not there.

    Raises :class:`ValueError` for a mark whose arguments are not literals: they have to be read without running.
    """
    found: dict[tuple[str, int], list[TestPlace]] = {}
    for path in sorted(folder.rglob("test_*.py")):
        for node in ast.walk(_tree(path)):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                for key in _marks(node, path):
                    place = TestPlace(path.relative_to(folder.parent).as_posix(), node.lineno, node.name)
                    found.setdefault(key, []).append(place)
    return {key: tuple(places) for key, places in found.items()}


def taught(folder: Path = ROOT / "book") -> dict[tuple[str, int], tuple[str, ...]]:
    """The chapters by the equations that their metadata lists, as paths below the repository's root, no suffix."""
    found: dict[tuple[str, int], tuple[str, ...]] = {}
    for path in sorted(folder.glob("*/*.ipynb")):
        metadata = json.loads(path.read_text(encoding="utf-8"))["metadata"].get("hoi", {})
        for words in metadata.get("equations", []):
            paper, _, number = words.rpartition(" ")
            page = path.relative_to(folder.parent).with_suffix("").as_posix()
            found[paper, int(number)] = (*found.get((paper, int(number)), ()), page)
    return found


def _marks(function: ast.FunctionDef, path: Path) -> Iterator[tuple[str, int]]:
    for mark in function.decorator_list:
        if isinstance(mark, ast.Call) and ast.unparse(mark.func).split(".")[-1] == "equation":
            try:
                paper, number = (ast.literal_eval(argument) for argument in mark.args)
            except ValueError:
                raise ValueError(f"{path}:{mark.lineno}: {ast.unparse(mark)}: expected a name and a number") from None
            yield paper, number


def _find(code: str) -> tuple[Path, ast.FunctionDef | ast.ClassDef | None]:
    """The file and the definition that ``module:qualname`` names; None for the definition if there is none."""
    module, _, qualname = code.partition(":")
    path = PACKAGE.joinpath(*module.split(".")).with_suffix(".py")
    node = _tree(path) if path.exists() else None
    for name in qualname.split("."):
        body = getattr(node, "body", ())
        node = next((n for n in body if isinstance(n, ast.FunctionDef | ast.ClassDef) and n.name == name), None)
    return path, node


def _tree(path: Path) -> ast.Module:
    return _parsed(path, path.stat().st_mtime_ns)


@lru_cache
def _parsed(path: Path, changed: int) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))
