"""The forward pass laid open: what is shown is what the network did."""

from dataclasses import replace

import matplotlib
import numpy as np
import pytest
import torch
from random_batches import WordHash, random_batch
from tiny_store import tiny_store

from hoi_lib.denoiser import Denoiser, hollow
from hoi_lib.forward_figures import (
    attention_maps,
    attention_widget,
    draw_attention,
    joint_gap,
    poster,
    stills,
    trace,
    watched,
)
from hoi_lib.motion import pack_pose

matplotlib.use("agg")
CONFIG = hollow(16, 2, 2, text_dim=WordHash.dim, points=32, point_width=16)


@pytest.fixture(scope="module")
def asked():
    """A small hollow network, untrained, and the arguments of one call of it: two samples, one of them padded."""
    torch.manual_seed(0)
    network, batch = Denoiser(CONFIG).eval(), random_batch()
    network.fit_normaliser([batch])
    x, t = network.to_model(batch).detach(), torch.arange(len(batch)) * 100
    with torch.no_grad():
        return network, (x, t, network.prepare(batch, WordHash()), batch.valid)


def test_every_row_of_an_attention_map_is_shared_out_in_full_and_padding_gets_nothing(asked):
    network, question = asked
    maps, valid = attention_maps(network, *question), question[-1]
    assert torch.allclose(maps.sum(-1), torch.ones(()))
    assert not valid.all()
    hidden = torch.nn.functional.pad(~valid, (maps.shape[-1] - valid.shape[1], 0))
    assert (maps.movedim(1, 0)[hidden[:, None, None, None].expand(maps.movedim(1, 0).shape)] == 0).all()


def test_the_maps_are_the_weights_with_which_the_attention_mixes_its_values(asked):
    network, question = asked
    maps = attention_maps(network, *question)
    with watched({str(n): block.attention for n, block in enumerate(network.blocks)}) as seen, torch.no_grad():
        network(*question)
    for n, block in enumerate(network.blocks):
        (tokens, _), made = seen[str(n)]
        value = block.attention.qkv(tokens).unflatten(-1, (3, block.attention.heads, -1)).permute(2, 0, 3, 1, 4)[2]
        assert torch.allclose(block.attention.out((maps[n] @ value).transpose(1, 2).flatten(-2)), made, atol=1e-5)


def test_without_a_mask_every_token_is_seen(asked):
    network, question = asked
    blind = Denoiser(replace(CONFIG, mask_padding=False)).eval()
    assert (attention_maps(blind, *question) > 0).all()


def test_a_trace_ends_with_the_networks_answer_and_names_every_size(asked):
    network, question = asked
    lines = trace(network, *question)
    assert torch.equal(lines[-1].values, network(*question)[0])
    assert torch.equal(lines[0].values, question[0][0])
    assert len(lines) == 7 + len(network.blocks)
    for line in lines:
        assert len(line.size) == 3 and line.values.shape == line.size[1:]
        assert line.shape.count(",") == 2
    frames, prefix = question[0].shape[1], 6
    assert {line.size[1] for line in lines} == {frames, prefix, frames + prefix}


def test_watching_leaves_no_hook_behind(asked):
    network, question = asked
    trace(network, *question)
    assert not any(module._forward_hooks for module in network.modules())


def test_a_poster_has_a_strip_for_every_line_and_writes_the_sizes_beside_it(asked):
    network, question = asked
    lines, film = trace(network, *question), [np.zeros((4, 6, 3), np.uint8)] * 3
    figure = poster(lines, (film, film), int(question[-1][0].sum()), ("time", *CONFIG.tokens))
    written = [text.get_text() for axis in figure.axes for text in axis.texts]
    assert len(figure.axes) == len(lines) + 2
    for line in lines:
        assert line.code in written and str(line.size) in written
    assert "action" in written
    matplotlib.pyplot.close(figure)


def test_a_widget_knows_every_token_block_and_head_and_reads_out_whom_it_asks():
    maps = torch.zeros(2, 2, 9, 9)
    maps[..., 7] = 1.0  # everybody asks frame 1 of 0, 1, 2
    picture = np.zeros((8, 8, 3), np.uint8)
    alt = "Whom the chosen token asks, as a curve over the frames."
    html = attention_widget(maps, [*"abcdef"], [0, 2], {0: picture, 2: picture}, alt, "Who asks?").html
    assert html.count("of the frames it asks number 1 most") >= 2 * 2 * 8
    assert "“frame 2” takes 0 % from the conditions" in html


def test_attention_is_drawn_once_for_each_head_asked_for():
    figure = draw_attention(torch.rand(2, 3, 9, 9), [(1, 1), (2, 3)], frames=2, prefix=6, edges=(1,))
    assert [axis.get_title() for axis in figure.axes] == ["block 1, head 1", "block 2, head 3"]
    matplotlib.pyplot.close(figure)


def test_the_gap_between_two_hands_is_the_distance_that_one_was_moved(asked):
    network, (x, *_) = asked
    batch = random_batch()
    moved = network.to_world(x, batch).detach()
    moved[..., 0] += 0.01  # metres
    there = network.to_model(replace(batch, pose=moved))
    assert torch.allclose(joint_gap(network, x, there, batch), torch.tensor(10.0), atol=0.05)
    assert joint_gap(network, x, x, batch).abs().max() == 0


@pytest.mark.parametrize("move", [0.0, 0.4])
def test_a_still_shows_the_true_hand_where_its_eye_looks_and_not_one_that_has_gone(move, tmp_path):
    store = tiny_store(tmp_path / "store", clips=1)
    clip = store.clip(store.table[0]["name"])
    side = next(iter(clip.hands))
    track = clip.hands[side]
    pose = pack_pose(torch.as_tensor(track.transl) + move, torch.as_tensor(track.rotations))
    (picture,) = stills(clip, store.object(clip.object.name), side, pose, [clip.frames // 2], (60, 60))
    red = picture[..., 0].astype(int) - picture[..., 2] > 30  # skin
    assert picture.shape == (60, 60, 3) and bool(red.sum() > 50) == (move == 0)
