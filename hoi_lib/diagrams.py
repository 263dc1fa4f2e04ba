"""Diagrams drawn by code in one house style: the where-we-are map that every chapter shows.

The map is one SVG in two layouts, wide for a page and tall for a phone; the page shows the one that fits. It takes its
ink from the page, so it follows dark mode, and every box carries words: colour only repeats them.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from html import escape

import numpy as np

STAGES = {
    "text": "a sentence",
    "object": "mesh and path",
    "hand": "99 numbers",
    "diffusion": "adds the noise",
    "denoiser": "predicts the clean motion",
    "router": "picks experts",
    "experts": "hand, finger, joint",
    "losses": "training's goal",
    "sampling": "noise to motion",
    "metrics": "how good is it?",
}
"""The stages of the pipeline and the few words under each name."""

FLOW = (
    ("text", "denoiser"),
    ("object", "denoiser"),
    ("hand", "diffusion"),
    ("diffusion", "denoiser"),
    ("router", "experts"),
    ("denoiser", "losses"),
    ("denoiser", "sampling"),
    ("sampling", "metrics"),
)

Box = tuple[int, int, int, int]  # x, y, width, height

WIDE: dict[str, Box] = {
    "text": (4, 6, 140, 52),
    "object": (4, 86, 140, 52),
    "hand": (4, 166, 140, 52),
    "diffusion": (192, 166, 140, 52),
    "denoiser": (380, 6, 184, 212),
    "router": (396, 66, 152, 52),
    "experts": (396, 150, 152, 52),
    "losses": (612, 6, 144, 52),
    "sampling": (612, 86, 144, 52),
    "metrics": (612, 166, 144, 52),
}
TALL: dict[str, Box] = {
    "text": (2, 4, 108, 52),
    "object": (126, 4, 108, 52),
    "hand": (250, 4, 108, 52),
    "diffusion": (250, 86, 108, 52),
    "denoiser": (2, 170, 356, 116),
    "router": (16, 220, 144, 52),
    "experts": (200, 220, 144, 52),
    "losses": (2, 318, 108, 52),
    "sampling": (126, 318, 108, 52),
    "metrics": (250, 318, 108, 52),
}

STYLE = """
.hoi-map{--ink:#24292f;--soft:#59636e;--rule:#b6bec8;--fill:#fff;--nest:#f3f5f8;--here:#0072b2;margin:.6rem 0}
html[data-theme=dark] .hoi-map,body[data-jp-theme-light=false] .hoi-map{--ink:#e6edf3;--soft:#a3adb8;--rule:#57616d;
--fill:#171b21;--nest:#20262e;--here:#0072b2}
.hoi-map svg{width:100%;height:auto;display:block}.hoi-map .tall{display:none;max-width:26rem;margin:auto}
@media (max-width:600px){.hoi-map .wide{display:none}.hoi-map .tall{display:block}}
.hoi-map rect{fill:var(--fill);stroke:var(--rule);stroke-width:1.5}.hoi-map .nest{fill:var(--nest)}
.hoi-map .on{fill:var(--here);stroke:var(--here)}.hoi-map .nest.on~.on{stroke:#fff}
.hoi-map text{text-anchor:middle;fill:var(--ink);
font:600 14px system-ui,sans-serif}.hoi-map .sub{font-weight:400;font-size:11.5px;fill:var(--soft)}
.hoi-map .in{fill:#fff}.hoi-map .flow{fill:none;stroke:var(--soft);stroke-width:1.5}.hoi-map .tip{fill:var(--soft)}
"""


@dataclass(frozen=True)
class Diagram:
    """An SVG with its words; shows itself as the last line of a cell."""

    html: str
    alt: str

    def _repr_html_(self) -> str:
        return self.html

    def __repr__(self) -> str:
        return f"Diagram({self.alt!r})"


def where_am_i(*stages: str, end: np.ndarray | None = None, end_alt: str = "", alt: str | None = None) -> Diagram:
    """The map of the whole pipeline with the boxes of ``stages`` filled.

    ``end`` puts a picture (h, w, 3) uint8, described by ``end_alt``, where the pipeline ends. Raises ``ValueError``
    for a stage that is not in :data:`STAGES`.
    """
    unknown = [s for s in stages if s not in STAGES]
    if unknown:
        raise ValueError(f"no stage is called {unknown[0]!r}: expected some of {', '.join(STAGES)}")
    if alt is None:
        here = f" This chapter is about: {', '.join(stages)}." if stages else ""
        alt = (
            "Map of the pipeline. Text, object and the noised hand motion enter the denoiser, in which a router picks "
            f"experts; its prediction feeds the losses and the sampler, and metrics judge what was sampled.{here}"
        )
    alt = f"{alt} {end_alt}".strip()
    layouts = "".join(_svg(name, layout, stages, end) for name, layout in (("wide", WIDE), ("tall", TALL)))
    html = f'<div class="hoi-map" role="img" aria-label="{escape(alt)}"><style>{STYLE}</style>{layouts}</div>'
    return Diagram(html, alt)


def _svg(name: str, layout: dict[str, Box], stages: tuple, end: np.ndarray | None) -> str:
    width, height = (760, 224) if name == "wide" else (360, 374)
    parts = [_flow(layout[a], layout[b]) for a, b in FLOW]
    parts = [_box("denoiser", layout, stages), *parts]
    parts += [_box(s, layout, stages) for s in STAGES if s != "denoiser"]
    if end is not None:
        x, y, w, h = (790, 14, 240, 192) if name == "wide" else (70, 382, 220, 176)
        width, height = (1034, height) if name == "wide" else (width, 562)
        parts.append(f'<image href="{_png(end)}" x="{x}" y="{y}" width="{w}" height="{h}"/>')
    return f'<svg class="{name}" viewBox="0 0 {width} {height}" aria-hidden="true">{"".join(parts)}</svg>'


def _box(stage: str, layout: dict[str, Box], stages: tuple) -> str:
    x, y, w, h = layout[stage]
    on, nest = stage in stages, stage == "denoiser"
    top = y + (23 if nest else h / 2 - 4)
    css = " ".join(filter(None, ["nest" if nest else "", "on" if on else ""]))
    ink = " in" if on else ""
    mark = "▸ " if on else ""
    return (
        f'<rect class="{css}" x="{x}" y="{y}" width="{w}" height="{h}" rx="9"/>'
        f'<text class="name{ink}" x="{x + w / 2}" y="{top}">{mark}{escape(stage)}</text>'
        f'<text class="sub{ink}" x="{x + w / 2}" y="{top + 17}">{escape(STAGES[stage])}</text>'
    )


def _flow(a: Box, b: Box) -> str:
    """An arrow from box ``a`` to box ``b``: straight along the axis on which they lie apart."""
    (ax, ay, aw, ah), (bx, by, bw, bh) = a, b
    tip = 8
    if ax + aw <= bx:  # to the right, at the height of the smaller box
        y = ay + ah / 2 if ah <= bh else by + bh / 2
        line, head = f"M{ax + aw} {y}H{bx - tip}", f"M{bx - 1} {y}l{-tip} -4.5v9z"
    else:  # downwards, in the middle of the narrower box
        x = ax + aw / 2 if aw <= bw else bx + bw / 2
        line, head = f"M{x} {ay + ah}V{by - tip}", f"M{x} {by - 1}l-4.5 {-tip}h9z"
    return f'<path class="flow" d="{line}"/><path class="tip" d="{head}"/>'


def _png(image: np.ndarray) -> str:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "png", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
