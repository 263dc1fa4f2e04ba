"""The denoiser: a transformer that turns a noised hand, its object and a sentence into the clean hand.

B batch, L frames, C condition tokens, D width, S = C + L tokens, X the 99 numbers of a hand, O the numbers that
describe the object's motion in a frame, E text width. Every sample is one hand of one clip.
"""

import io
import json
import math
import os
import re
import tempfile
from collections.abc import Callable, Iterable
from contextlib import redirect_stdout
from copy import deepcopy
from dataclasses import dataclass, fields, replace
from pathlib import Path

import torch
from huggingface_hub import PyTorchModelHubMixin
from jaxtyping import Bool, Float, Int
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn.functional import pad, scaled_dot_product_attention

from hoi_lib.diffusion import SCHEDULES
from hoi_lib.encoders import TextEncoder, TextFeatures
from hoi_lib.errors import CheckpointError, ConfigError, OutputError
from hoi_lib.motion import (
    COORDINATES,
    OBJECT_DIM,
    POSE_DIM,
    RICH_OBJECT_DIM,
    SIDES,
    Batch,
    object_to_world,
    rich_trajectory,
    world_to_object,
)
from hoi_lib.normaliser import Moments, Normaliser
from hoi_lib.pointnet import PointNet
from hoi_lib.profiles import Profile

BETAS = 10
TRAJECTORIES = {"raw": OBJECT_DIM, "rich": RICH_OBJECT_DIM}  # numbers per frame
CHAPTER = "the docstring of hoi_lib.denoiser.DenoiserConfig"


@dataclass(frozen=True)
class DenoiserConfig:
    """Sizes and choices of a :class:`Denoiser`. Raises :class:`ConfigError` where they do not fit together.

    ``hidden`` is the feed-forward's inner width; ``points`` and ``point_width`` are the PointNet's. ``coordinates`` is
    the frame in which the 99 numbers are written ("object": the object's own at each frame, or "world"), ``trajectory``
    what the network hears of the object's motion ("raw": its 10 numbers, or "rich":
    :func:`~hoi_lib.motion.rich_trajectory`), ``schedule`` the noise it learns to undo (:meth:`Schedule.of`), and
    ``condition_dropout`` how often text and action are each withheld in training.
    """

    width: int = 512
    blocks: int = 8
    heads: int = 4
    hidden: int = 2048
    feedforward: str = "dense"
    dropout: float = 0.0
    encoder: str = "minilm"
    text_dim: int = 384
    points: int = 1024
    point_width: int = 256
    coordinates: str = "object"
    trajectory: str = "rich"
    schedule: str = "cosine"
    condition_dropout: float = 0.1

    def __post_init__(self) -> None:
        if self.width % (2 * self.heads):
            raise ConfigError(
                f"width {self.width} with {self.heads} heads: expected an even number of channels per head.",
                "Choose a width that twice the number of heads divides.",
                CHAPTER,
            )
        choices = {
            "coordinates": COORDINATES,
            "trajectory": TRAJECTORIES,
            "feedforward": FEEDFORWARDS,
            "schedule": SCHEDULES,
        }
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise ConfigError(f"{name} {getattr(self, name)!r}: expected one of {', '.join(known)}.")
        if min(self.width, self.blocks, self.heads, self.hidden, self.text_dim, self.points, self.point_width) < 1:
            raise ConfigError("sizes of the denoiser: expected whole numbers of at least 1.")
        if not (0 <= self.dropout < 1 and 0 <= self.condition_dropout <= 1):
            raise ConfigError("dropout: expected shares from 0 to 1.")


@dataclass(frozen=True)
class Conditions:
    """What the network knows beside the noised hand; all but ``time`` is the same at every noise level.

    ``tokens`` (B, C − 1, D) text, action, object, side and shape; ``frames`` (B, L, D) the object's motion; ``action``
    (B, E) and ``text`` the features as the encoder gave them. ``time`` (B, D), the embedded noise level, is filled in
    by the denoiser and is None before.
    """

    tokens: Float[Tensor, "B C1 D"]
    frames: Float[Tensor, "B L D"]
    action: Float[Tensor, "B E"]
    text: TextFeatures
    time: Float[Tensor, "B D"] | None = None


