"""CLIP and Long-CLIP on tiny models of the real architecture, saved and read as the published ones are."""

import json
import shutil

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from hoi_lib.clipencoders import Clip, LongClip, from_hub, rename, stretch_positions
from hoi_lib.encoders import load_encoder
from hoi_lib.errors import TextError

transformers = pytest.importorskip("transformers")

SENTENCE = "Pour the bottle with right hand."
WIDTH, LAYERS = 128, 2  # two heads of 64


def save_tokenizer(folder):
    """A byte-pair vocabulary in CLIP's two files: all bytes, and a few merges."""
    from tokenizers.pre_tokenizers import ByteLevel

    letters = sorted(ByteLevel.alphabet())
    merges = [("h", "a"), ("ha", "n"), ("han", "d</w>"), ("t", "h"), ("th", "e</w>"), ("w", "i")]
    words = [*letters, *(c + "</w>" for c in letters), *("".join(m) for m in merges)]
    words += ["<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(" ".join(m) for m in merges) + "\n")
    return len(words)


def make_folder(folder, positions=77, seed=0, width=512, **changes):
    """A random text tower in the layout of transformers, with every weight away from zero."""
    vocabulary = save_tokenizer(folder)
    config = transformers.CLIPTextConfig(
        vocab_size=vocabulary,
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=2,
        projection_dim=width,
        max_position_embeddings=positions,
        bos_token_id=vocabulary - 2,
        eos_token_id=vocabulary - 1,
        **changes,
    )
    torch.manual_seed(seed)
    model = transformers.CLIPTextModelWithProjection(config)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.1)
    model.save_pretrained(folder)
    return folder


def own_layout(seed=0, positions=77, rest=True):
    """A random text tower under the names that CLIP's and Long-CLIP's own code gives."""
    gen = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(shape, generator=gen) * 0.1

    state = {
        "token_embedding.weight": draw(520, WIDTH),
        "positional_embedding": draw(positions, WIDTH),
        "ln_final.weight": 1 + draw(WIDTH),
        "ln_final.bias": draw(WIDTH),
        "text_projection": draw(WIDTH, 512),
        "logit_scale": draw(),
        "visual.conv1.weight": draw(4, 3, 2, 2),
        "visual.transformer.resblocks.0.ln_1.weight": draw(7),
    }
    if rest:
        state["positional_embedding_res"] = draw(positions, WIDTH)
    sizes = {"attn.in_proj_": (3 * WIDTH, WIDTH), "attn.out_proj.": (WIDTH, WIDTH)}
    sizes |= {"mlp.c_fc.": (4 * WIDTH, WIDTH), "mlp.c_proj.": (WIDTH, 4 * WIDTH)}
    for layer in range(LAYERS):
        block = f"transformer.resblocks.{layer}"
        for part, (rows, columns) in sizes.items():
            state |= {f"{block}.{part}weight": draw(rows, columns), f"{block}.{part}bias": draw(rows)}
        for norm in ("ln_1", "ln_2"):
            state |= {f"{block}.{norm}.weight": 1 + draw(WIDTH), f"{block}.{norm}.bias": draw(WIDTH)}
    return state


def reference(state, tokens, kept=20):
    """The tower as its paper's code computes it, with torch's own attention: projected states (n, 512)."""
    table = state["positional_embedding"].clone()
    if "positional_embedding_res" in state:
        table[kept:] = state["positional_embedding_res"][kept:]
    n = len(tokens)
    x = state["token_embedding.weight"][tokens] + table[:n]
    future = torch.ones(n, n).triu(1).bool()
    for layer in range(LAYERS):
        block = f"transformer.resblocks.{layer}."
        mine = {key.removeprefix(block): value for key, value in state.items() if key.startswith(block)}
        attention = nn.MultiheadAttention(WIDTH, WIDTH // 64)
        attention.load_state_dict({k.removeprefix("attn."): v for k, v in mine.items() if k.startswith("attn.")})
        y = nn.functional.layer_norm(x, (WIDTH,), mine["ln_1.weight"], mine["ln_1.bias"])
        x = x + attention(y, y, y, need_weights=False, attn_mask=future)[0]
        y = nn.functional.layer_norm(x, (WIDTH,), mine["ln_2.weight"], mine["ln_2.bias"])
        y = y @ mine["mlp.c_fc.weight"].T + mine["mlp.c_fc.bias"]
        x = x + (y * torch.sigmoid(1.702 * y)) @ mine["mlp.c_proj.weight"].T + mine["mlp.c_proj.bias"]
    x = nn.functional.layer_norm(x, (WIDTH,), state["ln_final.weight"], state["ln_final.bias"])
    return (x @ state["text_projection"]).detach()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("models") / "clip")


