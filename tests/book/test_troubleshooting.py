"""Every message quoted in the appendix "Troubleshooting" is one that the library gives, and no family is left out."""

from __future__ import annotations

import inspect
import pickle
import re
from collections import deque
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

from hoi_lib import cli, doctor, errors

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "book" / "appendices" / "troubleshooting.md"
QUOTED = re.compile(r"^```\{code-block\} none\n(.*?)^```$", re.M | re.S)
LEADS = re.compile(r" See (chapter|the docstring|hoi) .*$")  # where to read on: the page says so once
CHECKPOINT = ROOT / "hoi_lib" / "assets" / "checkpoint"


def mesh() -> None:
    """A file that ends like a mesh and is none, and a cloud of points."""
    Path("mug.obj").write_text("nothing\n")
    axes = "".join(f"property float {axis}\n" for axis in "xyz")
    Path("cloud.ply").write_text(f"ply\nformat ascii 1.0\nelement vertex 1\n{axes}end_header\n0 0 0\n")


def path(**arrays: np.ndarray) -> Callable[[], None]:
    """A trajectory file."""
    return lambda: np.savez("path.npz", **arrays)


def still(frames: int = 60, scale: float = 1.0) -> dict[str, np.ndarray]:
    """An object that stays where it is."""
    return {"t": np.full((frames, 3), 0.3), "R": scale * np.tile(np.eye(3), (frames, 1, 1))}


def folder(*names: str) -> Callable[[], None]:
    """Folders with one file each."""

    def make() -> None:
        for name in names:
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            Path(name).write_text("{}")

    return make


def generate(*words: str, source: str = "mug_medium") -> list[str]:
    """The command line of a generation."""
    return ["generate", "--text", "Pour the mug.", "--object", source, "--out", "result", *words]


def narrow() -> None:
    """The shipped network beside a configuration of another width."""
    Path("run").mkdir()
    Path("run/model.safetensors").write_bytes((CHECKPOINT / "model.safetensors").read_bytes())
    Path("run/config.json").write_text((CHECKPOINT / "config.json").read_text().replace('"width": 128', '"width": 64'))


def pickled(content: object) -> Callable[[], None]:
    """A pickle under the name of a MANO file."""
    return lambda: Path("MANO_RIGHT.pkl").write_bytes(pickle.dumps(content))


CONVERT = ["mano", "convert", "MANO_RIGHT.pkl", "--out", "MANO_RIGHT.npz"]
NOTHING = folder()
# family, what is there, the command, variables of the environment
CASES: dict[str, tuple[str, Callable[[], None], list[str], dict[str, str]]] = {
    "mesh none": ("MeshError", NOTHING, generate(source="lost.obj"), {}),
    "mesh damaged": ("MeshError", mesh, generate(source="mug.obj"), {}),
    "mesh cloud": ("MeshError", mesh, generate(source="cloud.ply"), {}),
    "path shape": ("TrajectoryError", path(**still(5)), generate("--trajectory", "path.npz"), {}),
    "path scaled": ("TrajectoryError", path(**still(scale=2)), generate("--trajectory", "path.npz"), {}),
    "path far": (
        "TrajectoryError",
        path(R=still()["R"], t=np.full((60, 3), 812.0)),
        generate("--trajectory", "path.npz"),
        {},
    ),
    "mano folder": ("HandFileError", folder("mano/readme.txt"), generate(), {"HOI_MANO_DIR": "mano"}),
    "mano refused": ("HandFileError", pickled(deque()), CONVERT, {}),
    "mano other": ("HandFileError", pickled({"v_template": np.zeros(3)}), CONVERT, {}),
    "store none": ("StoreError", NOTHING, ["train", "--data", "lost", "--out", "run"], {}),
    "raw none": ("RawDataError", NOTHING, ["data", "build", "arctic", "--raw", "lost", "--out", "data"], {}),
    "raw other": (
        "RawDataError",
        folder("raw/a.txt"),
        ["data", "build", "arctic", "--raw", "raw", "--out", "data"],
        {},
    ),
    "run none": ("CheckpointError", NOTHING, generate("--run", "lost"), {}),
    "run narrow": ("CheckpointError", narrow, generate("--run", "run"), {}),
    "text empty": ("TextError", NOTHING, ["refine", "..."], {}),
    "clip none": ("TextError", NOTHING, ["clip"], {"HOI_CLIP": "lost", "HF_HUB_OFFLINE": "1"}),
    "llm key": ("ConfigError", NOTHING, ["refine", "Pour the mug.", "--with", "llm"], {}),
    "llm silent": (
        "TextError",
        NOTHING,
        ["refine", "Pour the mug.", "--with", "llm", "--url", "http://127.0.0.1:9/v1"],
        {"HOI_LLM_KEY": "none"},
    ),
    "set unknown": ("ConfigError", NOTHING, ["train", "--set", "stepps=10", "--out", "run"], {}),
    "set bare": ("ConfigError", NOTHING, ["train", "--set", "steps", "--out", "run"], {}),
    "profile": ("ConfigError", NOTHING, ["profile"], {}),
    "record none": ("RecordError", NOTHING, ["record"], {}),
    "run taken": ("OutputError", folder("run/run.json"), ["taken"], {}),
}


