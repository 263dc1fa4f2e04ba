"""The denoiser: a transformer that turns a noised hand, its object and a sentence into the clean hand.

B batch, L frames, C condition tokens, D width, S = C + L tokens, X the 99 numbers of a hand, O the numbers that
describe the object's motion in a frame, E text width, N blocks, G groups, M experts per group. Every sample is one
hand of one clip.
"""

import io
import json
import os
import re
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import redirect_stdout
from copy import deepcopy
from dataclasses import dataclass, fields
from pathlib import Path

import torch
from huggingface_hub import PyTorchModelHubMixin
from jaxtyping import Bool, Float, Int
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn.functional import dropout, pad

from hoi_lib.blocks import Block, sinusoid
from hoi_lib.conditions import Conditions, ConditionTokens, LevelTexts, given
from hoi_lib.denoiserconfig import (
    ABLATIONS,
    CHAPTER,
    ROWS,
    TRAJECTORIES,
    DenoiserConfig,
    ablated,
    for_profile,
    hollow,
    paper,
    recommended,
    release,
)
from hoi_lib.encoders import TextEncoder, load_encoder
from hoi_lib.errors import CheckpointError, OutputError
from hoi_lib.experts import Context, Routing, rows_of
from hoi_lib.motion import (
    POSE_DIM,
    SIDES,
    Batch,
    object_to_world,
    rich_trajectory,
    world_to_object,
)
from hoi_lib.normaliser import Moments, Normaliser
from hoi_lib.refiner import Refiner, refine
from hoi_lib.routing import RoutingTable, route_all

__all__ = [
    "ABLATIONS",
    "ROWS",
    "Conditions",
    "Denoiser",
    "DenoiserConfig",
    "Estimate",
    "NoiseLevel",
    "ablated",
    "for_profile",
    "hollow",
    "paper",
    "recommended",
    "release",
]


@dataclass(frozen=True)
class Estimate:
    """``x0`` (B, L, 99), standardised; ``balance``, the balance loss summed over blocks and groups (MoEG-HOI Eq. 9), 0
    without experts; ``load`` (N, G, M), how many samples each expert took, None without expert groups."""

    x0: Float[Tensor, "B L 99"]
    balance: Float[Tensor, ""]
    load: Float[Tensor, "N G M"] | None = None


@dataclass(frozen=True)
class NoiseLevel:
    """What a noise level decides before the network sees a hand: the time's embedding (B, D), and who works in each
    block (empty without expert groups)."""

    time: Float[Tensor, "B D"]
    routing: Sequence[Routing] = ()