def tokens_of(folder, text, limit):
    return transformers.CLIPTokenizer.from_pretrained(folder)(
        text, truncation=True, max_length=limit, return_tensors="pt"
    )


# --- the numbers ---


@pytest.mark.parametrize(("encoder", "positions"), [(Clip, 77), (LongClip, 248)])
def test_features_are_those_of_transformers(tmp_path, encoder, positions):
    folder = make_folder(tmp_path / "model", positions)
    features = encoder(source=folder).encode([SENTENCE, "shake"])
    model = transformers.CLIPTextModelWithProjection.from_pretrained(folder, attn_implementation="eager").eval()
    assert encoder.dim == features.pooled.shape[1] == features.states.shape[2] == 512
    for row, text in enumerate([SENTENCE, "shake"]):
        with torch.no_grad():
            want = model(**tokens_of(folder, text, positions))
            states = model.text_projection(want.last_hidden_state[0])
        length = int(features.mask[row].sum())
        assert torch.allclose(features.pooled[row], want.text_embeds[0], atol=1e-5)
        assert torch.allclose(features.states[row, :length], states, atol=1e-5)
        assert float(features.states[row, length:].abs().sum()) == 0


def test_a_whole_clip_with_its_picture_tower_gives_the_same_features(folder, tmp_path):
    text = transformers.CLIPTextConfig.from_pretrained(folder).to_dict()
    vision = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    whole = transformers.CLIPModel(transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=512))
    tower = transformers.CLIPTextModelWithProjection.from_pretrained(folder)
    missing = whole.load_state_dict(tower.state_dict(), strict=False).missing_keys
    assert all("visual" in key or "vision" in key or key == "logit_scale" for key in missing)
    whole.half().save_pretrained(tmp_path / "whole")
    save_tokenizer(tmp_path / "whole")
    features, want = Clip(source=tmp_path / "whole").encode([SENTENCE]), Clip(source=folder).encode([SENTENCE])
    assert features.pooled.dtype == torch.float32
    assert torch.allclose(features.pooled, want.pooled, atol=0.02)  # it was stored in half precision


@pytest.mark.parametrize("rest", [True, False])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_the_published_layout_is_computed_as_its_paper_does(tmp_path, rest, prefix):
    state = own_layout(positions=248, rest=rest)
    save_tokenizer(tmp_path)
    torch.save({prefix + key: value for key, value in state.items()}, tmp_path / "longclip-B.pt")
    text = " ".join([SENTENCE] * 6)  # beyond the 20 frozen positions
    features = LongClip(source=tmp_path).encode([text])
    tokens = tokens_of(tmp_path, text, 248)["input_ids"][0]
    assert len(tokens) > 100
    assert torch.allclose(features.states[0], reference(state, tokens), atol=1e-4)
    assert torch.equal(features.pooled[0], features.states[0, -1])
    assert torch.equal(LongClip(source=tmp_path / "longclip-B.pt").encode([text]).pooled, features.pooled)


def test_long_clip_of_a_clip_is_clip_with_stretched_positions(folder):
    short, long = Clip(source=folder), LongClip(source=folder)
    model = transformers.CLIPTextModelWithProjection.from_pretrained(folder)
    table = model.text_model.embeddings.position_embedding.weight
    tower = long._parts[1].text_model.embeddings.position_embedding.weight
    assert torch.equal(tower, stretch_positions(table.detach()))
    assert torch.allclose(long.encode(["hand"]).pooled, short.encode(["hand"]).pooled, atol=1e-6)  # within 20 tokens
    many = "the hand " * 20
    assert not torch.allclose(long.encode([many]).pooled, short.encode([many]).pooled, atol=1e-3)


def test_the_published_long_clip_borrows_the_tokenizer_of_clip(folder, tmp_path, monkeypatch):
    torch.save(own_layout(positions=248), tmp_path / "longclip-B.pt")
    monkeypatch.setenv("HOI_CLIP", str(folder))
    monkeypatch.setenv("HOI_LONGCLIP", str(tmp_path))
    assert LongClip().encode([SENTENCE]).pooled.shape == (1, 512)


# --- length and mask ---


@pytest.mark.parametrize(("encoder", "limit"), [(Clip, 77), (LongClip, 248)])
def test_long_texts_are_cut_and_still_end_with_the_end_mark(folder, encoder, limit):
    features = encoder(source=folder).encode(["x " * 500, "x " * (limit - 2), "x " * (limit - 3)])
    assert features.mask.sum(1).tolist() == [limit, limit, limit - 1]
    assert torch.equal(features.pooled[0], features.pooled[1])
    assert not torch.equal(features.pooled[1], features.pooled[2])


