"""The API reference: every public name of the modules it takes apart once, none without words, every command of hoi."""

from __future__ import annotations

import importlib
import inspect
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import click
import pytest

ROOT = Path(__file__).resolve().parents[2]
EXTENSIONS = ROOT / "book" / "_ext"
sys.path.insert(0, str(EXTENSIONS))
import hoi_api  # noqa: E402
import hoi_docstrings  # noqa: E402

from hoi_lib.cli import app  # noqa: E402

MODULES = [name for _, taught in hoi_api.GROUPS.values() for name in taught]


def build(folder: Path, page: str, before: str = "") -> tuple[int, str, str]:
    """Build a page with Sphinx, warnings as errors: (exit code, page, what was said)."""
    folder.joinpath("index.md").write_text(f"# A page\n\n{page}\n", encoding="utf-8")
    folder.joinpath("conf.py").write_text(
        f"import sys\nsys.path.insert(0, {str(EXTENSIONS)!r})\n{before}\n"
        "extensions = ['myst_parser', 'hoi_api']\nhtml_theme = 'basic'\n"
    )
    command = [sys.executable, "-m", "sphinx", "-q", "-n", "-W", "--keep-going", ".", "out"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240)
    html = folder / "out" / "index.html"
    return done.returncode, html.read_text(encoding="utf-8") if html.exists() else "", done.stderr


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> str:
    """The whole reference as HTML, built without a warning."""
    words = "```{api-reference}\n```\n\n(command-line)=\n## Command line\n\n```{command-line}\n```"
    code, html, said = build(tmp_path_factory.mktemp("api"), words)
    assert code == 0, said
    return html


def public(name: str) -> set[str]:
    """The functions and classes that a module defines, and what its classes define, found by importing it."""
    module, found = importlib.import_module(f"hoi_lib.{name}"), set()
    for key, thing in vars(module).items():
        thing = inspect.unwrap(thing) if callable(thing) else thing
        defined = inspect.isroutine(thing) or inspect.isclass(thing)
        if not defined or thing.__module__ != module.__name__ or key.startswith("_") or key != thing.__name__:
            continue
        found.add(key)
        if inspect.isclass(thing):
            written = re.findall(r"^    def ([a-z]\w*)\(", inspect.getsource(thing), re.M)
            found |= {f"{key}.{member}" for member in written}
    return found


@pytest.mark.parametrize("name", MODULES)
def test_every_public_name_of_a_module_stands_on_the_page_once(name, page):
    entries = [e for top in hoi_docstrings.read(hoi_api.LIBRARY, name).entries for e in top.all()]
    assert public(name) <= {e.name for e in entries}
    counts = Counter(re.findall(r'id="([\w-]+)"', page))
    assert {e.anchor: counts[e.anchor] for e in entries} == {e.anchor: 1 for e in entries}
    assert len({e.anchor for e in entries}) == len(entries), "two names with one anchor"


def test_every_name_has_words():
    entries = [e for name in MODULES for top in hoi_docstrings.read(hoi_api.LIBRARY, name).entries for e in top.all()]
    assert not [f"{e.module}.{e.name}" for e in entries if not e.doc]


def test_every_module_of_the_library_stands_on_the_page_once(page):
    assert len(set(MODULES)) == len(MODULES)
    rest = page.partition('id="api-inside"')[2].partition("</section>")[0]
    listed = re.findall(r'<span class="pre">([\w.]+)</span>', rest)
    assert sorted([*MODULES, *listed]) == sorted(hoi_docstrings.names(hoi_api.LIBRARY))


def test_the_page_is_light_and_its_links_lead_somewhere(page):
    assert len(page) < 3_000_000
    assert set(re.findall(r'href="#([\w-]+)"', page)) <= set(re.findall(r'id="([\w-]+)"', page))


def test_a_signature_carries_shapes_and_a_printed_equation_is_named():
    found = {e.name: e for e in hoi_docstrings.read(hoi_api.LIBRARY, "losses").entries}
    assert "Float[Tensor," in found["contact_loss"].signature and 13 in found["contact_loss"].numbers


@pytest.mark.parametrize("words, command", [(w, c) for w, c, _ in hoi_api.commands(app, click)], ids=lambda x: str(x))
def test_every_command_stands_on_the_page_with_all_of_its_options(words, command, page):
    section = page.partition(f'id="cli-{words.replace(" ", "-")}"')[2].partition('<section id="cli-')[0]
    assert section, "no section"
    options = [o for p in command.params if isinstance(p, click.Option) for o in p.opts]
    shown = re.sub(r"<[^>]+>", "", section)
    assert not [o for o in options if o not in shown]


PLANT = """
import hoi_api
from pathlib import Path
hoi_api.LIBRARY = Path('lib/hoi_lib').resolve()
hoi_api.GROUPS = {'One': ('words', {'one': '01'})}
"""


@pytest.mark.parametrize(
    "source, named",
    [
        ('"""One."""\n\ndef quiet() -> int:\n    return 1\n', "hoi_lib.one.quiet has no docstring"),
        (
            '"""One."""\n\nclass A:\n    """A."""\n\n    def b(self): ...\n',
            "hoi_lib.one.A.b has no docstring",
        ),
        ('"""One."""\n\ndef torn():\n    """An **open mark."""\n', "hoi_lib.one.torn"),
        (None, "there is no module hoi_lib.one"),
    ],
)
def test_a_name_without_words_and_a_module_that_is_gone_fail_the_build(source, named, tmp_path):
    library = tmp_path / "lib" / "hoi_lib"
    library.mkdir(parents=True)
    if source is not None:
        (library / "one.py").write_text(source)
    code, _, said = build(tmp_path, "```{api-reference}\n```", PLANT)
    assert code != 0 and named in said
