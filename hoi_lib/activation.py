"""Which expert works when: maps of expert activation over actions and noise levels (MoEG-HOI, Fig. 5).

A actions, T noise levels, N blocks, G groups, M experts per group.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Int

from hoi_lib.errors import ConfigError
from hoi_lib.plots import COLORS
from hoi_lib.routing import RoutingTable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LIGHT = {"hand": "#8ADCEB", "finger": "#FFE48F", "joint": "#BFE27F"}
"""Where the shades of a group end: its own colour, lighter and a little turned in hue."""
FAINTEST = 0.4  # how much colour the smallest gate keeps


@dataclass(frozen=True)
class Activation:
    """A routing table in numbers.

    ``winner`` (A, T, N, G) is the expert with the largest gate of its group, ``gate`` (A, T, N, G) that gate, ``share``
    (N, G, M) the share of the A · T decisions that took an expert. ``by_action`` (N, G) is the chance that two actions
    drawn at random have different winners at the same noise level, ``by_level`` (N, G) that two noise levels have for
    the same action.
    """

    winner: Int[np.ndarray, "A T N G"]
    gate: Float[np.ndarray, "A T N G"]
    share: Float[np.ndarray, "N G M"]
    by_action: Float[np.ndarray, "N G"]
    by_level: Float[np.ndarray, "N G"]


def activation(table: RoutingTable) -> Activation:
    """Who wins, by how much, how often, and whether action and noise level matter at all.

    A router that does not listen to the action has ``by_action`` 0, one that does not listen to the noise level
    ``by_level`` 0; a router that has collapsed has a share of 1 and both 0.
    """
    gate = table.gate.cpu().numpy()
    winner = gate.argmax(-1)
    chosen = np.eye(gate.shape[-1])[winner]  # (A, T, N, G, M)
    return Activation(
        winner,
        gate.max(-1),
        table.mask.cpu().numpy().mean((0, 1)),
        (1 - (chosen.mean(0) ** 2).sum(-1)).mean(0),
        (1 - (chosen.mean(1) ** 2).sum(-1)).mean(0),
    )


def activation_map(
    table: RoutingTable,
    actions: Sequence[str],
    levels: Sequence[int] | None = None,
    groups: Sequence[str] = ("hand", "finger", "joint"),
    experts: Sequence[str | int] | None = None,
    blocks: Sequence[int] | None = None,
    height: float | int = 0.34,
) -> Figure:
    """Draw who works: one panel per group, one row per action, the noise level falling from left to right.

    Colour is the expert that wins, its strength the winner's gate. With several ``blocks`` (all of them unless given)
    every row is split into one thin line per block, the first on top. ``levels`` are the noise levels of the table's
    columns (0 … T − 1 unless given), ``experts`` the experts' names, their widths for instance; ``height`` is that of a
    row in inches. Raises :class:`ConfigError` where names and table do not fit together.
    """
    import matplotlib.pyplot as plt

    columns, count = table.gate.shape[1], table.gate.shape[-1]
    levels = list(range(columns)) if levels is None else list(levels)
    names = [f"expert {m + 1}" for m in range(count)] if experts is None else [str(e) for e in experts]
    _fit(table, actions, levels, groups, names)
    found, order = activation(table), np.argsort(levels)[::-1]
    chosen = list(range(table.gate.shape[2])) if blocks is None else list(blocks)
    winner, gate = found.winner[:, order][:, :, chosen], found.gate[:, order][:, :, chosen]
    low, high = float(gate.min()), float(gate.max())
    size = (2.1 * len(groups) + 0.9, height * len(actions) + 1.5)
    heights = [height * len(actions), 0.16 * count]
    figure, axes = plt.subplots(
        2, len(groups), figsize=size, squeeze=False, height_ratios=heights, layout="constrained"
    )
    figure.get_layout_engine().set(wspace=0.07)
    for g, group in enumerate(groups):
        colors = shades(group, count)
        strength = FAINTEST + (1 - FAINTEST) * (gate[..., g] - low) / max(high - low, 1e-9)
        picture = faded(colors[winner[..., g]], strength)  # (A, T, blocks, 3)
        _panel(axes[0, g], picture, [levels[t] for t in order], f"{group} group" if len(groups) > 1 else group)
        _key(axes[1, g], colors, names, (low, high))
    axes[0, 0].set_yticks(np.arange(len(actions)), actions)
    if len(chosen) > 1:
        axes[0, -1].yaxis.set_label_position("right")
        axes[0, -1].set_ylabel(f"in each row: {len(chosen)} blocks, the first on top", fontsize=11)
    axes[0, len(groups) // 2].set_xlabel("noise level t, from noise to hand")
    return figure


def lights(
    axis: Axes,
    gate: Float[np.ndarray, "N G M"],
    groups: Sequence[str] = ("hand", "finger", "joint"),
    high: float | int = 0.6,
) -> None:
    """Draw one decision as lamps: a row per block, the first on top, and the experts of all groups side by side.

    A lamp that is on has the colour of its group, the stronger the larger its gate (full at ``high``); the others are
    dark rings.
    """
    blocks, parts, members = gate.shape
    for n, g, m in np.ndindex(gate.shape):
        place, on = (g * (members + 0.6) + m, n), gate[n, g, m] > 0
        strength = FAINTEST + (1 - FAINTEST) * min(float(gate[n, g, m]) / high, 1.0)
        fill = faded(shades(groups[g], members)[m], np.array(strength)) if on else "#ECEBE7"
        edge = COLORS["ink"] if on else "#C4C2BC"
        axis.plot(*place, "o", ms=7 if on else 4.5, mfc=tuple(fill) if on else fill, mec=edge, mew=0.9 if on else 0.6)
    axis.set(xlim=(-0.7, parts * (members + 0.6) - 0.9), ylim=(blocks - 0.4, -0.6))
    _bare(axis)
    axis.set_xticks([g * (members + 0.6) + (members - 1) / 2 for g in range(parts)], groups, fontsize=11)


def strips(
    winner: Int[np.ndarray, "A T"],
    actions: Sequence[str],
    group: str = "finger",
    count: int = 3,
    marked: Bool[np.ndarray, "A T"] | None = None,
    levels: tuple[str, str] = ("t = 999, noise", "t = 0, hand"),
) -> str:
    """A small map of winners as SVG: a row per action, the noise level falling from left to right.

    ``winner`` and ``marked`` have their columns in this order already. Marked cells carry a dark line below them. Words
    and numbers beside the colours say which expert is which; ``levels`` name both ends.
    """
    left, width, tall = 84, 340, 26
    colors = ["#{:02x}{:02x}{:02x}".format(*(255 * c).round().astype(int)) for c in shades(group, count)]
    step, foot = width / winner.shape[1], 22 + tall * len(actions)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {left + width + 8} {foot + 46}" width="560"'
        f' font-family="sans-serif" font-size="15" fill="{COLORS["ink"]}">',
        '<rect width="100%" height="100%" fill="#fff"/>',
    ]
    for a, action in enumerate(actions):
        lines.append(f'<text x="{left - 8}" y="{26 + tall * a}" text-anchor="end">{escape(action)}</text>')
    marks = np.zeros_like(winner, bool) if marked is None else marked
    for cells, color, thick, down in [(winner == m, c, tall - 5, 21) for m, c in enumerate(colors)] + [
        (marks, COLORS["ink"], 3, 33.5)
    ]:
        runs = [f"M{left + a0 * step:g} {down + tall * a:g}h{n * step:g}" for a, a0, n in _runs(cells)]
        if runs:
            lines.append(f'<path d="{"".join(runs)}" stroke="{color}" stroke-width="{thick}"/>')
    lines.append(f'<text x="{left}" y="{foot + 14}">{escape(levels[0])}</text>')
    lines.append(f'<text x="{left + width}" y="{foot + 14}" text-anchor="end">{escape(levels[1])}</text>')
    for m, color in enumerate(colors):
        x = left + m * width / count
        lines.append(f'<rect x="{x:g}" y="{foot + 24}" width="16" height="14" fill="{color}"/>')
        lines.append(f'<text x="{x + 22:g}" y="{foot + 36}">expert {m + 1}</text>')
    return "".join(lines) + "</svg>"


def _runs(cells: Bool[np.ndarray, "A T"]) -> Iterator[tuple[int, int, int]]:
    """(row, first column, length) of every unbroken run of True."""
    for a, row in enumerate(cells):
        ends = np.flatnonzero(np.diff(np.r_[False, row, False].astype(int)))
        yield from ((a, int(start), int(stop - start)) for start, stop in ends.reshape(-1, 2))


def shades(group: str, count: int) -> Float[np.ndarray, "M 3"]:
    """One colour per expert, from dark to light: around the group's own colour, or viridis for an unknown group."""
    from matplotlib import colormaps
    from matplotlib.colors import LinearSegmentedColormap, to_rgb

    if group not in LIGHT:
        return colormaps["viridis"](np.linspace(0, 1, count))[:, :3]
    own = np.array(to_rgb(COLORS[group]))
    scale = LinearSegmentedColormap.from_list(group, [0.42 * own, own, to_rgb(LIGHT[group])])
    return scale(np.linspace(0, 1, count) if count > 1 else [0.5])[:, :3]