class DenseFeedForward(nn.Module):
    """Two layers for every token alike. It stands where the expert groups stand: same arguments, conditions unused."""

    def __init__(self, config: DenoiserConfig):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(config.width, config.hidden), nn.GELU(), nn.Linear(config.hidden, config.width)
        )

    def forward(self, tokens: Float[Tensor, "B S D"], conditions: Conditions) -> Float[Tensor, "B S D"]:
        """The same function of each token, whatever the conditions."""
        return self.layers(tokens)


FEEDFORWARDS: dict[str, Callable[[DenoiserConfig], nn.Module]] = {"dense": DenseFeedForward}


class SelfAttention(nn.Module):
    """Multi-head attention among all tokens (Vaswani et al., 2017); padding is never attended to."""

    def __init__(self, config: DenoiserConfig):
        super().__init__()
        self.heads = config.heads
        self.qkv = nn.Linear(config.width, 3 * config.width)
        self.out = nn.Linear(config.width, config.width)

    def forward(self, tokens: Float[Tensor, "B S D"], mask: Bool[Tensor, "B 1 1 S"] | None) -> Tensor:
        """``mask`` is True where a token may be seen; None lets every token be seen."""
        # fmt: off
        q, k, v = self.qkv(tokens).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # (B, H, S, D/H) each
        mixed = scaled_dot_product_attention(q, k, v, attn_mask=mask)                         # (B, H, S, D/H)
        return self.out(mixed.transpose(1, 2).flatten(-2))                                    # (B, S, D)
        # fmt: on


class Block(nn.Module):
    """Pre-norm transformer block: tokens look at each other, then each is worked on under the conditions."""

    def __init__(self, config: DenoiserConfig):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(config.width), nn.LayerNorm(config.width)
        self.attention = SelfAttention(config)
        self.feedforward = FEEDFORWARDS[config.feedforward](config)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, tokens: Tensor, mask: Tensor | None, conditions: Conditions) -> Float[Tensor, "B S D"]:
        """Both steps are added to what came in."""
        tokens = tokens + self.dropout(self.attention(self.norm1(tokens), mask))
        return tokens + self.dropout(self.feedforward(self.norm2(tokens), conditions))


class ConditionTokens(nn.Module):
    """One token each for text, action, object, side and shape of the hand; the time's token is made elsewhere.

    Text and action may be withheld: a learned vector then takes the feature's place.
    """

    def __init__(self, config: DenoiserConfig):
        super().__init__()
        width, text = config.width, config.text_dim
        self.text = nn.Sequential(nn.LayerNorm(text, elementwise_affine=False), nn.Linear(text, width))
        self.action = nn.Sequential(nn.LayerNorm(text, elementwise_affine=False), nn.Linear(text, width))
        self.withheld = nn.Parameter(0.02 * torch.randn(2, width))
        self.object = PointNet(config.point_width, width, config.points)
        self.side = nn.Embedding(len(SIDES), width)
        self.shape = nn.Linear(BETAS, width)

    def forward(
        self, batch: Batch, text: Float[Tensor, "B E"], action: Float[Tensor, "B E"], given: Bool[Tensor, "B 2"]
    ) -> Float[Tensor, "B 5 D"]:
        """``given`` is False where a sample's text (first column) or action (second) is withheld."""
        said = torch.stack([self.text(text), self.action(action)], 1)
        said = torch.where(given[..., None], said, self.withheld)
        rest = (
            self.object(batch.points, batch.normals, batch.part, batch.hinge),
            self.side(batch.side),
            self.shape(batch.betas),
        )
        return torch.cat([said, torch.stack(rest, 1)], 1)


