"""Widgets that survive publication: precomputed states in plain HTML, with no kernel and no network behind them.

:func:`static_widget` takes controls (a :class:`Slider`, a :class:`Choice`, or several) and one :class:`Frame` per
combination of their values. A frame holds panels, either a :class:`Plot` of small data that the page draws itself
(sharp at any size, dark mode, a few bytes a point) or a :class:`Picture`, and a sentence that reads the state out. The
same call works in Jupyter, in the built book, opened from disk, and in print, where a strip of key frames stands in.

>>> t = Slider("noise level t", range(0, 1000, 50))
>>> def state(t):
...     return Frame(Plot([Line(time, noised[t], "noise", "noised")], xlabel="frame"), f"At t = {t} ...")
>>> static_widget(state, [t], alt="A finger's curve drowning in noise as t grows.")  # doctest: +SKIP
"""

from __future__ import annotations

import base64
import hashlib
import io
import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from html import escape
from importlib.resources import files
from typing import Any, ClassVar

import numpy as np

LIMIT = 300_000  # bytes of states in one widget
STRIP = 3  # key frames in print


@dataclass(frozen=True)
class Slider:
    """A range input over ``values``, shown as ``format.format(value)``; starts at index ``start``.

    ``play`` adds a button that steps through the values every ``interval`` milliseconds; nothing plays by itself.
    """

    label: str
    values: Sequence
    format: str = "{}"
    start: int = 0
    play: bool = False
    interval: int = 120


@dataclass(frozen=True)
class Choice:
    """One of a few named ``values``, as radio buttons; starts at index ``start``."""

    label: str
    values: Sequence
    format: str = "{}"
    start: int = 0


@dataclass(frozen=True)
class Line:
    """A curve through ``x`` and ``y`` (n,). ``color`` is a name of :data:`hoi_lib.plots.COLORS`, "ink" or a hex code.

    ``arrow`` puts a head on the last point; ``dash`` marks what must also be told apart without colour.
    """

    x: Any
    y: Any
    color: str = "ink"
    label: str | None = None
    width: float = 2.0
    dash: bool = False
    arrow: bool = False
    kind: ClassVar[str] = "line"


@dataclass(frozen=True)
class Points:
    """Dots at ``x`` and ``y`` (n,) with radius ``size`` pixels."""

    x: Any
    y: Any
    color: str = "ink"
    label: str | None = None
    size: float = 3.5
    kind: ClassVar[str] = "points"


@dataclass(frozen=True)
class Bars:
    """Upright bars of height ``y`` (n,) at ``x`` (n,), ``width`` in the units of x."""

    x: Any
    y: Any
    color: str = "ink"
    label: str | None = None
    width: float = 0.7
    kind: ClassVar[str] = "bars"


@dataclass(frozen=True)
class Band:
    """The area between ``low`` and ``high`` (n,) over ``x`` (n,), lightly filled."""

    x: Any
    low: Any
    high: Any
    color: str = "ink"
    label: str | None = None
    kind: ClassVar[str] = "band"


@dataclass(frozen=True)
class Text:
    """Words at one point (``x``, ``y``) of the plot; ``anchor`` is "start", "middle" or "end"."""

    x: float
    y: float
    text: str
    color: str = "ink"
    anchor: str = "start"
    kind: ClassVar[str] = "text"


@dataclass(frozen=True)
class Plot:
    """Axes and what is drawn on them.

    Limits are taken over all frames unless given, so that nothing jumps. ``equal`` gives both axes the same scale;
    ``xscale`` and ``yscale`` are "linear" or "log"; ``xnames`` puts words instead of numbers at 0, 1, 2, … of x;
    ``bare`` leaves out axes and numbers.
    """

    series: Sequence
    title: str = ""
    xlabel: str = ""
    ylabel: str = ""
    xlim: tuple[float, float] | None = None
    ylim: tuple[float, float] | None = None
    xscale: str = "linear"
    yscale: str = "linear"
    equal: bool = False
    xnames: tuple[str, ...] = ()
    bare: bool = False


@dataclass(frozen=True)
class Picture:
    """An image: a uint8 array (h, w, 3), PNG/WebP bytes, an ``<svg>`` string or a matplotlib figure.

    Arrays and figures are packed as WebP of the given ``quality`` (0 to 100).
    """

    image: Any
    title: str = ""
    quality: int = 70


@dataclass(frozen=True)
class Frame:
    """One state: a panel or several side by side, and the sentence read out when the reader gets here."""

    panels: Any
    text: str


@dataclass(frozen=True)
class StaticWidget:
    """What :func:`static_widget` returns: shows itself as the last line of a cell. ``html`` is all of it, ``weight``
    the bytes of its states."""

    html: str
    alt: str
    weight: int

    def _repr_html_(self) -> str:
        return self.html

    def __repr__(self) -> str:
        return f"StaticWidget({self.alt!r}, {self.weight / 1000:.0f} kB)"