def test_padding_and_neighbours_change_nothing(folder):
    encoder = Clip(source=folder)
    alone, among = encoder.compute(["hand"]), encoder.encode([SENTENCE, "hand", ""])
    assert among.mask.sum(1).tolist()[1:] == [3, 2]
    assert torch.equal(among.pooled[1], alone.pooled[0]) and torch.equal(among.states[1, :3], alone.states[0])


# --- the stretch ---


def test_the_stretch_keeps_twenty_positions_and_is_linear_between_the_others():
    table = torch.randn(77, 5, dtype=torch.float64)
    long = stretch_positions(table)
    assert long.shape == (248, 5) and torch.equal(long[:20], table[:20])
    assert torch.allclose(long[20::4], table[20:])
    for quarter in (1, 2, 3):
        between = table[20:-1] + quarter / 4 * (table[21:] - table[20:-1])
        assert torch.allclose(long[20 + quarter : 245 : 4], between)


def test_the_stretch_goes_on_beyond_the_end_in_a_straight_line():
    table = torch.randn(77, 3, dtype=torch.float64)
    step = (table[-1] - table[-2]) / 4
    assert torch.allclose(stretch_positions(table)[-3:], table[-1] + step * torch.tensor([[1.0], [2.0], [3.0]]))


@given(st.floats(-3, 3), st.floats(-3, 3), st.integers(22, 90))
def test_constant_and_straight_tables_stay_so(offset, slope, length):
    line = offset + slope * torch.arange(length, dtype=torch.float64)[:, None]
    long = stretch_positions(line)[:, 0]
    assert len(long) == 4 * length - 60
    steps = long.diff()
    assert torch.allclose(steps[:19], torch.full((19,), slope, dtype=torch.float64), atol=1e-9)
    assert torch.allclose(steps[20:], torch.full((len(steps) - 20,), slope / 4, dtype=torch.float64), atol=1e-9)


def test_a_table_too_short_to_stretch_is_refused():
    with pytest.raises(TextError, match="at least 22"):
        stretch_positions(torch.zeros(21, 4))


# --- caches and sources ---


def test_other_weights_or_another_tokenizer_never_share_features(tmp_path):
    one, two = make_folder(tmp_path / "one"), make_folder(tmp_path / "two", seed=1)
    third = shutil.copytree(one, tmp_path / "three")
    (third / "merges.txt").write_text("#version: 0.2\nh a\n")
    copy = shutil.copytree(one, tmp_path / "copy")
    versions = {Clip(source=place).version for place in (one, two, third)}
    assert len(versions) == 3 and Clip(source=copy).version == Clip(source=one).version
    first, second = (Clip(tmp_path / "cache", place).encode([SENTENCE]).pooled for place in (one, two))
    assert not torch.allclose(first, second)
    LongClip(tmp_path / "cache", one).encode([SENTENCE])
    assert len(list((tmp_path / "cache").iterdir())) == 3


def test_known_sentences_load_no_tower(folder, tmp_path, monkeypatch):
    before = Clip(tmp_path, folder).encode([SENTENCE])
    monkeypatch.setattr(Clip, "_tower", lambda *_: pytest.fail("the tower was loaded"))
    assert torch.equal(Clip(tmp_path, folder).encode([SENTENCE]).states, before.states)


def test_the_loader_takes_argument_before_variable_before_the_published_name(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("HOI_CACHE", str(tmp_path))
    assert load_encoder("clip").source == "openai/clip-vit-base-patch32"
    assert load_encoder("longclip").source == "BeichenZhang/LongCLIP-B"
    monkeypatch.setenv("HOI_CLIP", "someone/other")
    assert load_encoder("clip").source == "someone/other"
    assert load_encoder("clip", folder).source == str(folder) and load_encoder("clip", folder) is load_encoder(
        "clip", str(folder)
    )


def test_the_hub_cache_is_read_without_a_network(folder, tmp_path, monkeypatch):
    from huggingface_hub import constants

    snapshot = tmp_path / "models--some--clip" / "snapshots" / "abc"
    shutil.copytree(folder, snapshot)
    (tmp_path / "models--some--clip" / "refs").mkdir()
    (tmp_path / "models--some--clip" / "refs" / "main").write_text("abc")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    want = Clip(source=folder).encode([SENTENCE])
    assert torch.equal(Clip(source="some/clip").encode([SENTENCE]).pooled, want.pooled)


@pytest.mark.parametrize(
    ("there", "loaded"),
    [
        (["model.safetensors", "pytorch_model.bin", "vocab.json", "merges.txt", "config.json", "flax.msgpack"], 4),
        (["pytorch_model.bin", "vocab.json", "merges.txt"], 3),
        (["README.md"], 0),
    ],
)
def test_only_what_is_needed_is_downloaded(there, loaded, tmp_path, monkeypatch):
    import huggingface_hub

    asked = []

    def download(repository, name):
        asked.append(name)
        return str(tmp_path / name)

    monkeypatch.setattr(huggingface_hub.HfApi, "list_repo_files", lambda self, repository: there)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "none"))
    if loaded:
        assert from_hub("some/clip", Clip.files) == tmp_path
        assert len(asked) == loaded and asked[0] == there[0]
    else:
        with pytest.raises(TextError, match="holds no text tower"):
            from_hub("some/clip", Clip.files)


