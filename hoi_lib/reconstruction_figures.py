"""Figures of the losses on numbers and positions: a hand painted by its error, pulls, rulers, broken losses.

V vertices, J joints. Metres, unless a name says millimetres.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from hoi_lib import plots
from hoi_lib.drawables import Mesh

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from hoi_lib.hand import HandModel

PALE = "#E9DED4"
SHORTEST = 1e-4  # m: a shorter arrow is not drawn


def painted(hand: HandModel, skin: Float[Tensor, "V 3"], true: Float[Tensor, "V 3"], most: float = 0.03) -> list[Mesh]:
    """A skin that turns from pale to the colour of predictions as its vertices are off by up to ``most`` metres (by the
    square root, so that small errors show), and the true one as a grey ghost."""
    from matplotlib.colors import to_rgb

    share = ((skin - true).norm(dim=-1) / most).clamp(max=1).sqrt().detach().numpy()[:, None]
    tones = share * np.array(to_rgb(plots.COLORS["prediction"])) + (1 - share) * np.array(to_rgb(PALE))
    return [Mesh(skin.detach().numpy(), hand.faces.numpy(), vertex_colors=tones), ghost(hand, true)]


def ghost(hand: HandModel, skin: Float[Tensor, "V 3"]) -> Mesh:
    """Where the hand belongs: grey and transparent."""
    return Mesh(skin.detach().numpy(), hand.faces.numpy(), plots.COLORS["noise"], opacity=0.32)


def pulled(
    hand: HandModel,
    joints: Float[Tensor, "J 3"],
    skin: Float[Tensor, "V 3"],
    pulls: Sequence[Tensor],
    beside: Sequence[Mesh] = (),
    every: int = 6,
) -> tuple[list[Mesh], list[Mesh]]:
    """Two scenes with the truth as a ghost: bones with an arrow at each joint, and the skin with one at one of
    ``every`` vertices. ``pulls`` are the arrows of joints and vertices, to the truth; none is drawn below 0.1 mm.
    """
    true = ghost(hand, skin + pulls[1])
    joints, skin = joints.detach().numpy(), skin.detach().numpy()
    at_joints, at_skin = (
        _arrows(starts, vectors) for starts, vectors in ((joints, pulls[0]), (skin[::every], pulls[1][::every]))
    )
    bones = plots.skeleton(joints, plots.COLORS["joint"], radius=0.004)
    solid = Mesh(skin, hand.faces.numpy(), plots.COLORS["prediction"])
    return [*beside, true, *bones, at_joints], [*beside, true, solid, at_skin]


def _arrows(starts: np.ndarray, vectors: Float[Tensor, "N 3"]) -> Mesh:
    """Arrows of what is long enough to have a direction."""
    far = (vectors.norm(dim=-1) > SHORTEST).numpy()
    return plots.arrows(starts[far], vectors.detach().numpy()[far], 0.0011, plots.COLORS["penetration"])


def thinning_figure(picture: np.ndarray, counts: Sequence[int], means: Tensor) -> Figure:
    """A picture of the chosen vertices, beside mean and sum over ``counts`` vertices, as shares of those over all."""
    import matplotlib.pyplot as plt

    figure, (image, curve) = plt.subplots(1, 2, figsize=(7.2, 3.4), width_ratios=(1, 1.35))
    image.imshow(picture, interpolation="lanczos")
    image.set_title("78 of 778 vertices")
    image.axis("off")
    n = torch.tensor(counts)
    curve.plot(n, means / means[-1], "o-", color=plots.COLORS["hand"], lw=2.5, label="mean over the vertices")
    sums = means * n / (means[-1] * counts[-1])
    curve.plot(n, sums, "s--", color=plots.COLORS["penetration"], lw=2, label="sum over the vertices")
    curve.axvline(78, color=plots.COLORS["noise"], ls=":")
    curve.text(72, 1.6, "smoke and laptop", color=plots.COLORS["noise"], fontsize=11, ha="right")
    curve.set(xlabel="vertices that the loss looks at", ylabel="share of the full loss", xscale="log", yscale="log")
    curve.set(ylim=(0.01, 2.5), yticks=[0.01, 0.1, 1], yticklabels=["0.01", "0.1", "1"])
    curve.set(xticks=[10, 78, 778], xticklabels=["10", "78", "778"])
    curve.minorticks_off()
    curve.legend(loc="lower right")
    return figure


def rulers_figure(mistakes: Sequence[str], costs: Mapping[str, Tensor]) -> Figure:
    """One panel per ruler, by its title: what each mistake costs, on a logarithmic axis of its own."""
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, len(costs), figsize=(7.2, 3.4), sharey=True)
    looks = (("noise", "s-"), ("finger", "D-"), ("prediction", "o-"))
    for panel, (name, cost), (color, line) in zip(panels, costs.items(), looks, strict=True):
        panel.plot(cost, mistakes, line, color=plots.COLORS[color], lw=1, ms=8)
        panel.set(title=name, xscale="log")
        panel.minorticks_off()
        panel.margins(x=0.12)
    panels[0].invert_yaxis()
    return figure


def broken_figure(
    paddings: Mapping[int, tuple], shares: Mapping[str, Mapping[str, float]], trembles: Mapping[float, tuple]
) -> Figure:
    """Right and broken losses (m²) by frames that clips are padded to and by millimetres that a hand trembles, and
    between them who pulls by which share, ``rec`` or ``diff``, in which unit."""
    import matplotlib.pyplot as plt

    figure, (padding, unit, tremble) = plt.subplots(1, 3, figsize=(7.2, 3.1))
    looks: tuple[dict[str, Any], ...] = (
        {"color": plots.COLORS["hand"], "marker": "o", "lw": 2.5, "label": "right"},
        {"color": plots.COLORS["penetration"], "marker": "s", "ls": "--", "lw": 2, "label": "broken"},
    )
    for panel, found in ((padding, paddings), (tremble, trembles)):
        for look, losses in zip(looks, zip(*found.values(), strict=True), strict=True):
            panel.plot(list(found), [float(loss) * 1e4 for loss in losses], **look)
        panel.set(ylabel="loss (cm²)")
        panel.legend()
    padding.set(title="padding counted", xlabel="padded to (frames)", ylim=(0, None))
    tremble.set(title="mean, then square", xlabel="trembles by (mm)")
    for k, share in enumerate(shares.values()):
        rec, label = share["rec"], "Eq. 11" if k else None
        unit.bar(k, rec, color=plots.COLORS["prediction"], hatch="//", ec="white", label=label)
        unit.bar(k, share["diff"], bottom=rec, color=plots.COLORS["finger"], ec="white", label=label and "Eq. 10")
    unit.set(title="mm for m", ylabel="share of the gradient", xticks=range(len(shares)), xticklabels=list(shares))
    unit.set(ylim=(0, 1.62), yticks=[0, 0.5, 1])
    unit.legend(loc="upper center", borderaxespad=0)
    return figure


def run_figure(curves: Mapping[str, Mapping[str, list]]) -> Figure:
    """Eqs. 10 and 11 over a run's steps, training and validation; Eq. 11 as the square root of its half, in mm."""
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, 2, figsize=(7.2, 3.2))
    for panel, term in zip(panels, ("diff", "rec"), strict=True):
        for part, color, line in (("training", "hand", "-"), ("validation", "finger", "o--")):
            curve = curves[f"{part}/{term}"]
            values = torch.tensor(curve["value"])
            shown = values if term == "diff" else (values / 2).sqrt() * 1000
            panel.plot(curve["step"], shown, line, color=plots.COLORS[color], label=part, lw=2)
        panel.set(xlabel="step", yscale="log")
        panel.minorticks_off()
        panel.legend()
    panels[0].set(title="Equation 10", ylabel="standardised", yticks=[0.1, 1], yticklabels=["0.1", "1"])
    panels[1].set(title="Equation 11", ylabel="typical distance (mm)", yticks=[20, 50, 100])
    panels[1].set(yticklabels=["20", "50", "100"])
    return figure