def static_widget(
    frames: Callable[..., Frame] | Sequence[Frame],
    controls: Sequence[Slider | Choice] | Slider | Choice,
    alt: str,
    fallback: Any = None,
    title: str = "",
) -> StaticWidget:
    """Build a widget from precomputed states.

    ``frames`` is a function of the controls' values, called once for every combination, or the flat sequence of all
    states with the last control running fastest. ``alt`` says what the picture shows to those who do not see it.
    ``fallback`` (a :class:`Picture`, or anything that one takes) stands in print and where scripts do not run;
    without it a strip of up to three key frames of the first control is drawn. Raises ``ValueError`` when states are
    missing, ``alt`` has fewer than five words, or the states weigh more than 300 kB.
    """
    controls = [controls] if isinstance(controls, (Slider, Choice)) else list(controls)
    states = _states(frames, controls)
    if len(alt.split()) < 5:
        raise ValueError("alt: say in a sentence of five words or more what the widget shows")
    pack = _Packer()
    plots = _fixed_limits(states)
    data = {
        "controls": [_control(c) for c in controls],
        "frames": [{"text": f.text, "panels": [pack.panel(p) for p in panels]} for f, panels in plots],
        "pool": pack.pool,
    }
    payload = json.dumps(data, separators=(",", ":"), ensure_ascii=False).replace("</", "<\\/")
    weight = len(payload.encode())
    if weight > LIMIT:
        raise ValueError(f"the states weigh {weight / 1000:.0f} kB, more than {LIMIT // 1000}: fewer or smaller ones")
    strip = _strip(controls, plots) if fallback is None else [("", fallback)]
    return StaticWidget(_page(payload, controls, alt, strip, title), alt, weight)


def _states(frames: Any, controls: list) -> list[Frame]:
    count = int(np.prod([len(c.values) for c in controls]))
    if callable(frames):
        return [frames(*values) for values in itertools.product(*(c.values for c in controls))]
    if len(frames) != count:
        raise ValueError(f"{len(frames)} states for {count} combinations of the controls")
    return list(frames)


def _control(control: Slider | Choice) -> dict:
    spec = {"label": control.label, "start": control.start}
    spec["texts"] = [control.format.format(v) for v in control.values]
    if isinstance(control, Slider):
        return spec | {"kind": "slider", "play": control.interval if control.play else 0}
    return spec | {"kind": "choice"}


def _panels(frame: Frame) -> list:
    return list(frame.panels) if isinstance(frame.panels, (list, tuple)) else [frame.panels]


def _fixed_limits(states: list[Frame]) -> list[tuple[Frame, list]]:
    """Each frame with its panels, every plot's missing limits taken over all frames at the same place."""
    rows = [(f, _panels(f)) for f in states]
    for place in range(max(len(panels) for _, panels in rows)):
        plots = [panels[place] for _, panels in rows if place < len(panels) and isinstance(panels[place], Plot)]
        if not plots:
            continue
        xlim, ylim = _limits(plots, "x"), _limits(plots, "y")
        for _, panels in rows:
            if place < len(panels) and isinstance(panels[place], Plot):
                plot = panels[place]
                panels[place] = replace(plot, xlim=plot.xlim or xlim, ylim=plot.ylim or ylim)
    return rows


def _limits(plots: list[Plot], axis: str) -> tuple[float, float]:
    values, log = [], getattr(plots[0], axis + "scale") == "log"
    for series in (s for p in plots for s in p.series):
        for name in {"x": ("x",), "y": ("y", "low", "high")}[axis]:
            if hasattr(series, name):
                values.append(np.asarray(getattr(series, name), float).ravel())
        if series.kind == "bars":
            values.append(np.asarray(series.x, float) + np.array([[-0.7], [0.7]]) * series.width if axis == "x" else 0)
    flat = np.concatenate([np.ravel(v) for v in values]) if values else np.array([0.0, 1.0])
    flat = flat[np.isfinite(flat) & ((flat > 0) | (not log))]
    low, high = (float(flat.min()), float(flat.max())) if len(flat) else (0.0, 1.0)
    if log:
        return low / 1.2, high * 1.2
    margin = (high - low or 1.0) * (0.06 if axis == "y" else 0.0)
    floor = 0.0 if low == 0 and any(s.kind == "bars" for p in plots for s in p.series) else low - margin
    return floor, (high + margin if high + margin > floor else floor + 1)