class Denoiser(nn.Module, PyTorchModelHubMixin, library_name="hoi_lib", license="mit", tags=["hand-object", "motion"]):
    """Estimate the clean hand from a noised one (MoEG-HOI section 3.2, x0-prediction).

    :meth:`prepare` computes once what does not depend on the noise level, :meth:`plan` what depends on nothing else,
    ``forward`` the rest; :meth:`to_model` and :meth:`to_world` translate between the world's 99 numbers and those that
    the network sees. ``refiner`` turns a caption into the three descriptions that the groups hear, by rules unless
    another is set.
    """

    def __init__(self, config: DenoiserConfig):
        super().__init__()
        self.config = config
        self.refiner: Refiner = refine
        width, motion = config.width, TRAJECTORIES[config.trajectory]
        self.time = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.conditions = ConditionTokens(config)
        guided = config.feedforward == "experts" and config.guidance != "none"
        self.levels = LevelTexts(config) if guided else None
        self.hand = nn.Linear(POSE_DIM, width)
        self.trajectory = nn.Linear(motion, width)
        self.merge = nn.Sequential(nn.Linear(2 * width, width), nn.SiLU(), nn.Linear(width, width))
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.blocks))
        self.norm = nn.LayerNorm(width) if config.norm == "pre" else nn.Identity()
        self.head = nn.Linear(width, POSE_DIM)
        self.standard_hand = Normaliser(POSE_DIM, kinds=len(SIDES))
        self.standard_motion = Normaliser(motion)

    def forward(
        self,
        x_BLX: Float[Tensor, "B L 99"],
        t_B: Int[Tensor, "B"],
        conditions: Conditions,
        valid_BL: Bool[Tensor, "B L"] | None = None,
    ) -> Float[Tensor, "B L 99"]:
        """Noised hand at level ``t_B`` (0 … T − 1) to the clean hand, both standardised; padding changes nothing."""
        return self.estimate(x_BLX, t_B, conditions, valid_BL).x0

    def estimate(
        self,
        x_BLX: Float[Tensor, "B L 99"],
        t_B: Int[Tensor, "B"],
        conditions: Conditions,
        valid_BL: Bool[Tensor, "B L"] | None = None,
        level: NoiseLevel | None = None,
    ) -> Estimate:
        """The clean hand, and what training wants to know of the routing. ``level`` is what :meth:`plan` made of
        ``t_B``; left out, it is worked out here."""
        # fmt: off
        level = level or self._level(t_B, conditions)
        prefix = torch.cat([level.time[:, None], conditions.tokens], 1)                # (B, C, D)
        frames = self.merge(torch.cat([self.hand(x_BLX), conditions.frames], -1))      # (B, L, D)
        tokens = self._placed(prefix, frames)                                          # (B, S, D)
        valid = None if valid_BL is None else pad(valid_BL, (prefix.shape[1], 0), value=True)
        mask = valid[:, None, None] if valid is not None and self.config.mask_padding else None
        balance = tokens.new_zeros(())
        for n, block in enumerate(self.blocks):
            tokens, uneven = block(tokens, mask, self._context(n, level, conditions, valid))
            balance = balance + uneven
        x0 = self.head(self.norm(tokens[:, prefix.shape[1]:]))                         # (B, L, 99)
        # fmt: on
        load = torch.stack([r.assignment.stats.load for r in level.routing]) if level.routing else None
        return Estimate(x0, balance, load)

    def positions(self, frames: int) -> Float[Tensor, "L D"]:
        """Sinusoidal code of each token's place, for any number of them."""
        return sinusoid(torch.arange(frames, device=self.head.weight.device), self.config.width)

    def _placed(self, prefix: Float[Tensor, "B C D"], frames: Float[Tensor, "B L D"]) -> Float[Tensor, "B S D"]:
        """All tokens in order, with their position code: on the frames alone, or on all of them."""
        if self.config.positions == "frames":
            return torch.cat([prefix, frames + self.positions(frames.shape[1])], 1)
        tokens = torch.cat([prefix, frames], 1)
        return dropout(tokens + self.positions(tokens.shape[1]), self.config.dropout, self.training)

    def _level(self, t_B: Int[Tensor, "B"], conditions: Conditions) -> NoiseLevel:
        time = self.time(sinusoid(t_B, self.config.width))
        if self.config.feedforward != "experts":
            return NoiseLevel(time)
        assignments = route_all(self.routers, conditions.action, time)
        rows = rows_of(assignments, self.config.executor)
        return NoiseLevel(time, [Routing(a, r) for a, r in zip(assignments, rows, strict=True)])

    def _context(self, n: int, level: NoiseLevel, conditions: Conditions, valid: Tensor | None) -> Context:
        heard = conditions.heard[n] if conditions.heard else ()
        return Context(level.routing[n] if level.routing else None, heard, valid)

    @property
    def routers(self) -> list[nn.Module]:
        """The action-and-noise router of every block; empty without expert groups."""
        return [block.feedforward.router for block in self.blocks] if self.config.feedforward == "experts" else []

    @torch.no_grad()
    def plan(self, levels: Sequence[int], conditions: Conditions) -> dict[int, NoiseLevel]:
        """Everything that sampling can know before it starts: for each noise level that it will visit, the time's
        embedding and who works in each block, from one routing table of these samples' actions."""
        device, batch = self.head.weight.device, len(conditions.tokens)
        time_TD = self.time(sinusoid(torch.tensor(levels, device=device), self.config.width))
        embedded = {t: time.expand(batch, -1) for t, time in zip(levels, time_TD, strict=True)}
        if not self.routers:
            return {t: NoiseLevel(time) for t, time in embedded.items()}
        table = RoutingTable.of(self.routers, conditions.action, time_TD)
        every, plan = torch.arange(batch, device=device), {}
        for number, (t, time) in enumerate(embedded.items()):
            assignments = table.look_up(every, torch.full_like(every, number))
            rows = rows_of(assignments, self.config.executor)
            plan[t] = NoiseLevel(time, [Routing(a, r) for a, r in zip(assignments, rows, strict=True)])
        return plan

    @torch.no_grad()
    def routing_table(self, actions: Sequence[str], encoder: TextEncoder, levels: Sequence[int]) -> RoutingTable:
        """Who works for each verb at each noise level, for all blocks: the router of a trained network as a table
        (A, T, N, G, M), the expert activations of MoEG-HOI's Fig. 5."""
        device = self.head.weight.device
        time = self.time(sinusoid(torch.tensor(levels, device=device), self.config.width))
        return RoutingTable.of(self.routers, encoder.encode(actions).pooled.to(device), time)

    def prepare(self, batch: Batch, encoder: TextEncoder, generator: torch.Generator | None = None) -> Conditions:
        """Everything that does not depend on the noise level, computed once per batch (once per sampling run).

        The action is the verb's own embedding; an empty ``verb`` or ``caption`` leaves it out. In training mode text
        and action are withheld too, each with probability ``condition_dropout``, drawn from ``generator`` (CPU).
        """
        config, device = self.config, self.head.weight.device
        said = given(batch, config.condition_dropout if self.training else 0.0, generator).to(device)
        text = encoder.encode(batch.caption).pooled.to(device)
        action = encoder.encode(batch.verb).pooled.to(device)
        motion = self.standard_motion(self._motion(batch), torch.zeros_like(batch.side))
        return Conditions(
            tokens=self.conditions(batch, text, action, said),
            frames=self.trajectory(motion),
            action=action * said[:, 1:],
            heard=self._heard(batch, encoder, said[:, :1]),
        )

    def _heard(self, batch: Batch, encoder: TextEncoder, said: Bool[Tensor, "B 1"]) -> tuple:
        if self.levels is None:
            return ()
        config = self.config
        reader = encoder if config.level_encoder == config.encoder else load_encoder(config.level_encoder)
        texts = self.levels(batch, reader, self.refiner, said)
        return tuple(block.feedforward.hear(texts) for block in self.blocks)

    def to_model(self, batch: Batch) -> Float[Tensor, "B L 99"]:
        """The batch's hands as the network sees them: in the configured coordinates, standardised."""
        return self.standard_hand(self._pose(batch), batch.side)

    def to_world(self, x: Float[Tensor, "B L 99"], batch: Batch) -> Float[Tensor, "B L 99"]:
        """Undo :meth:`to_model`: world poses in metres. Differentiable.

        An estimate's six numbers need not be orthonormal; whoever unpacks the pose makes them so.
        """
        pose = self.standard_hand.undo(x, batch.side)
        if self.config.coordinates == "object":
            return object_to_world(pose, batch.object_pose, batch.wrist_rest)
        return pose

    @torch.no_grad()
    def fit_normaliser(self, batches: Iterable[Batch]) -> None:
        """Learn what standardising needs from the valid frames of *training* batches, hands by side.

        A side that never occurs takes the figures of the other; without ``standardise`` numbers stay as they are.
        Raises :class:`ConfigError` if no frame is valid.
        """
        hands = [Moments(POSE_DIM) for _ in SIDES]
        motion = Moments(TRAJECTORIES[self.config.trajectory])
        for batch in batches:
            pose = self._pose(batch)
            for side, moments in enumerate(hands):
                moments.add(pose[batch.valid & (batch.side == side)[:, None]])
            motion.add(self._motion(batch)[batch.valid])
        if self.config.standardise:
            self.standard_hand.fit(hands)
            self.standard_motion.fit([motion])

    def _pose(self, batch: Batch) -> Float[Tensor, "B L 99"]:
        if self.config.coordinates == "object":
            return world_to_object(batch.pose, batch.object_pose, batch.wrist_rest)
        return batch.pose

    def _motion(self, batch: Batch) -> Float[Tensor, "B L O"]:
        if self.config.trajectory == "raw":
            return batch.object_pose
        return rich_trajectory(batch.object_pose, placed=self.config.coordinates == "world")

    def save_pretrained(self, save_directory: str | os.PathLike, half: bool = False, **kwargs) -> str | None:
        """Write ``config.json`` and ``model.safetensors`` into a folder, each whole or not at all.

        ``half`` stores float16, half the size; it loads as float32. Raises :class:`OutputError` if the folder cannot
        be written. Further arguments go to the hub's own method (``push_to_hub``, ``repo_id``, …).
        """
        folder = Path(save_directory)
        model = deepcopy(self).half() if half else self
        kwargs.setdefault("repo_id", folder.name)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder, prefix=".saving") as fresh:
                result = super(Denoiser, model).save_pretrained(fresh, **kwargs)
                for file in sorted(Path(fresh).iterdir()):
                    if file.name != "README.md" or not (folder / file.name).exists():
                        file.chmod(0o644)  # the temporary folder is private, a checkpoint is not
                        os.replace(file, folder / file.name)
        except (OSError, SafetensorError) as error:
            raise OutputError(f"the checkpoint cannot be written to {folder}: {error}.") from error
        return result

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | os.PathLike, **kwargs) -> "Denoiser":
        """Load a checkpoint from a folder (or a hub name) as float32, in evaluation mode.

        Raises :class:`CheckpointError` if the folder is missing, incomplete, damaged, or holds another network.
        """
        path = str(pretrained_model_name_or_path)
        if not _is_hub_name(pretrained_model_name_or_path):
            _check_folder(Path(path))
        try:
            with redirect_stdout(io.StringIO()):  # the hub's own loader prints
                model = super().from_pretrained(path, **{"strict": True, **kwargs})
        except Exception as error:  # whatever a damaged file or a deaf network makes of it, the checkpoint is no use
            raise _broken(path, _reason(error)) from error
        if not all(bool(x.isfinite().all()) for x in model.state_dict().values()):
            raise _broken(path, "some weights are not finite numbers")
        return model


