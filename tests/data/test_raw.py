"""Opening downloaded files: what is whole comes back, what is damaged or means harm is named, and nothing is run."""

import io
import os
import pickle
import tarfile
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hoi_lib.data import raw
from hoi_lib.data.archives import unpack
from hoi_lib.data.numpyfile import parse, unpickle
from hoi_lib.errors import ConfigError, OutputError, RawDataError

CONTENT = {
    "right": {"rot": np.arange(9.0).reshape(3, 3), "shape": np.zeros(10, np.float32), "name": "s01"},
    "turned": np.asfortranarray(np.arange(6, dtype=">i4").reshape(2, 3)),
    "numbers": [1, 2.5, np.float64(3), None, True],
    "bytes": b"\x00\xff",
    "words": np.array(["a", "bcd"]),
    "ragged": np.array([np.zeros(2), np.ones(3)], dtype=object),
}
ARRAYS = hnp.arrays(
    st.sampled_from([np.float64, np.float32, np.int64, np.uint8, np.bool_]), hnp.array_shapes(min_dims=0, min_side=0)
)


def assert_equal(a, b):
    if isinstance(b, dict):
        assert a.keys() == b.keys()
        for key in b:
            assert_equal(a[key], b[key])
    elif isinstance(b, list):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_equal(x, y)
    elif isinstance(b, np.ndarray) and b.dtype == object:
        assert_equal(list(a), list(b))
    else:
        np.testing.assert_array_equal(a, b)
        assert np.asarray(a).dtype == np.asarray(b).dtype


def boxed(value):
    box = np.empty((), object)
    box[()] = value
    return box