def faded(colors: Float[np.ndarray, "*rows 3"], strength: Float[np.ndarray, "*rows"]) -> Float[np.ndarray, "*rows 3"]:
    """Colours mixed with white; strength 1 leaves them as they are."""
    return 1 - strength[..., None] * (1 - colors)


def _fit(table: RoutingTable, actions: Sequence, levels: Sequence, groups: Sequence, experts: Sequence) -> None:
    """Raise :class:`ConfigError` unless every axis of the table has a name for each of its entries."""
    rows, columns, _, parts, members = table.gate.shape
    given = {"actions": actions, "levels": levels, "groups": groups, "experts": experts}
    for (what, named), size in zip(given.items(), (rows, columns, parts, members), strict=True):
        if len(named) != size:
            raise ConfigError(f"{len(named)} {what} for a routing table with {size}: expected as many.")


def _panel(axis: Axes, picture: Float[np.ndarray, "A T N 3"], levels: Sequence[int], title: str) -> None:
    actions, columns = picture.shape[:2]
    for row, lines in enumerate(picture.transpose(0, 2, 1, 3)):
        _strip(axis, lines, columns, row)
    axis.set_ylim(actions - 0.5, -0.5)
    ticks = np.unique(np.linspace(0, columns - 1, 3).round().astype(int))
    axis.set_xticks(ticks + 0.5, [str(levels[k]) for k in ticks])
    for label, side in zip(axis.get_xticklabels()[:: len(ticks) - 1 or 1], ("left", "right"), strict=False):
        label.set_horizontalalignment(side)
    _bare(axis)
    axis.set_title(title)


