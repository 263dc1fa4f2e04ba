"""One training step: what it compares, at which frames, and what it says of its terms."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from marks import equation
from random_batches import WordHash, random_batch

from hoi_lib.denoiser import Denoiser, Estimate, hollow, recommended
from hoi_lib.diffusion import Schedule
from hoi_lib.errors import ConfigError
from hoi_lib.feed import Truth
from hoi_lib.hand import load_hand
from hoi_lib.interaction import (
    Interaction,
    in_object_frame,
    object_points,
    posed_hands,
    skin_normals,
    true_fields,
)
from hoi_lib.losses import BETWEEN, LOSSES, contact_loss, distance_loss, edge_loss, penetration_loss
from hoi_lib.motion import object_to_world
from hoi_lib.objective import Objective
from hoi_lib.trainconfig import TrainConfig

HANDS = {side: load_hand(side) for side in ("left", "right")}
NETWORK = hollow(width=16, blocks=1, heads=2, points=8, point_width=8, text_dim=8, condition_dropout=0.0)
EVERY = torch.arange(778)
SOME = torch.arange(0, 778, 40)


def grasping(frames=(9, 6, 9)):
    """Hands whose palms hover a few millimetres around their object's points."""
    batch = random_batch(frames, points=24)
    pose = batch.pose.clone()
    pose[..., :3] = 0.0
    _, vertices = posed_hands(pose, batch.betas, batch.side, HANDS)
    pose[..., :3] = -vertices[:, :, 700] + 0.002 * torch.sin(torch.arange(pose.shape[1]))[:, None]
    return replace(batch, pose=object_to_world(pose, batch.object_pose, torch.zeros_like(batch.wrist_rest)))


def objective(vertex_ids=SOME, network=NETWORK, **changes):
    config = TrainConfig(network, loss_points=24, **changes)
    torch.manual_seed(0)
    made = Objective(Denoiser(network), config, WordHash(), Schedule.cosine(), HANDS, vertex_ids).eval()
    made.denoiser.fit_normaliser([grasping()])
    return made


UNKNOWN = Truth()


def step(made, batch, truth=UNKNOWN, **kwargs):
    t = torch.tensor([10, 500, 900])
    noise = torch.randn(batch.pose.shape, generator=torch.Generator().manual_seed(3))
    return made(batch, truth, t, noise, **kwargs)


def values(found):
    return {name: float(value.detach()) for name, value in found[0].items()}


def perfect(made, batch, monkeypatch):
    """Let the network estimate the truth itself."""
    estimate = made.denoiser.estimate
    x0 = made.denoiser.to_model(batch)
    monkeypatch.setattr(made.denoiser, "estimate", lambda *a: replace(estimate(*a), x0=x0))


@equation("MoEG-HOI", 12)
@equation("MoEG-HOI", 13)
@pytest.mark.parametrize("coordinates", ["object", "world"])
def test_a_perfect_estimate_costs_the_truths_own_contact_and_penetration(monkeypatch, coordinates):
    batch = grasping()
    made = objective(network=replace(NETWORK, coordinates=coordinates))
    perfect(made, batch, monkeypatch)
    terms, load = step(made, batch)
    assert float(terms["diff"]) == 0 and load is None
    assert float(terms["rec"]) < 1e-12 and float(terms["dist"]) < 1e-6
    truth = true_fields(batch, HANDS)
    valid = batch.valid[..., None]
    touches = [(x <= 0.01) & valid for x in truth[:2]]
    assert all(int(t.sum()) > 5 for t in touches)
    floor = sum(float(x[t].mean()) for x, t in zip(truth[:2], touches, strict=True))
    assert float(terms["con"]) == pytest.approx(floor, rel=1e-3)


@equation("MoEG-HOI", 12)
@equation("MoEG-HOI", 13)
@equation("MoEG-HOI", 14)
@pytest.mark.parametrize("stride, offset", [(1, 0), (3, 0), (3, 2)])
@pytest.mark.parametrize("vertex_ids", [SOME, EVERY])
def test_hand_and_object_are_compared_whole_at_the_frames_of_the_stride(monkeypatch, stride, offset, vertex_ids):
    batch = grasping()
    made = objective(vertex_ids, stride=stride)
    moved = batch.pose + torch.cat([0.004 * torch.ones(3), torch.zeros(96)])
    other = replace(batch, pose=moved)
    perfect(made, other, monkeypatch)
    terms, _ = step(made, batch, Truth(offset))
    frames = slice(offset, None, stride)
    _, vertices = posed_hands(moved[:, frames], batch.betas, batch.side, HANDS)
    vertices = in_object_frame(vertices, batch.object_pose[:, frames])
    seen = Interaction(
        vertices,
        skin_normals(vertices, batch.side, HANDS),
        object_points(batch, frames),
        true_fields(batch, HANDS, frames),
        batch.valid[:, frames],
    )
    expected = {
        "dist": distance_loss(seen.vertices, seen.points, seen.truth, seen.valid),
        "con": contact_loss(seen.vertices, seen.points, seen.contact, seen.valid),
        "pen": penetration_loss(seen.vertices, seen.normals, seen.points, seen.valid),
    }
    for name, value in expected.items():
        assert float(value) > 0.001, name
        assert float(terms[name]) == pytest.approx(float(value), rel=2e-3), name