def npy(value, protocol=None):
    """The bytes of an .npy file, its pickle written in ``protocol``."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": ()})
    pickle.dump(boxed(value), file, protocol)
    return file.getvalue()


@pytest.mark.parametrize("protocol", range(5))
def test_dictionaries_of_arrays_come_back_from_every_protocol(tmp_path, protocol):
    (tmp_path / "a.npy").write_bytes(npy(CONTENT, protocol))
    assert_equal(raw.load_npy(tmp_path / "a.npy"), CONTENT)


def test_numpys_own_files_come_back(tmp_path):
    np.save(tmp_path / "a.npy", CONTENT)
    np.savez(tmp_path / "b.npz", plain=np.arange(3), boxed=boxed(CONTENT), word=np.array("mug"))
    assert_equal(raw.load_npy(tmp_path / "a.npy"), CONTENT)
    found = raw.load_npz(tmp_path / "b.npz")
    assert_equal(found["boxed"], CONTENT)
    assert found["word"] == "mug" and set(found) == {"plain", "boxed", "word"}
    assert set(raw.load_npz(tmp_path / "b.npz", ["plain"])) == {"plain"}
    with pytest.raises(RawDataError, match=r"b\.npz: lacks other"):
        raw.load_npz(tmp_path / "b.npz", ["other"])


@given(ARRAYS)
def test_every_array_comes_back(array):
    for value in (array, np.asfortranarray(array)):
        file = io.BytesIO()
        np.save(file, value)
        assert_equal(parse(file.getvalue()), array)
    assert_equal(unpickle(pickle.dumps({"x": array}, 4))["x"], array)


class Harm:
    """Pickles as a call."""

    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    "call, name",
    [
        ((os.system, ("touch ran",)), "system"),
        ((eval, ("open('ran', 'w')",)), "eval"),
        ((getattr, ("x", "upper")), "getattr"),
        ((np.load, ("x",)), "load"),
        ((np.frombuffer, (b"x",)), "frombuffer"),
        ((type, ("X", (), {})), "type"),
    ],
)
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_pickle_that_names_anything_else_is_refused_before_it_runs(tmp_path, monkeypatch, call, name, protocol):
    monkeypatch.chdir(tmp_path)
    for value in (Harm(*call), CONTENT | {"more": Harm(*call)}, [[Harm(*call)]]):
        (tmp_path / "a.npy").write_bytes(npy(value, protocol))
        with pytest.raises(RawDataError, match=rf"a\.npy: .*{name}.* refused, nothing was run"):
            raw.load_npy(tmp_path / "a.npy")
        np.savez(tmp_path / "b.npz", x=boxed(value))
        with pytest.raises(RawDataError, match=r"b\.npz: x: .*refused"):
            raw.load_npz(tmp_path / "b.npz")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.npy", "b.npz"]


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x02cposix\nsystem\n.",
        b"\x80\x02(S'x'\niposix\nsystem\n.",  # INST calls a class
        b"\x80\x02P1\n.",  # a persistent id
        b"\x80\x02\x82\x01.",  # the extension registry
        b"\x80\x04\x96\xff\xff\xff\xff\x00\x00\x00\x00.",  # 4 GB of bytearray
        b"\x80\x02Kar\xff\xff\xff\xf0.",  # a memo of 4 thousand million places
        b"\x80\x02c_codecs\nencode\n}X\x06\x00\x00\x00latin1K\x01sb.",  # BUILD on a function that it may only call
        b"\x80\x02cnumpy\ndtype\nX\x02\x00\x00\x00O8\x85R.",  # a type alone
        b"\x80\x02" + b"]" * 20 + b"a" * 19 + b".",  # lists in lists
        b"\x80\x02]q\x00h\x00a.",  # a list that holds itself
    ],
)
def test_pickles_that_no_array_needs_are_refused(tmp_path, content):
    (tmp_path / "a.pkl").write_bytes(content)
    with pytest.raises(RawDataError, match=r"a\.pkl: "):
        raw.load_pickle(tmp_path / "a.pkl")


def test_a_pickle_cannot_ask_for_more_work_than_it_has_bytes():
    value = [1]
    for _ in range(6):
        value = [value] * 40  # 40^6 paths through seven lists
    assert unpickle(pickle.dumps(value))[0][0][0][0][0][0] == [1]


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_any_damage_to_a_file_is_one_error_or_none(tmp_path, data):
    kind = data.draw(st.sampled_from(["a.npy", "b.npz", "c.pkl", "d.json", "e.txt"]))
    path = tmp_path / kind
    {
        "a.npy": lambda: path.write_bytes(npy(CONTENT, data.draw(st.sampled_from([0, 2, 3, 4])))),
        "b.npz": lambda: np.savez(path, a=boxed(CONTENT), b=np.arange(12.0)),
        "c.pkl": lambda: path.write_bytes(pickle.dumps(CONTENT, 4)),
        "d.json": lambda: path.write_text('{"keys": [0, 1, 1.5e3], "text": "é"}'),
        "e.txt": lambda: path.write_text("0.5 -1e-3 17\n2"),
    }[kind]()
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content)))]
    path.write_bytes(content)
    load = {".npy": raw.load_npy, ".npz": raw.load_npz, ".pkl": raw.load_pickle, ".json": raw.load_json}
    try:
        load.get(path.suffix, raw.load_text_numbers)(path)
    except RawDataError as error:
        assert error.what.startswith(f"{path}: ") and "\n" not in error.what


@pytest.mark.parametrize(
    "shape", ["(3000000000, 3)", "(-1,)", "(True,)", "(1.5,)", "('a',)", "(99999999999999999999,)"]
)
def test_a_stated_shape_is_compared_with_the_bytes_before_anything_is_made(tmp_path, shape):
    np.save(tmp_path / "a.npy", np.zeros(9))
    content = (tmp_path / "a.npy").read_bytes().replace(b"(9,), }".ljust(30), f"{shape}, }}".encode().ljust(30))
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(RawDataError, match=r"a\.npy: "):
        raw.load_npy(tmp_path / "a.npy")


@pytest.mark.parametrize("cut", [0, 1, 60, 127, 130, -1])
def test_a_truncated_or_longer_array_is_named(tmp_path, cut):
    np.save(tmp_path / "a.npy", np.zeros((4, 5)))
    content = (tmp_path / "a.npy").read_bytes()
    for damaged in (content[:cut], content + b"\0"):
        (tmp_path / "a.npy").write_bytes(damaged)
        with pytest.raises(RawDataError, match=r"a\.npy: "):
            raw.load_npy(tmp_path / "a.npy")


def test_a_missing_file_is_called_missing(tmp_path):
    for load in (raw.load_npy, raw.load_npz, raw.load_json, raw.load_text_numbers, raw.load_pickle):
        with pytest.raises(RawDataError, match=r"none: missing"):
            load(tmp_path / "none")
        with pytest.raises(RawDataError, match=str(tmp_path)):
            load(tmp_path)


@pytest.mark.parametrize(
    "text, reason",
    [("1 2", "holds 2 numbers"), ("1 2 x", "no"), ("1 nan 3", "finite"), ("1 inf 3", "finite"), ("", "empty")]
    + [("1 2 3_0", "finite"), ("1 2 \xff", "UTF-8"), ("1 2 ٣", "finite")],
)
def test_a_text_of_numbers_holds_so_many_finite_ones(tmp_path, text, reason):
    path = tmp_path / "a.txt"
    path.write_text("1 2\n-3e2\n")
    np.testing.assert_array_equal(raw.load_text_numbers(path, 3), [1, 2, -300])
    path.write_bytes(text.encode("latin1") if "\xff" in text else text.encode())
    with pytest.raises(RawDataError, match=reason):
        raw.load_text_numbers(path, 3)


@pytest.mark.parametrize("text", ["{", "[NaN]", "[Infinity]", "[1] 2", "[" * 100000, "nul"])
def test_json_is_one_whole_value(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(RawDataError, match=r"a\.json: no readable JSON"):
        raw.load_json(tmp_path / "a.json")


@pytest.mark.parametrize(
    "array, reason",
    [
        (np.zeros((4, 44)), r"\(4, 44\), expected numbers \(any, 45\)"),
        (np.zeros((0, 45)), r"\(0, 45\)"),
        (np.zeros((4, 45, 1)), r"\(4, 45, 1\)"),
        (np.zeros((4, 45)).astype(str), "<U32"),
        (np.zeros((4, 45), bool), "bool"),
        (np.zeros((4, 45), complex), "complex"),
        (np.zeros((4, 45)).astype(object), "object"),
        ([[1.0], [2.0, 3.0]], "pose is no array"),
        (None, "object"),
        (np.full((4, 45), np.nan), "180 values that are not finite"),
        (np.full((4, 45), -8.0), "pose reaches 8, expected at most 7"),
    ],
)
def test_an_array_is_what_its_format_says(tmp_path, array, reason):
    good = raw.expect(tmp_path, "pose", np.ones((2, 45), np.float32), (None, 45), within=7)
    assert good.dtype == np.float64 and good.shape == (2, 45)
    with pytest.raises(RawDataError, match=reason):
        raw.expect(tmp_path, "pose", array, (None, 45), within=7)


@pytest.mark.parametrize(
    "name", ["../x", "a/../../x", "/etc/passwd", "C:\\x", "\\\\host\\x", "..", "", ".", "a\0b", "a\nb"]
)
def test_a_path_from_a_file_stays_inside(tmp_path, name):
    assert raw.inside(tmp_path, "tools/a mug.ply") == tmp_path / "tools" / "a mug.ply"
    assert raw.inside(tmp_path, "tools\\mug.ply") == tmp_path / "tools" / "mug.ply"
    with pytest.raises(RawDataError, match="leads out of"):
        raw.inside(tmp_path, name)


def test_an_unknown_set_or_option_is_named(tmp_path):
    with pytest.raises(ConfigError, match="arctic, grab"):
        raw.reader_for("arctics", tmp_path)
    with pytest.raises(RawDataError, match="no such folder"):
        raw.reader_for("arctic", tmp_path / "none")


# ------------------------------------------------------------------------------------------------------------ archives


def packed(path, members, links=()):
    """An archive of {name: text}, and of links {name: target}."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, text in members.items():
                archive.writestr(name, text)
            for name, target in dict(links).items():
                info = zipfile.ZipInfo(name)
                info.external_attr = 0o120777 << 16
                archive.writestr(info, target)
    else:
        with tarfile.open(path, "w:gz") as archive:
            for name, text in members.items():
                info = tarfile.TarInfo(name)
                info.size = len(text)
                archive.addfile(info, io.BytesIO(text.encode()))
            for name, target in dict(links).items():
                info = tarfile.TarInfo(name)
                info.type, info.linkname = tarfile.SYMTYPE, target
                archive.addfile(info)
    return path