# --- what can be wrong ---


def assert_one_clear_error(encoder, *words):
    with pytest.raises(TextError) as error:
        encoder.encode([SENTENCE])
    text = str(error.value)
    assert len(text.splitlines()) <= 2 and error.value.mend, text
    for word in words:
        assert word in text, text


@pytest.mark.parametrize("encoder", [Clip, LongClip])
def test_weights_that_are_not_here_say_how_to_get_them(encoder, monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    for name in ("HOI_CLIP", "HOI_LONGCLIP"):
        monkeypatch.delenv(name, raising=False)
    assert_one_clear_error(encoder(), encoder.published, "hf download")
    assert_one_clear_error(encoder(source="/no/such/folder"), "/no/such/folder", "no such file or folder")


@pytest.mark.parametrize("damage", ["half", "garbage", "empty", "a tensor is missing", "a shape is wrong"])
def test_damaged_weights_are_one_clear_error(folder, tmp_path, damage):
    from safetensors.torch import load_file, save_file

    copy = shutil.copytree(folder, tmp_path / "copy")
    path = copy / "model.safetensors"
    if damage == "half":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif damage == "garbage":
        path.write_bytes(b"\x00garbage" * 99)
    elif damage == "empty":
        path.write_bytes(b"")
    else:
        state, name = load_file(path), "text_model.encoder.layers.1.mlp.fc1.weight"
        wrong = {} if damage == "a tensor is missing" else {name: state[name][:3].clone()}
        save_file({k: v for k, v in state.items() if k != name} | wrong, path)
    assert_one_clear_error(Clip(source=copy), "model.safetensors", "cannot be loaded")


@pytest.mark.parametrize("name", ["text_projection.weight", "text_model.final_layer_norm.bias"])
def test_a_missing_tensor_is_named_and_never_made_up(folder, tmp_path, name):
    from safetensors.torch import load_file, save_file

    copy = shutil.copytree(folder, tmp_path / "copy")
    state = load_file(copy / "model.safetensors")
    del state[name]
    save_file(state, copy / "model.safetensors")
    assert_one_clear_error(Clip(source=copy), name)


@pytest.mark.parametrize("name", ["vocab.json", "merges.txt", "config.json"])
def test_damaged_words_are_one_clear_error(folder, tmp_path, name):
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / name).write_text("{")
    if name == "merges.txt":
        (copy / name).unlink()
    assert_one_clear_error(Clip(source=copy), "tokenizer" if name == "merges.txt" else "cannot be loaded")


def test_a_folder_without_weights_is_named(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy", ignore=shutil.ignore_patterns("*.safetensors"))
    assert_one_clear_error(Clip(source=copy), "holds none of", "HOI_CLIP")


class Foreign:
    """Pickles into a call that leaves a file behind."""

    def __reduce__(self):
        return open, ("it-ran", "w")


def test_a_pickle_that_would_run_code_is_refused_before_it_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_tokenizer(tmp_path)
    torch.save({"positional_embedding": Foreign()}, tmp_path / "longclip-B.pt")
    assert_one_clear_error(LongClip(source=tmp_path), "longclip-B.pt", "cannot be loaded")
    assert not (tmp_path / "it-ran").exists()


def test_other_sizes_are_refused(tmp_path):
    assert_one_clear_error(Clip(source=make_folder(tmp_path / "l", width=768)), "768", "ViT-B/32")
    assert_one_clear_error(Clip(source=make_folder(tmp_path / "long", positions=248)), "248 positions", "clip has 77")
    assert_one_clear_error(LongClip(source=make_folder(tmp_path / "odd", positions=100)), "100 positions")


def test_without_transformers_the_message_says_what_to_install(folder, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "transformers", None)
    assert_one_clear_error(Clip(source=folder), "pip install transformers")


def test_renaming_keeps_every_number_of_the_text_tower():
    state = own_layout()
    text = {k: v for k, v in state.items() if not k.startswith(("visual", "logit"))}
    assert sum(v.numel() for v in rename(state).values()) == sum(v.numel() for v in text.values())
    assert np.isfinite([float(v.sum()) for v in rename(state).values()]).all()
