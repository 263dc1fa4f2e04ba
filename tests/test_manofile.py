"""MANO files: the official pickle layout is read exactly, and a pickle that names anything else is refused unrun."""

import io
import os
import pickle
import subprocess
import sys
import types

import numpy as np
import pytest
from scipy.sparse import csc_matrix, csr_matrix

from hoi_lib import manofile
from hoi_lib.errors import HandFileError, OutputError
from hoi_lib.hand import hand_data, load_hand
from hoi_lib.manofile import Unpickler, convert, find, read


class Ch:
    """A chumpy array as it stands in a pickle: the values in ``x``, beside caches and sets of no use."""

    __module__ = "chumpy.ch"

    def __init__(self, x):
        self.x, self._dirty_vars, self._itr = x, {"x"}, None


class Select:
    """A chumpy selection of entries of another array."""

    __module__ = "chumpy.reordering"

    def __init__(self, a, idxs, shape):
        self.a, self.idxs, self.preferred_shape, self._dirty_vars = a, idxs, shape, set()


@pytest.fixture
def chumpy(monkeypatch):
    """Modules of chumpy's names, there while a pickle is written and gone when it is read."""
    for name, kind in (("chumpy", None), ("chumpy.ch", Ch), ("chumpy.reordering", Select)):
        module = types.ModuleType(name)
        if kind:
            setattr(module, kind.__name__, kind)
        monkeypatch.setitem(sys.modules, name, module)


def official(**changes) -> dict:
    """The stand-in as the official file holds it: ten shape directions picked out of twenty, a csc regressor."""
    data = hand_data()
    twenty = np.concatenate([data["shapedirs"], np.ones((778, 3, 10))], -1)
    first_ten = np.arange(twenty.size).reshape(twenty.shape)[..., :10].ravel()
    return {
        **data,
        "bs_style": "lbs",
        "bs_type": "lrotmin",
        "shapedirs": Select(Ch(twenty), first_ten, (778, 3, 10)),
        "J_regressor": csc_matrix(data["J_regressor"]),
        **changes,
    }


@pytest.mark.parametrize("protocol", [0, 1, 2, 4, 5])
def test_the_official_layout_is_read_back_exactly(protocol, chumpy, tmp_path):
    (tmp_path / "MANO_RIGHT.pkl").write_bytes(pickle.dumps(official(), protocol=protocol))
    data = read(tmp_path / "MANO_RIGHT.pkl")
    for key, value in hand_data().items():
        assert (data[key] == value).all(), key
    assert data["kintree_table"].dtype == np.uint32 and data["kintree_table"][0, 0] == 2**32 - 1
    assert data["shapedirs"].dtype == np.float64 and data["f"].dtype == np.uint32


def test_old_module_paths_and_python_2_strings_are_known(chumpy, tmp_path):
    text = pickle.dumps(official(), protocol=2)
    for new, old in ((b"scipy.sparse._csc", b"scipy.sparse.csc"), (b"numpy._core", b"numpy.core")):
        text = text.replace(b"c" + new, b"c" + old)
    assert b"cscipy.sparse.csc\ncsc_matrix" in text
    (tmp_path / "old.pkl").write_bytes(text)
    assert (read(tmp_path / "old.pkl")["J_regressor"] == hand_data()["J_regressor"]).all()


def test_rows_compressed_matrices_are_read_too(chumpy, tmp_path):
    file = tmp_path / "m.pkl"
    file.write_bytes(pickle.dumps(official(J_regressor=csr_matrix(hand_data()["J_regressor"])), protocol=2))
    assert (read(file)["J_regressor"] == hand_data()["J_regressor"]).all()


def test_a_folder_of_pickles_serves_as_hoi_mano_dir(chumpy, tmp_path, monkeypatch):
    (tmp_path / "mano").mkdir()
    (tmp_path / "mano" / "MANO_RIGHT.pkl").write_bytes(pickle.dumps(official(), protocol=2))
    monkeypatch.setenv("HOI_MANO_DIR", str(tmp_path))
    assert load_hand().content_hash == load_hand("right", tmp_path).content_hash
    assert (load_hand().template.numpy() == hand_data()["v_template"].astype(np.float32)).all()


# --------------------------------------------------------------------------------------------------------- refusals