class _Packer:
    """Packs panels as JSON in which equal arrays, axes, series and pictures are stored once, in ``pool``."""

    def __init__(self) -> None:
        self.pool: list = []
        self._index: dict[str, int] = {}

    def keep(self, value: Any) -> int:
        key = json.dumps(value, sort_keys=True)
        if key not in self._index:
            self._index[key] = len(self.pool)
            self.pool.append(value)
        return self._index[key]

    def array(self, values: Any, log: bool = False) -> int:
        """16 bits a number over the array's own range (of its logarithm): an error below 1/65 000 of it.

        What is not finite becomes a gap.
        """
        x = np.asarray(values, float).ravel()
        if log:
            x = np.log10(np.where(x > 0, x, np.nan))
        good = x[np.isfinite(x)]
        low, high = (float(good.min()), float(good.max())) if len(good) else (0.0, 0.0)
        share = (np.clip(x, low, high) - low) / ((high - low) or 1.0)
        code = np.where(np.isfinite(x), np.round(np.nan_to_num(share) * 65534), 65535).astype("<u2")
        return self.keep(
            [float(f"{low:.9g}"), float(f"{high:.9g}"), base64.b64encode(code.tobytes()).decode(), int(log)]
        )

    def panel(self, panel: Plot | Picture) -> int:
        if isinstance(panel, Plot):
            axes = {k: v for k, v in panel.__dict__.items() if k != "series" and v not in ("", None, (), False)}
            return self.keep({"axes": self.keep(axes), "series": [self.series(s, panel) for s in panel.series]})
        picture = panel if isinstance(panel, Picture) else Picture(panel)
        return self.keep({"image": self.keep(_data_url(picture)), "title": picture.title})

    def series(self, series: Any, plot: Plot) -> int:
        names = [] if series.kind == "text" else [k for k in ("x", "y", "low", "high") if hasattr(series, k)]
        spec = {k: v for k, v in series.__dict__.items() if k not in names and v is not None and v is not False}
        spec |= {"kind": series.kind, "color": color_of(series.color)}
        for name in names:
            scale = plot.xscale if name == "x" else plot.yscale
            spec[name] = self.array(getattr(series, name), scale == "log")
        return self.keep(spec)


def color_of(name: str) -> str:
    """The hex code of a named colour of the book; hex codes pass through.

    "ink", and the black of "truth", stay "ink": the text colour of the page, light or dark.
    """
    if name in ("ink", "truth") or name.startswith("#"):
        return name if name.startswith("#") else "ink"
    from hoi_lib.plots import COLORS

    return COLORS[name]


def _data_url(picture: Picture) -> str:
    image, kind = picture.image, "webp"
    if hasattr(image, "savefig"):
        buffer = io.BytesIO()
        image.savefig(buffer, format="png", dpi=110, bbox_inches="tight")
        image = _pixels(buffer.getvalue())
    if isinstance(image, str):
        return "data:image/svg+xml;base64," + base64.b64encode(image.encode()).decode()
    if isinstance(image, np.ndarray):
        from PIL import Image

        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "webp", quality=picture.quality, method=6)
        image = buffer.getvalue()
    elif image[:4] == b"\x89PNG":
        kind = "png"
    return f"data:image/{kind};base64," + base64.b64encode(image).decode()


def _pixels(png: bytes) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def _strip(controls: list, plots: list) -> list[tuple[str, Any]]:
    """Key frames for print: first, middle and last value of the first control, the others as they start."""
    sizes = [len(c.values) for c in controls]
    chosen = sorted({0, sizes[0] // 2, sizes[0] - 1})[:STRIP]
    strip = []
    for first in chosen:
        index = np.ravel_multi_index([first] + [c.start for c in controls[1:]], sizes)
        frame, panels = plots[int(index)]
        strip += [(frame.text if place == 0 else "", panel) for place, panel in enumerate(panels)]
    return strip


def _page(payload: str, controls: list, alt: str, strip: list, title: str) -> str:
    key = hashlib.sha256((payload + alt).encode()).hexdigest()[:12]
    figures = "".join(
        f'<figure><img src="{_data_url(_still(panel))}" alt="{_told(text, alt)}">'
        + (f"<figcaption>{escape(text)}</figcaption></figure>" if text else "</figure>")
        for text, panel in strip
    )
    heading = f'<p class="hoi-widget-title">{escape(title)}</p>' if title else ""
    return (
        f'<div class="hoi-widget" data-hoi-widget="{key}" role="group" aria-label="{escape(title or alt)}">'
        f"<style>{_asset('widget.css')}</style>{heading}"
        f'<div class="hoi-controls"></div><div class="hoi-stage" role="img" aria-label="{escape(alt)}"></div>'
        f'<p class="hoi-readout" aria-live="polite"></p><div class="hoi-print">{figures}</div></div>'
        f"<script>({_asset('widget.js')})('{key}',{payload})</script>"
    )


def _told(text: str, alt: str) -> str:
    return escape(text if len(text.split()) >= 5 else f"{alt} {text}".strip())


def _still(panel: Any) -> Picture:
    if isinstance(panel, Picture):
        return panel
    if isinstance(panel, Plot):
        from hoi_lib.widget_print import draw

        return Picture(draw(panel), panel.title, quality=60)
    return Picture(panel)


@cache
def _asset(name: str) -> str:
    return (files("hoi_lib") / "assets" / "widget" / name).read_text(encoding="utf-8").strip()
