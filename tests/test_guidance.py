"""Guided sampling: a ball for which the answer is known, gradients by differences, hands that must be left alone."""

from dataclasses import replace
from functools import cache

import pytest
import torch
from tiny_store import use_word_hashes

from hoi_lib import guidance
from hoi_lib.data import held_out
from hoi_lib.data.samples import sample_of
from hoi_lib.denoiser import Denoiser, hollow
from hoi_lib.diffusion import Schedule, sample_ddim
from hoi_lib.errors import ConfigError
from hoi_lib.evaluate import evaluate
from hoi_lib.guidance import Aim, Guidance, Guide, energy
from hoi_lib.hand import load_hand, mirror_pose, named_pose
from hoi_lib.motion import SIDES, Sample, collate, pack_object, pack_pose, unpack_pose
from hoi_lib.objects import ObjectModel, load_object
from hoi_lib.rotations import axis_angle_to_matrix

FRAMES, RADIUS = 24, 0.04


@cache
def plain(dtype=torch.float32):
    """A denoiser for which world poses are what is sampled: no standardising, no other frame."""
    return Denoiser(hollow(32, 1, 4, points=8, point_width=32, coordinates="world")).to(dtype).eval()


@pytest.fixture(scope="module")
def ball():
    from hoi_lib.shapes import sphere

    solid = sphere(RADIUS)
    return ObjectModel("ball", "object", solid.vertices, solid.faces, torch.zeros(len(solid.vertices)).long().numpy())


def batch_of(model, poses, sides, dtype=torch.float32, path=None):
    samples = []
    for pose, side in zip(poses, sides, strict=True):
        frames = len(pose)
        still = pack_object(torch.zeros(frames, 3), torch.eye(3).expand(frames, 3, 3))
        samples.append(
            Sample(
                pose=pose, object_pose=still if path is None else path, valid=torch.ones(frames, dtype=torch.bool),
                betas=torch.zeros(10), wrist_rest=load_hand(side).rest_wrist().clone(),
                contact=torch.zeros(frames, dtype=torch.bool), side=SIDES.index(side),
                points=torch.as_tensor(model.points[:8]), normals=torch.as_tensor(model.normals[:8]),
                part=torch.as_tensor(model.point_part[:8]), hinge=torch.as_tensor(model.hinge_numbers()),
                caption="", verb="", object_name=model.name, clip_name="",
            )
        )  # fmt: skip
    batch = collate(samples)
    floats = {k: v.to(dtype) for k, v in vars(batch).items() if isinstance(v, torch.Tensor) and v.is_floating_point()}
    return replace(batch, **floats)


def palm_above(gap, side="right", frames=FRAMES):
    """A relaxed hand with its palm on the ball, moved along y until the nearest vertex is ``gap`` metres (a number, or
    one per frame) from the surface."""
    pose, hand = named_pose("relaxed", side).expand(frames, -1).clone(), load_hand(side)
    pose[:, :3] -= hand(pose[0]).vertices[hand.pads["palm"]].mean(0)
    low, high, start = torch.full((frames,), -0.05), torch.full((frames,), 0.3), pose[:, 1].clone()
    for _ in range(40):
        pose[:, 1] = start + (low + high) / 2
        above = nearest(pose, side) > torch.as_tensor(gap)
        low, high = torch.where(above, low, (low + high) / 2), torch.where(above, (low + high) / 2, high)
    return pose


def nearest(pose, side="right"):
    return load_hand(side)(pose).vertices.norm(dim=-1).amin(-1) - RADIUS


def guide_for(model, poses, sides=("right",), settings=None, dtype=torch.float32, path=None):
    return Guide(plain(dtype), batch_of(model, poses, sides, dtype, path), [model] * len(sides), settings)


def test_a_hand_beside_the_ball_touches_it(ball):
    pose = palm_above(0.01)
    guide = guide_for(ball, [pose], settings=Guidance(steps=40))
    assert float(nearest(pose).min()) > 0.0095
    assert float(nearest(guide.held(pose[None])[0]).abs().max()) < 0.005


def test_a_hand_two_centimetres_inside_comes_out(ball):
    pose = palm_above(-0.02)
    guide = guide_for(ball, [pose], settings=Guidance(steps=60))
    assert float(nearest(pose).max()) < -0.0195
    assert float(nearest(guide.held(pose[None])[0]).min()) > -0.006