class Denoiser(nn.Module, PyTorchModelHubMixin, library_name="hoi_lib", license="mit", tags=["hand-object", "motion"]):
    """Estimate the clean hand from a noised one (MoEG-HOI section 3.2, x0-prediction).

    :meth:`prepare` computes once what does not depend on the noise level, ``forward`` the rest; :meth:`to_model` and
    :meth:`to_world` translate between the world's 99 numbers and the standardised ones that the network sees.
    """

    def __init__(self, config: DenoiserConfig):
        super().__init__()
        self.config = config
        width, motion = config.width, TRAJECTORIES[config.trajectory]
        self.time = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.conditions = ConditionTokens(config)
        self.hand = nn.Linear(POSE_DIM, width)
        self.trajectory = nn.Linear(motion, width)
        self.merge = nn.Sequential(nn.Linear(2 * width, width), nn.SiLU(), nn.Linear(width, width))
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.blocks))
        self.norm = nn.LayerNorm(width)
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
        # fmt: off
        time = self.time(sinusoid(t_B, self.config.width))                             # (B, D)
        prefix = torch.cat([time[:, None], conditions.tokens], 1)                      # (B, C, D)
        frames = self.merge(torch.cat([self.hand(x_BLX), conditions.frames], -1))      # (B, L, D)
        frames = frames + self.positions(frames.shape[1])                              # (B, L, D)
        tokens = torch.cat([prefix, frames], 1)                                        # (B, S, D)
        mask = None if valid_BL is None else pad(valid_BL, (prefix.shape[1], 0), value=True)[:, None, None]
        conditions = replace(conditions, time=time)
        for block in self.blocks:
            tokens = block(tokens, mask, conditions)                                   # (B, S, D)
        return self.head(self.norm(tokens[:, prefix.shape[1]:]))                       # (B, L, 99)
        # fmt: on

    def positions(self, frames: int) -> Float[Tensor, "L D"]:
        """Sinusoidal code of each frame's place in time, for any number of frames."""
        return sinusoid(torch.arange(frames, device=self.head.weight.device), self.config.width)

    def prepare(self, batch: Batch, encoder: TextEncoder, generator: torch.Generator | None = None) -> Conditions:
        """Everything that does not depend on the noise level, computed once per batch (once per sampling run).

        The action is the verb's own embedding; an empty ``verb`` or ``caption`` leaves it out. In training mode text
        and action are withheld too, each with probability ``condition_dropout``, drawn from ``generator`` (CPU).
        """
        device = self.head.weight.device
        text = encoder.encode(batch.caption).to(device)
        action = encoder.encode(batch.verb).pooled.to(device)
        given = torch.tensor(
            [[bool(c.strip()), bool(v.strip())] for c, v in zip(batch.caption, batch.verb, strict=True)]
        )
        if self.training and self.config.condition_dropout:
            given &= torch.rand(given.shape, generator=generator) >= self.config.condition_dropout
        given = given.to(device)
        motion = self.standard_motion(self._motion(batch), torch.zeros_like(batch.side))
        return Conditions(
            tokens=self.conditions(batch, text.pooled, action, given),
            frames=self.trajectory(motion),
            action=action * given[:, 1:],
            text=text,
        )

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

        A side that never occurs takes the figures of the other. Raises :class:`ConfigError` if no frame is valid.
        """
        hands = [Moments(POSE_DIM) for _ in SIDES]
        motion = Moments(TRAJECTORIES[self.config.trajectory])
        for batch in batches:
            pose = self._pose(batch)
            for side, moments in enumerate(hands):
                moments.add(pose[batch.valid & (batch.side == side)[:, None]])
            motion.add(self._motion(batch)[batch.valid])
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
            reason = str(error).strip().splitlines() or [type(error).__name__]
            raise _broken(path, reason[0]) from error
        if not all(bool(x.isfinite().all()) for x in model.state_dict().values()):
            raise _broken(path, "some weights are not finite numbers")
        return model


def sinusoid(position: Tensor, width: int) -> Float[Tensor, "... D"]:
    """Sines and cosines of a position (a frame, a noise level) at ``width / 2`` wavelengths from 2π to 20 000 π."""
    rate = torch.exp(torch.arange(width // 2, device=position.device) * (-2 * math.log(1e4) / width))
    angle = position[..., None].float() * rate
    return torch.cat([angle.sin(), angle.cos()], -1)


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


def _broken(path: str, why: str) -> CheckpointError:
    return CheckpointError(
        f"the checkpoint {path} cannot be used: {why}.",
        "Expected a folder with config.json and model.safetensors, as save_pretrained writes it.",
        CHAPTER,
    )


def hollow(width: int = 512, blocks: int = 8, heads: int = 4, **changes) -> DenoiserConfig:
    """The network with a dense feed-forward where the experts will stand; inner width 4 D unless given."""
    return DenoiserConfig(width=width, blocks=blocks, heads=heads, **{"hidden": 4 * width, **changes})


def recommended(width: int = 512, blocks: int = 8, heads: int = 4, **changes) -> DenoiserConfig:
    """The default network."""
    return hollow(width, blocks, heads, **changes)


def for_profile(profile: Profile, preset: Callable[..., DenoiserConfig] = recommended, **changes) -> DenoiserConfig:
    """A preset at the sizes of a profile."""
    sizes = {"points": profile.points, "point_width": min(256, 2 * profile.width)}
    return preset(profile.width, profile.blocks, profile.heads, **{**sizes, **changes})
