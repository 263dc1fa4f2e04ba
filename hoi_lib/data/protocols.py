"""How the paper trains on each real set: the one place that holds its epochs, batch and optimiser.

Everything is the printed text's; what it leaves open follows the code base that it builds on: captions drawn evenly
(the "balanced" sampler), no schedule, no averaging, no clipping. ``hoi train --preset paper_arctic`` uses a row by its
name, at the paper's size unless a profile is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hoi_lib.trainconfig import TrainConfig


@dataclass(frozen=True)
class Protocol:
    """The training of one published experiment: ``network`` names a preset of the network, the rest are fields of
    :class:`~hoi_lib.trainconfig.TrainConfig`."""

    epochs: float
    network: str = "paper"
    batch: int = 32
    lr: float = 1e-4
    weight_decay: float = 0.01
    warmup: int = 0
    final_lr: float = 1.0
    ema: float = 0.0
    clip: float = 0.0
    data_sampler: str = "balanced"

    @property
    def settings(self) -> dict[str, Any]:
        """The fields of a :class:`~hoi_lib.trainconfig.TrainConfig` that this protocol decides."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "network"}


PROTOCOLS = {
    "paper_arctic": Protocol(epochs=100.0),
    "paper_grab": Protocol(epochs=100.0),
    "paper_h2o": Protocol(epochs=200.0),
}


def paper_arctic() -> TrainConfig:
    """The paper's network and training on ARCTIC: 100 epochs of batches of 32."""
    return _at_full_size("paper_arctic")


def paper_grab() -> TrainConfig:
    """The paper's network and training on GRAB: 100 epochs of batches of 32."""
    return _at_full_size("paper_grab")


def paper_h2o() -> TrainConfig:
    """The paper's network and training on H2O: 200 epochs of batches of 32."""
    return _at_full_size("paper_h2o")


def _at_full_size(name: str) -> TrainConfig:
    from hoi_lib.profiles import PROFILES
    from hoi_lib.trainconfig import config_for

    return config_for(name, PROFILES["full"])