def shown(name: str, monkeypatch, where: Path) -> str:
    """The message of one case, played in a folder of its own."""
    family, prepare, command, variables = CASES[name]
    where.mkdir()
    monkeypatch.chdir(where)
    for variable in (
        "DEEPSEEK_API_KEY",
        "OPENAI_API_KEY",
        "HOI_LLM_KEY",
        "HOI_LLM_URL",
        "HOI_LLM_MODEL",
        "HOI_MANO_DIR",
    ):
        monkeypatch.delenv(variable, raising=False)
    for key, value in {"HOI_CACHE": str(where / "cache"), **variables}.items():
        monkeypatch.setenv(key, value)
    prepare()
    seen: list[errors.HoiError] = []
    monkeypatch.setattr(cli, "complain", lambda words: 2)
    monkeypatch.setattr(cli, "_report", lambda error, debug: seen.append(error) or 2)
    monkeypatch.setattr("hoi_lib.llm.LONGEST_PAUSE", 0.0)
    if len(command) == 1:
        with pytest.raises(errors.HoiError) as caught:
            python(command[0])
        seen.append(caught.value)
    else:
        with pytest.raises(SystemExit):
            cli.main(command)
    assert seen and isinstance(seen[0], errors.HoiError), seen
    assert isinstance(seen[0], getattr(errors, family)), type(seen[0])
    return LEADS.sub("", " ".join(str(seen[0]).split()))


def python(what: str) -> None:
    """What a notebook does instead of a command."""
    if what == "clip":
        from hoi_lib.encoders import load_encoder

        load_encoder("clip").encode(["Pour the mug."])
    elif what == "profile":
        from hoi_lib import profiles

        profiles.get("large")
    elif what == "taken":
        from hoi_lib import runs
        from hoi_lib.data import ClipStore
        from hoi_lib.trainconfig import TrainConfig

        with mock.patch.multiple(runs, plain=lambda config: {}, data_of=lambda store: {}):
            runs.open_run(mock.Mock(spec=TrainConfig), mock.MagicMock(spec=ClipStore), Path("run"), resume=False)
    else:
        from hoi_lib import records

        records.load("lost.json")


def quoted() -> list[str]:
    """The messages on the page, each on one line."""
    return [" ".join(words.split()).removeprefix("hoi: ") for words in QUOTED.findall(PAGE.read_text(encoding="utf-8"))]


def pattern(words: str) -> str:
    """A quoted message as a pattern: an ellipsis stands for what differs from machine to machine."""
    return ".*".join(re.escape(part.strip()) for part in words.split("[…]"))


@pytest.mark.parametrize("name", CASES)
def test_a_message_of_the_library_stands_on_the_page_once(name, monkeypatch, tmp_path):
    message = shown(name, monkeypatch, tmp_path / "here")
    assert sum(bool(re.fullmatch(pattern(words), message)) for words in quoted()) == 1, message


def test_no_message_on_the_page_is_left_without_a_case():
    assert len(quoted()) == len(CASES) == len(set(quoted()))


def test_every_kind_of_error_is_on_the_page_with_a_message():
    kinds = {kind.__name__ for kind in errors.HoiError.__subclasses__() if kind.__module__ == errors.__name__}
    assert {family for family, *_ in CASES.values()} == kinds
    assert not [kind for kind in kinds if kind not in PAGE.read_text(encoding="utf-8")]


def test_every_part_that_the_doctor_looks_at_is_in_the_table():
    parts = re.findall(r'^ +\("([a-z ]+)", ', inspect.getsource(doctor.examine), re.M)
    table = PAGE.read_text(encoding="utf-8").partition("(trouble-install)=")[0]
    rows = re.findall(r"^\| ([a-z ,]+) \|", table, re.M)[1:]
    assert parts == ", ".join(rows).split(", ")