def test_what_the_feed_knows_beforehand_changes_no_term():
    batch, made = grasping(), objective(stride=2)
    posed = posed_hands(batch.pose, batch.betas, batch.side, HANDS, SOME)
    known = Truth(1, posed, true_fields(batch, HANDS, slice(1, None, 2), 24))
    one, two = values(step(made, batch, Truth(1))), values(step(made, batch, known))
    assert one.keys() == two.keys() == {"diff", "rec", *BETWEEN, "acc", "balance", "total"}
    assert one == pytest.approx(two, rel=1e-5)


def test_the_network_sees_its_points_and_the_losses_theirs():
    batch, made = grasping(), objective()
    points = batch.points.clone()
    points[:, 8:] += 0.5
    one, two = values(step(made, batch)), values(step(made, replace(batch, points=points)))
    assert one["diff"] == two["diff"] and one["dist"] != two["dist"]
    few = objective()
    few.config = replace(few.config, loss_points=8)
    assert values(step(few, batch)) == values(step(few, replace(batch, points=points)))


def test_terms_without_weight_are_not_even_looked_at(monkeypatch):
    made = objective(weights=dict.fromkeys(BETWEEN, 0.0))
    monkeypatch.setattr("hoi_lib.objective.skin_normals", None)
    terms, _ = step(made, grasping())
    assert not set(BETWEEN) & set(terms)


def test_expert_groups_report_their_load_and_their_balance():
    network = recommended(16, 2, 2, **{k: getattr(NETWORK, k) for k in ("points", "point_width", "text_dim")})
    made = objective(network=replace(network, level_dim=8, condition_dropout=0.0))
    terms, load = step(made, grasping())
    assert load.shape == (2, 3, 3) and torch.equal(load.sum(-1), torch.full((2, 3), 3.0))
    values = {name: float(value.detach()) for name, value in terms.items()}
    assert values["balance"] >= 2 * 3 * 2 * 0.99
    weighted = sum(made.weights[name] * value for name, value in values.items() if name != "total")
    assert values["total"] == pytest.approx(weighted, rel=1e-5)
    terms["balance"].backward()
    for router in made.denoiser.routers:
        assert all(float(branch.weight.grad.abs().max()) > 1e-6 for branch in router.scorer.values())


def test_edges_need_every_vertex():
    with pytest.raises(ConfigError, match="edge loss needs all 778 vertices"):
        objective(SOME, weights={"edge": 0.1})
    batch, made = grasping(), objective(EVERY, weights={"edge": 0.1})
    assert made.edges.shape == (2315, 2)
    captured = {}
    made.denoiser.to_world = lambda x, b, plain=made.denoiser.to_world: captured.setdefault("pose", plain(x, b))
    terms, _ = step(made, batch)
    now, then = (posed_hands(p, batch.betas, batch.side, HANDS)[1] for p in (captured["pose"], batch.pose))
    assert float(terms["edge"]) == pytest.approx(float(edge_loss(now, then, made.edges, batch.valid)), rel=1e-4)


# --- shares of the gradient ---


def test_shares_of_the_gradient_are_the_terms_own_gradients():
    batch, made = grasping(), objective(stride=2)
    noise = torch.randn(batch.pose.shape, generator=torch.Generator().manual_seed(3))
    t = torch.tensor([10, 500, 900])
    with torch.no_grad():
        shares = made.gradient_shares(batch, Truth(1), t, noise)
    assert all(p.grad is None for p in made.parameters())
    norms = {}
    for name in shares:
        made.zero_grad()
        (made.weights[name] * made(batch, Truth(1), t, noise)[0][name]).requires_grad_().backward()
        norms[name] = sum(float(p.grad.double().square().sum()) for p in made.parameters() if p.grad is not None) ** 0.5
    assert set(shares) == {name for name in LOSSES if LOSSES[name].weight}
    assert sum(shares.values()) == pytest.approx(1) and shares["balance"] == 0
    for name, norm in norms.items():
        assert shares[name] == pytest.approx(norm / sum(norms.values()), rel=1e-3, abs=1e-9), name


def test_a_network_that_cannot_learn_has_no_shares():
    made = objective()
    made.denoiser.requires_grad_(False)
    batch = grasping()
    with pytest.raises(ValueError, match="no weight of the network"):
        made.gradient_shares(batch, Truth(), torch.tensor([1, 2, 3]), torch.randn(batch.pose.shape))


# --- memory ---

PEAK = """
import sys
sys.path.insert(0, {tests!r})
from test_objective import memory_of
print(memory_of({frames}))
"""


def memory_of(frames, batch=4):
    """Megabytes by which the losses of one step raise the peak: all vertices, 1 024 points, every frame, and back."""
    import resource

    torch.set_num_threads(1)
    made = objective(EVERY)
    made.config = replace(made.config, loss_points=1024)
    made.denoiser.estimate = lambda x, *_: Estimate(x.requires_grad_(), torch.zeros(()))
    data = random_batch((frames,) * batch, points=1024)
    inputs = torch.zeros(batch, dtype=torch.long), torch.randn(data.pose.shape)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    made(data, Truth(), *inputs)[0]["total"].backward()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def test_the_losses_of_32_clips_of_150_frames_would_fit_into_two_gigabytes():
    """A twentieth of them stays under a twentieth of 2 GB, and what does not grow with the batch."""
    script = PEAK.format(tests=str(Path(__file__).parent), frames=60)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    assert float(done.stdout) < 2048 / 20 + 64
