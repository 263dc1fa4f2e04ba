"""The figures of the page on scale, worked out by ``hoi_lib.costs`` when the book is built.

``cost-parts`` is a table of a preset's parts, ``cost-bars`` the arithmetic of one training step of several presets,
``cost-growth`` what doubling a size multiplies, ``cost-runs`` whole trainings at the sizes of the profiles.
"""

from __future__ import annotations

from html import escape

from docutils import nodes
from hoi_nodes import table
from sphinx.util.docutils import SphinxDirective

from hoi_lib import costs, denoiserconfig
from hoi_lib.denoiserconfig import for_profile
from hoi_lib.profiles import PROFILES

PAGE = "book/appendices/scale"
FORMULAS = {
    "self-attention": r"N\,(4SD^2 + 2S^2D)",
    "cross-attention": r"NG\,(2nD^2 + 2SD^2 + 2SnD)",
    "experts": r"NG\,\tfrac{K}{M}\,2SD \textstyle\sum_m d_m",
    "router": r"NGM\,(E + D)",
    "text of the groups": r"G\,(n+1)\,E D",
    "condition tokens": r"P(7w' + w'w'' + w''w) + \dots",
    "input and output": r"L\,(3D^2 + (2\cdot 99 + O)\,D)",
}
BARS = {  # what the bars are made of: the parts of a network that belong to each
    "attention": ("self-attention",),
    "listening to the text": ("cross-attention", "text of the groups"),
    "experts": ("experts",),
    "the rest": ("router", "condition tokens", "input and output", "norms"),
}
READINGS = {
    "hollow": "no experts: one feed-forward",
    "recommended": "recommended",
    "paper": "paper",
    "release": "release",
}


class CostParts(SphinxDirective):
    """The directive ``cost-parts PRESET``: formula, parameters and arithmetic of every part."""

    required_arguments = 1

    def run(self):
        """Return the table."""
        parts = costs.breakdown(preset(self.arguments[0]))
        rows = [_row(p.name, FORMULAS.get(p.name), p) for p in parts if p.macs]
        rows.append(_row("all", None, costs.totals(parts)))
        return [table(["part", "parameters", "GFLOP", "multiply-adds of a sample"], rows)]


class CostBars(SphinxDirective):
    """The directive ``cost-bars``: one training step of 32 samples, stacked by what it is spent on."""

    def run(self):
        """Return the bars as HTML."""
        steps = {words: spent(preset(name)) for name, words in READINGS.items()}
        everyone = denoiserconfig.release(executor="dense")
        steps["release, every expert run for every sample"] = spent(everyone)
        longest = max(sum(step.values()) for step in steps.values())
        names = list(next(iter(steps.values())))
        legend = "".join(f'<li><span class="hoi-bar-{i}"></span>{escape(n)}</li>' for i, n in enumerate(names))
        rows = "".join(_bar(words, step, longest) for words, step in steps.items())
        said = "; ".join(f"{words} {sum(step.values()):.2f} TFLOP" for words, step in steps.items())
        html = (
            f'<figure class="hoi-bars"><ul>{legend}</ul><div role="img" aria-label="Arithmetic of one training step: '
            f'{escape(said)}.">{rows}</div></figure>'
        )
        return [nodes.raw("", html, format="html")]


class CostGrowth(SphinxDirective):
    """The directive ``cost-growth PRESET``: what doubling a size multiplies."""

    required_arguments = 1

    def run(self):
        """Return the table."""
        grown = costs.growth(preset(self.arguments[0]))
        rows = [(name, *(_factor(x) for x in factors.values())) for name, factors in grown.items()]
        return [table(["twice as many", "parameters", "network", "neighbours", "memory", "steps"], rows)]


class CostRuns(SphinxDirective):
    """The directive ``cost-runs``: a whole training at the sizes of every profile."""

    def run(self):
        """Return the table."""
        rows = []
        for name, profile in PROFILES.items():
            config = for_profile(profile)
            step = costs.step_cost(config, profile.batch, points=profile.points, vertices=profile.vertices)
            count, total = costs.parameters(config), step.flop * profile.steps / 1e15
            hours = total * 1e15 / 100e12 / 3600
            shown = (f"{count / 1e6:.2g} M", f"{step.flop / 1e12:.2g} TFLOP", f"{step.memory / 1e9:.2g} GB")
            rows.append((nodes.literal(text=name), *shown, f"{profile.steps:,}".replace(",", " "), _time(hours)))
        head = ["profile", "parameters", "a step", "memory", "steps", "at 100 TFLOP/s"]
        return [table(head, rows)]


def preset(name: str) -> denoiserconfig.DenoiserConfig:
    """A preset at the paper's sizes, by its name."""
    return getattr(denoiserconfig, name)()


def spent(config: denoiserconfig.DenoiserConfig) -> dict[str, float]:
    """TFLOP of one training step of 32 samples by the entries of :data:`BARS`, hands and nearest neighbours."""
    batch, step = 32, costs.step_cost(config)
    macs = {part.name: part.macs for part in costs.breakdown(config, training=True)}
    scale = 2 * costs.BACKWARD * batch / 1e12
    found = {name: scale * sum(macs[part] for part in parts) for name, parts in BARS.items()}
    return {**found, "posing hands": step.hands / 1e12, "nearest neighbours": step.pairs / 1e12}


def _row(name: str, formula: str | None, part: costs.Part) -> tuple[str | nodes.Node, ...]:
    shown = nodes.math(formula, formula) if formula else nodes.Text("")
    count = f"{part.parameters / 1e6:.2f} M"
    return name, count, f"{2 * part.macs / 1e9:.2f}", shown


def _bar(words: str, step: dict[str, float], longest: float) -> str:
    pieces = "".join(
        f'<span class="hoi-bar-{i}" style="width: {100 * x / longest:.2f}%" title="{escape(name)}: {x:.3f} TFLOP">'
        f"</span>"
        for i, (name, x) in enumerate(step.items())
    )
    return f"<p>{escape(words)} <b>{sum(step.values()):.2f} TFLOP</b></p><div>{pieces}</div>"


def _factor(x: float) -> str:
    """A factor with one decimal; what hardly changes is shown as a dot."""
    return "·" if abs(x - 1) < 0.01 else f"× {x:.1f}"


def _time(hours: float) -> str:
    units = {"h": hours, "min": 60 * hours, "s": 3600 * hours, "ms": 3.6e6 * hours}
    unit, value = next(((u, x) for u, x in units.items() if x >= 1), ("ms", units["ms"]))
    return f"{value:.2g} {unit}"


def setup(app) -> dict:
    """Register with Sphinx."""
    app.connect("env-get-outdated", lambda app, env, *_: [PAGE] if PAGE in env.found_docs else [])
    for name, directive in (("parts", CostParts), ("bars", CostBars), ("growth", CostGrowth), ("runs", CostRuns)):
        app.add_directive(f"cost-{name}", directive)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