@pytest.fixture(scope="module")
def grasps():
    """Recorded grasps of a shape by either hand, solved and not guided: (sample, model) pairs."""
    specs = [spec for spec in held_out.plan() if spec.object == held_out.SHAPES[10]][:2]
    clips = held_out.make_clips(specs)
    return [(sample_of(c, next(iter(c.hands)), load_object(c.object.name)), load_object(c.object.name)) for c in clips]


def moved(sample, before, after):
    """Mean distance in metres by which the vertices of a hand move, per frame."""
    hand = load_hand(SIDES[sample.side])
    return (hand(after, sample.betas).vertices - hand(before, sample.betas).vertices).norm(dim=-1).mean(-1)


def test_a_recorded_grasp_stays_the_grasp_that_it_is(grasps):
    for sample, model in grasps:
        change = moved(sample, sample.pose, Guide(plain(), collate([sample]), [model])(sample.pose[None], 0)[0])
        assert float(change.max()) < 0.006 and float(change[~sample.contact].mean()) < 0.001


def test_a_hand_that_already_holds_is_left_alone(grasps):
    for sample, model in grasps:
        batch = collate([sample])
        firm = Guide(plain(), batch, [model], Guidance(steps=150))(sample.pose[None], 0)
        again = Guide(plain(), replace(batch, pose=firm), [model])(firm, 0)
        assert float(moved(sample, firm[0], again[0]).max()) < 0.001


def test_a_hand_that_is_far_away_or_passes_by_is_not_drawn_in(ball):
    far = palm_above(0.08)
    passing = palm_above(torch.linspace(0.20, 0.01, FRAMES))  # 25 cm/s
    for pose in (far, passing):
        assert torch.allclose(guide_for(ball, [pose]).held(pose[None])[0], pose, atol=2e-5)


def test_only_what_lasts_is_a_hold():
    x = torch.tensor([[0.0] * 10 + [0.5] * 4 + [1.0] * 12 + [0.0] * 8 + [1.0] * 5, [1.0] * 9 + [0.0] * 24 + [0.3] * 6])
    kept = guidance._lasting(x, 9)
    assert (
        torch.equal(kept[0, 14:26], x[0, 14:26]) and float(kept[0, 26:].max()) == 0
    )  # the last five frames do not last
    assert torch.equal(kept[0, 10:14], x[0, 10:14])  # rising to a height that lasts
    assert torch.equal(kept[1], torch.tensor([1.0] * 9 + [0.0] * 30))  # nine frames do, wherever they are


def test_a_hand_that_comes_to_rest_beside_the_ball_is_not_drawn_in(ball):
    """A release ends slowly, a few centimetres away."""
    share = torch.arange(FRAMES) / (FRAMES - 1)
    pose = palm_above(0.025 + 0.2 * (1 - share) ** 2)
    assert torch.allclose(guide_for(ball, [pose]).held(pose[None])[0], pose, atol=2e-4)


def test_the_energy_falls(ball):
    for gap in (0.012, -0.012):
        pose = palm_above(gap)
        guide = guide_for(ball, [pose])
        aim, nothing = guide.aim(pose[None]), torch.zeros(1, FRAMES, guidance.NUMBERS)
        before = guide.energy(pose[None], nothing, aim)
        after = guide.energy(guide.held(pose[None]), nothing, aim)
        assert float(before.min()) > 0 and bool((after < 0.5 * before).all())


def test_the_gradient_agrees_with_finite_differences(ball):
    poses = [palm_above(gap, side, 10).double() for gap, side in ((0.011, "right"), (-0.013, "left"))]
    guide = guide_for(ball, poses, ("right", "left"), Guidance(smooth=1.0), torch.float64)
    pose = torch.stack(poses)
    aim = guide.aim(pose)
    rng = torch.Generator().manual_seed(0)
    at = 1e-3 * torch.randn(2, 10, guidance.NUMBERS, generator=rng, dtype=torch.float64)
    at.requires_grad_(True)
    (slope,) = torch.autograd.grad(guide.energy(pose, at, aim).sum(), at)
    for _ in range(6):
        way = torch.randn(at.shape, generator=rng, dtype=torch.float64)
        h = 1e-7
        up, down = (guide.energy(pose, (at + s * h * way).detach(), aim).sum() for s in (1, -1))
        assert float((up - down) / (2 * h)) == pytest.approx(float((slope * way).sum()), rel=2e-3, abs=1e-9)