def _is_hub_name(path: str | os.PathLike) -> bool:
    """True for a string "owner/name" that no file or folder here has."""
    return isinstance(path, str) and re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", path) is not None and not Path(path).exists()


def _check_folder(folder: Path) -> None:
    """Raise :class:`CheckpointError` unless both files are there and the config names only what this version knows."""
    for name in ("config.json", "model.safetensors"):
        if not (folder / name).is_file():
            raise _broken(str(folder), f"there is no {name}")
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        unknown = config.keys() - {field.name for field in fields(DenoiserConfig)}
    except (OSError, ValueError, AttributeError):
        raise _broken(str(folder), "config.json is damaged") from None
    if unknown:
        raise _broken(str(folder), f"config.json names {', '.join(sorted(unknown))}, which this version does not know")


def _reason(error: Exception) -> str:
    """One line of an error's text: the first, or for weights of other shapes the first that does not fit."""
    lines = [line.strip() for line in str(error).strip().splitlines()] or [type(error).__name__]
    if len(lines) > 1 and "state_dict" in lines[0]:
        return f"its weights do not fit its config.json: {lines[1].rstrip('.')}"
    return lines[0]


def _broken(path: str, why: str) -> CheckpointError:
    return CheckpointError(
        f"the checkpoint {path} cannot be used: {why}.",
        "Expected a folder with config.json and model.safetensors, as save_pretrained writes it.",
        CHAPTER,
    )