class Call:
    """An object whose pickle calls ``function(*args)`` when it is read."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


MARK = "ran.txt"
MALICIOUS = {
    "os.system": lambda: Call(os.system, f"touch {MARK}"),
    "subprocess.Popen": lambda: Call(subprocess.Popen, ["touch", MARK]),
    "builtins.eval": lambda: Call(eval, f"open('{MARK}', 'w')"),
    "builtins.exec": lambda: Call(exec, f"open('{MARK}', 'w')"),
    "builtins.getattr": lambda: Call(getattr, "x", "upper"),
    "builtins.open": lambda: Call(open, MARK, "w"),
    "numpy.save": lambda: Call(np.save, MARK, np.zeros(1)),
    "numpy.load": lambda: Call(np.load, "/dev/null", None, True),
    "numpy.fromfile": lambda: Call(np.fromfile, "/etc/passwd"),
    "numpy.memmap": lambda: Call(np.memmap, MARK, np.uint8, "w+", 0, (1,)),
    "importlib.import_module": lambda: Call(__import__("importlib").import_module, "this"),
    "pickle.loads": lambda: Call(pickle.loads, b"N."),
}


@pytest.mark.parametrize("name", MALICIOUS)
@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("place", ["alone", "in a key", "in chumpy", "in an array"])
def test_a_foreign_name_is_refused_before_anything_runs(name, protocol, place, chumpy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    bad = MALICIOUS[name]()
    content = {
        "alone": bad,
        "in a key": official(hands_mean=bad),
        "in chumpy": official(shapedirs=Ch(bad)),
        "in an array": official(hands_mean=np.array([bad, 1], object)),
    }[place]
    (tmp_path / "bad.pkl").write_bytes(pickle.dumps(content, protocol=protocol))
    with pytest.raises(HandFileError, match="refused, nothing was run"):
        read(tmp_path / "bad.pkl")
    assert not (tmp_path / MARK).exists()


@pytest.mark.parametrize(
    "code",
    [
        b"cnumpy.f2py\ncompile\n.",
        b"cnumpy.testing\nrundocs\n.",
        b"cchumpy.ch\nCh.__init__\n.",
        b"cnumpy\ndtype.__subclasses__\n.",
        b"c__builtin__\n__import__\n(S'os'\ntR.",
        b"\x80\x04\x8c\x05numpy\x8c\x11ndarray.__class__\x93.",  # a dotted name, which protocol 4 would walk
        b"cos\nsystem\n(S'touch ran.txt'\ntR.",
        b"(S'touch ran.txt'\nios\nsystem\n.",  # INST
        b"(cos\nsystem\nS'touch ran.txt'\no.",  # OBJ
        b"\x80\x02\x82\x01.",  # an extension code
        b"\x80\x02U\x01aQ.",  # a persistent id
    ],
)
def test_hand_written_opcodes_are_refused(code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.pkl").write_bytes(code)
    with pytest.raises(HandFileError):
        read(tmp_path / "bad.pkl")
    assert not (tmp_path / MARK).exists()


def test_the_allowed_constructors_do_only_what_a_mano_file_needs():
    def load(code):
        return Unpickler(io.BytesIO(code)).load()

    with pytest.raises(pickle.UnpicklingError):  # bytes through another codec
        load(b"c_codecs\nencode\n(S'x'\nS'zlib'\ntR.")
    with pytest.raises(pickle.UnpicklingError):  # a terabyte of array
        load(b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I1000000000000\ntS'b'\ntR.")
    with pytest.raises(TypeError):
        load(b"cnumpy\nndarray\n(I1000000000000\ntR.")
    with pytest.raises(ValueError):  # an object out of raw bytes
        load(b"cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(S'O'\ntRS'12345678'\ntR.")


def test_one_file_cannot_change_the_next():
    poisoned = b"\x80\x02cchumpy.ch\nCh\nN}U\x01xK\x01s\x86b."  # sets an attribute of the class itself
    with pytest.raises(TypeError):
        Unpickler(io.BytesIO(poisoned)).load()
    assert not hasattr(manofile.Chumpy, "x")
    assert not hasattr(manofile._allowed()["chumpy.ch", "Ch"], "x")


# ------------------------------------------------------------------------------------------------- damaged and wrong


DAMAGES = {
    "lacks weights": lambda d: d.pop("weights"),
    "posedirs is": lambda d: d.update(posedirs=np.zeros((778, 3, 3))),
    "v_template is": lambda d: d.update(v_template=np.full((778, 3), "a")),
    "not finite": lambda d: d.update(hands_mean=np.full(45, np.nan)),
    "a face names": lambda d: d.update(f=np.full((1538, 3), 778, np.uint32)),
    "another order": lambda d: d.update(kintree_table=np.zeros((2, 16), np.uint32)),
}


@pytest.mark.parametrize("message", DAMAGES)
@pytest.mark.parametrize("suffix", [".pkl", ".npz"])
def test_a_file_with_wrong_content_says_what_is_wrong(message, suffix, tmp_path):
    data, file = hand_data(), tmp_path / f"MANO_RIGHT{suffix}"
    DAMAGES[message](data)
    if suffix == ".npz":
        np.savez(file, **data)
    else:
        file.write_bytes(pickle.dumps(data, protocol=2))
    with pytest.raises(HandFileError, match=message) as error:
        read(file)
    assert str(file) in error.value.what and "\n" not in error.value.what


@pytest.mark.parametrize("suffix", [".pkl", ".npz"])
@pytest.mark.parametrize("content", [b"", b"hello", b"\x80\x02", b"PK\x03\x04broken", b"N.", b"]."])
def test_a_damaged_file_is_one_clear_line(suffix, content, tmp_path):
    file = tmp_path / f"MANO_RIGHT{suffix}"
    file.write_bytes(content)
    with pytest.raises(HandFileError) as error:
        read(file)
    assert str(file) in error.value.what and "\n" not in error.value.what


def test_a_truncated_pickle_is_refused_at_any_length(chumpy, tmp_path):
    text = pickle.dumps(official(), protocol=2)
    for share in (0.1, 0.5, 0.999):
        (tmp_path / "cut.pkl").write_bytes(text[: int(len(text) * share)])
        with pytest.raises(HandFileError):
            read(tmp_path / "cut.pkl")


def test_npz_with_pickled_objects_is_refused(tmp_path):
    np.savez(tmp_path / "MANO_RIGHT.npz", **{**hand_data(), "f": np.array([{}], object)})
    with pytest.raises(HandFileError):
        read(tmp_path / "MANO_RIGHT.npz")


def test_find_prefers_npz_and_looks_into_the_folder_mano(tmp_path):
    (tmp_path / "mano").mkdir()
    (tmp_path / "mano" / "MANO_LEFT.pkl").touch()
    assert find(tmp_path, "left").name == "MANO_LEFT.pkl"
    (tmp_path / "MANO_LEFT.npz").touch()
    assert find(tmp_path, "left").name == "MANO_LEFT.npz"


def test_find_looks_where_the_download_unpacks_to(tmp_path):
    (tmp_path / "mano_v1_2" / "models").mkdir(parents=True)
    (tmp_path / "mano_v1_2" / "models" / "MANO_RIGHT.pkl").touch()
    assert find(tmp_path, "right").parent.name == "models"


# ----------------------------------------------------------------------------------------------------------- writing


def test_convert_writes_a_file_that_reads_the_same(chumpy, tmp_path):
    source, target = tmp_path / "MANO_RIGHT.pkl", tmp_path / "out" / "MANO_RIGHT.npz"
    source.write_bytes(pickle.dumps(official(), protocol=2))
    assert convert(source, target) == target
    first, second = read(source), read(target)
    assert set(first) == set(second) and all((first[k] == second[k]).all() for k in first)
    assert [p.name for p in target.parent.iterdir()] == ["MANO_RIGHT.npz"]


def test_a_failed_conversion_leaves_nothing_behind(chumpy, tmp_path, monkeypatch):
    source, target = tmp_path / "MANO_RIGHT.pkl", tmp_path / "out" / "MANO_RIGHT.npz"
    source.write_bytes(pickle.dumps({"f": 1}, protocol=2))
    with pytest.raises(HandFileError):
        convert(source, target)
    assert not target.parent.exists()
    source.write_bytes(pickle.dumps(official(), protocol=2))

    def full_disk(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full_disk)
    with pytest.raises(OutputError, match="No space left"):
        convert(source, target)
    assert list(target.parent.iterdir()) == []


def test_a_target_that_is_a_file_in_the_way_is_one_clear_error(chumpy, tmp_path):
    (tmp_path / "MANO_RIGHT.pkl").write_bytes(pickle.dumps(official(), protocol=2))
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        convert(tmp_path / "MANO_RIGHT.pkl", tmp_path / "file" / "MANO_RIGHT.npz")