def test_the_three_terms_on_numbers_worked_by_hand():
    distance = torch.tensor([[[0.004, 0.010, -0.006, 0.050]]], dtype=torch.float64)
    pads = [torch.tensor([0, 1]), torch.tensor([3])]
    field = torch.tensor([[[0.004, 0.014, -0.02, 0.05]]], dtype=torch.float64)
    aim = Aim(field, torch.ones(1, 1, dtype=torch.float64), torch.tensor([[[1.0, 0.0]]], dtype=torch.float64))
    terms = {name: float(value) for name, value in energy(distance, aim, pads).items()}
    assert terms["con"] == pytest.approx((0.004 - guidance.SKIN) ** 2 / 2)
    assert terms["pen"] == pytest.approx(guidance.PENETRATION * (0.006 - guidance.SKIN) ** 2 / guidance.CROWD / 2)
    assert terms["dist"] == pytest.approx(guidance.SLACK * 0.004**2 / 4 / 2)  # what was inside is free to come out
    free = energy(distance, aim._replace(hold=torch.zeros(1, 1).double()), pads)
    assert float(free["con"]) == 0 and float(free["dist"]) == pytest.approx(0.004**2 / 4 / 2)


def test_left_and_right_are_mirror_images(ball):
    pose = palm_above(0.012)
    guide = guide_for(ball, [pose, mirror_pose(pose)], ("right", "left"))
    right, left = guide.held(torch.stack([pose, mirror_pose(pose)]))
    assert float((right - pose).abs().max()) > 1e-3
    assert torch.allclose(mirror_pose(left), right, atol=2e-4)


def test_samples_of_a_batch_do_not_hear_of_each_other(ball):
    poses = [palm_above(0.012), palm_above(-0.012)]
    together = guide_for(ball, poses, ("right", "right")).held(torch.stack(poses))
    alone = guide_for(ball, poses[:1]).held(poses[0][None])
    assert torch.allclose(together[:1], alone, atol=1e-6)


def test_no_correction_is_no_change_and_padding_pulls_nobody(ball):
    pose = palm_above(0.012)[None]
    guide = guide_for(ball, [pose[0]])
    assert torch.allclose(guide.corrected(pose, torch.zeros(1, FRAMES, guidance.NUMBERS)), pose, atol=1e-6)
    guide.batch.valid[:] = False
    assert torch.allclose(guide.held(pose), pose, atol=1e-6)


def test_a_correction_shifts_turns_about_the_palm_and_bends_the_fingers(ball):
    pose = palm_above(0.05, frames=1)[None]
    guide, hand = guide_for(ball, [pose[0]]), load_hand("right")
    zero = torch.zeros(1, 1, guidance.NUMBERS)
    before = hand(pose[0, 0])

    def joints(place, value):
        change = zero.clone()
        change[..., place] = value
        return hand(guide.corrected(pose, change)[0, 0]).joints

    shift = torch.tensor([0.01, -0.02, 0.03])
    assert torch.allclose(joints(slice(0, 3), shift), before.joints + shift, atol=1e-6)
    turned = joints(4, 0.5)
    centre = before.joints[[1, 4, 7, 10]].mean(0)
    rotation = axis_angle_to_matrix(torch.tensor([0.0, 0.5, 0.0]))
    assert torch.allclose(turned[:16], (before.joints[:16] - centre) @ rotation.T + centre, atol=1e-4)
    bent = joints(6, 0.3)  # the first joint of the index finger
    still = [j for j in range(16) if j not in (2, 3)]
    assert (
        torch.allclose(bent[still], before.joints[still], atol=1e-6) and float((bent - before.joints)[16].norm()) > 0.01
    )


def test_the_correction_adds_no_trembling(ball):
    """An estimate whose height jumps from frame to frame is corrected by a curve, not by the opposite jumps."""
    jumps = 0.012 + 0.0008 * (-1.0) ** torch.arange(FRAMES)
    pose = palm_above(jumps)
    moved = guide_for(ball, [pose], settings=Guidance(steps=20)).held(pose[None])[0]
    change = (moved - pose)[:, :3]
    assert float(change.abs().max()) > 0.004
    assert float(change.diff(n=2, dim=0).abs().max()) < 0.0008 < float(pose[:, :3].diff(n=2, dim=0).abs().max())


def test_a_moving_object_changes_nothing_for_the_hand_that_it_carries(ball):
    """What counts is the object's frame: the guided hand on a flying, turning ball is the one on a resting ball."""
    pose = palm_above(0.012)
    turn = axis_angle_to_matrix(torch.linspace(0, 2, FRAMES)[:, None] * torch.tensor([0.6, 0.0, 0.8]))
    path = pack_object(torch.linspace(0, 0.5, FRAMES)[:, None] * torch.ones(3), turn)
    resting, flying = guide_for(ball, [pose]), guide_for(ball, [pose], path=path)
    world = guidance.object_to_world(pose[None], flying.batch.object_pose, flying.batch.wrist_rest)
    back = guidance.world_to_object(flying(world, 0), flying.batch.object_pose, flying.batch.wrist_rest)
    assert torch.allclose(back, resting(pose[None], 0), atol=2e-4)


