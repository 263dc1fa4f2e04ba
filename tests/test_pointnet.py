"""PointNet: a shape is a set of points, with a size and a hinge."""

from copy import deepcopy

import pytest
import torch

from hoi_lib.pointnet import PointNet


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return PointNet(width=32, out=16, points=64)


@pytest.fixture
def cloud():
    gen = torch.Generator().manual_seed(1)
    normals = torch.nn.functional.normalize(torch.randn(3, 64, 3, generator=gen), dim=-1)
    points = normals * torch.tensor([0.03, 0.05, 0.09]) + 0.02
    return points, normals, (points[..., 0] > 0.03).long(), torch.randn(3, 6, generator=gen)


def test_the_order_of_the_points_does_not_matter(net, cloud):
    points, normals, part, hinge = cloud
    order = torch.randperm(64, generator=torch.Generator().manual_seed(2))
    shuffled = net(points[:, order], normals[:, order], part[:, order], hinge)
    assert torch.allclose(net(*cloud), shuffled, atol=1e-5)


def test_only_the_first_points_are_read(net, cloud):
    points, normals, part, hinge = cloud
    more = [torch.cat([x, x.roll(1, 0)], 1) for x in (points, normals, part)]
    assert torch.equal(net(*cloud), net(*more, hinge))


def test_a_doubled_point_changes_nothing_but_the_centre(net, cloud):
    """The maximum over points does not count them: only the mean of the cloud knows that one came twice."""
    points, normals, part, hinge = (x[:1] for x in cloud)
    mirrored = torch.cat([points[:, :16], 0.04 - points[:, :16]], 1)  # centred at 0.02 whatever is doubled
    once = [mirrored, torch.cat([normals[:, :16]] * 2, 1), torch.cat([part[:, :16]] * 2, 1)]
    twice = [torch.cat([x, x], 1) for x in once]
    assert torch.allclose(net(*once, hinge), net(*twice, hinge), atol=1e-5)


@pytest.mark.parametrize("change", ["points", "normals", "part", "hinge"])
def test_every_input_is_heard(net, cloud, change):
    names = ("points", "normals", "part", "hinge")
    other = [
        1 - x if name == change == "part" else -x if name == change else x for name, x in zip(names, cloud, strict=True)
    ]
    assert (net(*cloud) - net(*other)).abs().max() > 1e-4


@pytest.mark.parametrize("change", [lambda p: 2 * p, lambda p: p + 0.1], ids=["size", "place"])
def test_size_and_place_go_around_the_network_and_not_through_it(net, cloud, change):
    points, *rest = cloud
    assert (net(points, *rest) - net(change(points), *rest)).abs().max() > 1e-3
    deaf = deepcopy(net)
    with torch.no_grad():
        deaf.whole[0].weight[:, 32:36] = 0  # centroid and radius
    assert torch.allclose(deaf(points, *rest), deaf(change(points), *rest), atol=1e-4)


def test_a_cloud_of_one_place_is_harmless(net):
    out = net(torch.zeros(1, 64, 3), torch.zeros(1, 64, 3), torch.zeros(1, 64, dtype=torch.long), torch.zeros(1, 6))
    assert bool(out.isfinite().all())


def test_every_weight_receives_a_gradient(net, cloud):
    net(*cloud).square().sum().backward()
    assert all(float(p.grad.abs().max()) > 0 for p in net.parameters())
