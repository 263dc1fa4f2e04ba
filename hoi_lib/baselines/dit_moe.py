"""DiT-MoE (Fei et al., 2024, arXiv 2407.11633): every token chooses its own experts, one expert serves all.

It stands where MoEG-HOI's expert groups stand and hears neither verb nor noise level nor refined text of its own: the
same network and number of experts, with another way to choose among them. B batch, S tokens, D width, E routed experts.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from hoi_lib.denoiserconfig import DenoiserConfig
from hoi_lib.errors import ConfigError
from hoi_lib.experts import Context, Expert
from hoi_lib.routing import Balancer, Router, Scorer, Selector


def matched_hidden(config: DenoiserConfig, working: int) -> int:
    """Inner width at which ``working`` equal experts hold the weights that ``config``'s groups have at work on a token.

    Which experts those are changes from sample to sample, so their mean width counts: 448 at the paper's sizes, where
    three of 1024, 512 or 256 are active, against three routed experts and a shared one here.
    """
    chosen = len(config.groups) * config.active
    return max(1, round(chosen * sum(config.experts) / len(config.experts) / working))


class DiTMoE(nn.Module):
    """Mixture of equal experts, routed token by token: ``y = E_shared(z) + Σ_k s_k E_k(z)``.

    s is the softmax of one linear map of the token over all experts; the ``active`` largest are used as they are, not
    divided by their sum, which is what keeps the router learning. As many routed experts as ``config`` has in all its
    groups (nine in the paper) and, unless given, as many active ones (three). Widths as in :func:`matched_hidden`;
    the experts are the two-layer MLPs of the expert groups. Raises :class:`ConfigError` for an impossible ``active``.
    """

    def __init__(self, config: DenoiserConfig, active: int | None = None):
        super().__init__()
        routed = len(config.groups) * len(config.experts)
        active = len(config.groups) * config.active if active is None else active
        if not 1 <= active <= routed:
            raise ConfigError(f"{active} of {routed} routed experts active: expected from one expert to all of them.")
        hidden = matched_hidden(config, active + 1)
        self.dense = config.executor == "dense"
        self.router = Router(
            Scorer({"token": config.width}, 1, routed), Selector("token_topk", active), Balancer("total")
        )
        self.experts = nn.ModuleList(Expert(config, hidden) for _ in range(routed))
        self.shared = Expert(config, hidden)

    def forward(
        self, tokens: Float[Tensor, "B S D"], context: Context
    ) -> tuple[Float[Tensor, "B S D"], Float[Tensor, ""]]:
        """The mixture for every token, and the balance loss over those that ``context`` calls valid.

        The loss is 1 when they spread evenly over the experts. Padding reaches the shared expert alone.
        """
        assignment = self.router({"token": tokens}, context.valid)
        rows, gate = tokens.flatten(0, 1), assignment.gate.flatten(0, 2).to(tokens.dtype)
        run = self._all if self.dense else self._chosen
        mixed = run(rows, gate, assignment.mask.flatten(0, 2)).view_as(tokens)
        return self.shared(tokens) + mixed, assignment.aux

    def _all(
        self, rows: Float[Tensor, "R D"], gate: Float[Tensor, "R E"], mask: Bool[Tensor, "R E"]
    ) -> Float[Tensor, "R D"]:
        """The reference: every expert for every token, weighted by its gate, most of them 0."""
        return sum(gate[:, e, None] * expert(rows) for e, expert in enumerate(self.experts))

    def _chosen(
        self, rows: Float[Tensor, "R D"], gate: Float[Tensor, "R E"], mask: Bool[Tensor, "R E"]
    ) -> Float[Tensor, "R D"]:
        """Each expert on its own tokens only. One without any still runs on none, so that it has a gradient of 0."""
        expert_of, row_of = mask.T.nonzero(as_tuple=True)  # sorted by expert
        pieces = rows[row_of].split(mask.sum(0).tolist())
        outputs = torch.cat([expert(piece) for expert, piece in zip(self.experts, pieces, strict=True)])
        weighted = gate[row_of, expert_of, None] * outputs
        return torch.zeros_like(rows).index_add(0, row_of, weighted.to(rows.dtype))