def test_the_lid_of_a_laptop_carries_its_hand_along():
    model = load_object("laptop_small")
    angle = torch.linspace(0.2, 1.6, FRAMES)
    path = pack_object(torch.zeros(FRAMES, 3), torch.eye(3).expand(FRAMES, 3, 3), angle)
    edge = torch.as_tensor(model.points[model.point_part == 1])
    tip = edge[edge[:, 1].argmin()] + torch.tensor([0.0, -0.004, 0.0])
    about = axis_angle_to_matrix(torch.as_tensor(model.hinge.axis).float() * angle[:, None])
    origin = torch.as_tensor(model.hinge.origin).float()
    hand = load_hand("right")
    flat = named_pose("relaxed")
    finger = hand(flat).joints[17]
    wrist = (about @ (tip - finger + hand.rest_wrist() - origin)[:, None])[..., 0] + origin - hand.rest_wrist()
    pose = pack_pose(
        wrist,
        torch.cat([(about @ unpack_pose(flat)[1][0])[:, None], unpack_pose(flat)[1][1:].expand(FRAMES, 15, 3, 3)], 1),
    )
    aim = guide_for(model, [pose], path=path).aim(pose[None])
    rigid = guide_for(model, [pose], path=pack_object(torch.zeros(FRAMES, 3), torch.eye(3).expand(FRAMES, 3, 3))).aim(
        pose[None]
    )
    assert float(aim.hold.min()) == 1 and float(rigid.hold[0, 2:].max()) < 0.5


# --- in the sampler ---


def sampled(ball, settings):
    denoiser = Denoiser(hollow(32, 1, 4, points=8, point_width=32)).eval()
    batch = batch_of(ball, [palm_above(0.012)], ("right",))
    guide = None if settings is None else Guide(denoiser, batch, [ball], settings)
    target = denoiser.to_model(batch)
    noise = torch.randn(target.shape, generator=torch.Generator().manual_seed(1))
    return denoiser.to_world(
        sample_ddim(lambda x, t: target + 0 * x, noise, Schedule.cosine(), 10, guide=guide), batch
    )[0]


def test_no_strength_is_exactly_the_plain_sampler_and_full_strength_touches(ball):
    alone = sampled(ball, None)
    assert torch.equal(sampled(ball, Guidance(strength=0.0)), alone)
    guided = sampled(ball, Guidance(steps=30))
    assert float(nearest(alone).min()) > 0.01 and float(nearest(guided).abs().max()) < 0.004


def test_early_levels_are_left_to_the_network(ball):
    pose = palm_above(0.012)[None]
    guide = guide_for(ball, [pose[0]], settings=Guidance(start=0.2))
    assert torch.equal(guide(pose, 200), pose) and not torch.equal(guide(pose, 199), pose)


@pytest.mark.parametrize("wrong", [{"strength": -1.0}, {"start": 2.0}, {"steps": 0}, {"smooth": -1.0}])
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ConfigError, match="expected"):
        Guidance(**wrong)


def test_grids_of_large_objects_are_coarser_and_cached():
    large = load_object("laptop_large")
    assert guidance._grids(large) is guidance._grids(large) and len(guidance._grids(large)) == 2
    assert all(grid.values.numel() < 1.5e6 for grid in guidance._grids(large))


def test_an_evaluation_is_guided_by_the_shapes_of_its_own_store(tmp_path, monkeypatch):
    use_word_hashes(monkeypatch.setattr)
    store = held_out.build(tmp_path / "store", workers=1, progress=False, shapes=held_out.SHAPES[:1])
    torch.manual_seed(0)
    denoiser = Denoiser(hollow(16, 1, 2, points=16, point_width=8)).eval()
    settings = {"steps": 2, "limit": 2, "progress": False}
    plain, guided = (evaluate(denoiser, store, guide=guide, **settings) for guide in (False, True))
    assert plain["config"]["guidance"] is None and guided["config"]["guidance"]["steps"] == Guidance().steps
    assert plain["metrics"]["truth/cr_contact"]["value"] == 1 and "mean_world/cr" not in plain["metrics"]
    assert plain["metrics"]["mpvpe"]["value"] != guided["metrics"]["mpvpe"]["value"]