@pytest.fixture(params=["a.zip", "a.tar.gz"])
def archive(request, tmp_path):
    return tmp_path / request.param


def test_an_archive_unpacks_into_its_folder(archive, tmp_path):
    packed(archive, {"s1/a.txt": "one", "s1/deep/b.txt": "two"})
    assert unpack(archive, tmp_path / "out") == tmp_path / "out"
    assert (tmp_path / "out/s1/a.txt").read_text() == "one" and (tmp_path / "out/s1/deep/b.txt").read_text() == "two"


def test_several_archives_make_one_tree_and_none_overwrites_another(archive, tmp_path):
    other = packed(archive.with_name(f"b{archive.name}"), {"s2/a.txt": "two"})
    unpack([packed(archive, {"s1/a.txt": "one"}), other], tmp_path / "out")
    assert sorted(p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*.txt")) == [
        "s1/a.txt",
        "s2/a.txt",
    ]
    packed(other, {"s1/a.txt": "two"})
    with pytest.raises(RawDataError, match="s1/a.txt, and so does another"):
        unpack([archive, other], tmp_path / "again")
    with pytest.raises(OutputError, match="there already"):
        unpack(archive, tmp_path / "out")
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize("name", ["../evil.txt", "/tmp/evil.txt", "s1/../../evil.txt", "..\\evil.txt"])
def test_no_member_leaves_the_folder_and_then_nothing_is_unpacked(archive, tmp_path, name):
    packed(archive, {"s1/a.txt": "one", name: "evil"})
    with pytest.raises(RawDataError, match="leads out of"):
        unpack(archive, tmp_path / "in" / "out")
    assert not list(tmp_path.rglob("evil.txt")) and not list(tmp_path.rglob("a.txt"))


def test_no_link_is_unpacked(archive, tmp_path):
    packed(archive, {"s1/a.txt": "one"}, {"s1/link": "/etc"})
    with pytest.raises(RawDataError, match="s1/link is no plain file"):
        unpack(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_damaged_archive_is_named_and_leaves_nothing(archive, tmp_path):
    packed(archive, {"s1/a.txt": "one" * 1000})
    content = archive.read_bytes()
    for damaged in (content[: len(content) // 2], b"", b"PK" + bytes(100), content[:40] + bytes(20) + content[60:]):
        archive.write_bytes(damaged)
        with pytest.raises(RawDataError, match=archive.name):
            unpack(archive, tmp_path / "out")
        assert sorted(p.name for p in tmp_path.iterdir()) == [archive.name]


def test_an_archive_that_states_more_than_the_disk_holds_is_refused(archive, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: os.terminal_size((0, 0)) and type("Disk", (), {"free": 2})())
    packed(archive, {"s1/a.txt": "one"})
    with pytest.raises(RawDataError, match="3 bytes"):
        unpack(archive, tmp_path / "out")