def _key(axis: Axes, colors: Float[np.ndarray, "M 3"], names: Sequence[str], gates: tuple[float, float]) -> None:
    for m, (color, name) in enumerate(zip(colors, names, strict=True)):
        _strip(axis, faded(color[None, None].repeat(64, 1), np.linspace(FAINTEST, 1, 64)[None]), 1, m)
        axis.text(1.06, m, name, va="center", fontsize=11)
    axis.set(xlim=(0, 2.2), ylim=(len(names) - 0.5, -0.5))
    axis.set_xticks([0, 1, 1.06], [f"{gates[0]:.2f}", f"{gates[1]:.2f}", "gate"], fontsize=11)
    for label, side in zip(axis.get_xticklabels(), ("left", "right", "left"), strict=True):
        label.set_horizontalalignment(side)
    _bare(axis)


def _strip(axis: Axes, picture: Float[np.ndarray, "h w 3"], width: int, row: int) -> None:
    """A picture as one row of a panel, with a gap to its neighbours."""
    axis.imshow(picture, aspect="auto", interpolation="nearest", extent=(0, width, row + 0.45, row - 0.45))


def _bare(axis: Axes) -> None:
    axis.set_yticks([])
    axis.tick_params(length=0)
    axis.grid(False)
    axis.spines[:].set_visible(False)
