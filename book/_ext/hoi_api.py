"""The appendix "API reference": every public name of the modules that a reader takes, made from their docstrings.

``api-reference`` is the page's list of contents, one section a group and a table of all other modules;
``command-line`` every command of ``hoi`` as click knows it. A public name without a docstring, a docstring that is no
reStructuredText, and a module in :data:`GROUPS` that does not exist are warnings, and with ``-W`` errors, that name it.
"""

from __future__ import annotations

import io
import re
from collections import Counter
from html import escape
from inspect import cleandoc
from pathlib import Path

from docutils import nodes
from docutils.frontend import get_default_settings
from docutils.parsers.rst import Parser
from docutils.utils import new_document
from hoi_docstrings import Entry, Module, chapters_of, names, read, used_in
from hoi_nodes import folded, table
from sphinx import addnodes
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

import hoi_lib

log = logging.getLogger(__name__)
LIBRARY = Path(hoi_lib.__file__).parent
PAGE, EQUATIONS = "book/appendices/api", "book/appendices/equations"

# What a researcher comes for → (what it is for, {module: the chapters that teach it}).
GROUPS: dict[str, tuple[str, dict[str, str]]] = {
    "Metrics": (
        "Contact, penetration, jitter, placement and the distance between sets of motions, apart from any model.",
        {"metrics": "17", "distance": "13", "geometry": "13"},
    ),
    "Loaders": (
        "Clips of hands and objects, from the synthetic set or from a download, all as the same records.",
        {
            "motion": "04",
            "motionfile": "04",
            "data": "04",
            "data.store": "04",
            "data.splits": "04",
            "data.samples": "04",
            "data.synthetic": "04",
            "data.held_out": "04",
            "data.quality": "04",
            "data.conventions": "04b",
            "data.ingest": "04b",
            "data.arctic": "04b",
            "data.grab": "04b",
            "data.h2o": "04b",
            "data.text2hoi": "04b",
            "data.text2hoi_export": "04b",
            "data.own": "04b",
            "data.archives": "04b",
            "data.published": "04b",
            "data.protocols": "04b",
        },
    ),
    "Hand": (
        "Rotations, the hand from its 99 numbers, MANO files and the stand-in for them.",
        {"rotations": "02", "hand": "03", "manofile": "03", "standin": "03"},
    ),
    "Objects": (
        "Meshes with or without a hinge, their surface points and distances, and the encoder of the points.",
        {"objects": "04 05", "meshfile": "05", "catalogue": "04", "random_shapes": "04", "pointnet": "05"},
    ),
    "Text": (
        "Sentences, the refiner that writes for hand, finger and joint, and the text encoders.",
        {
            "text": "06",
            "refiner": "06",
            "llm": "06",
            "encoders": "07",
            "textfeatures": "07",
            "clipencoders": "07",
        },
    ),
    "Losses": (
        "One function for each printed equation, the table that weighs them, and one training step of all.",
        {"losses": "12 13 14", "interaction": "13", "objective": "14"},
    ),
    "Routing and experts": (
        "Scorer, selector and balancer; the groups of experts; what a trained router does.",
        {"routing": "11", "selection": "09", "experts": "10", "activation": "11", "baselines.dit_moe": "18"},
    ),
    "Denoiser": (
        "The network, its parts, the presets that decide it, and what it costs.",
        {
            "denoiserconfig": "08",
            "denoiser": "08",
            "blocks": "08",
            "conditions": "07",
            "normaliser": "08",
            "costs": "08",
        },
    ),
    "Diffusion and sampling": (
        "Schedules, samplers, guidance, and the way from a sentence and a mesh to a moving hand.",
        {"diffusion": "01", "sampling": "16", "guidance": "16", "generate": "16"},
    ),
    "Training": (
        "A run from its settings to its last checkpoint.",
        {"profiles": "00", "trainconfig": "15", "train": "15", "feed": "15", "checkpoints": "15", "runs": "15"},
    ),
    "Evaluation and records": (
        "Measuring a run, writing down what came out, and telling whether two results are the same.",
        {
            "evaluate": "17",
            "records": "00",
            "sameness": "00",
            "equations": "00",
            "exercises": "00",
            "errors": "00",
            "doctor": "00",
            "bench": "15",
        },
    ),
    "Rendering and plots": (
        "Pictures, films, scenes to turn, and widgets that work without Python.",
        {
            "plots": "00",
            "drawables": "03",
            "scene": "03",
            "viewer": "03",
            "render": "03",
            "glb": "16",
            "widgets": "00",
            "diagrams": "00",
        },
    ),
}


class ApiReference(SphinxDirective):
    """The directive ``api-reference``: contents, groups, and the modules that are not taken apart."""

    def run(self):
        """Return the sections of the page."""
        self.env.note_dependency(__file__)
        book = Path(self.env.srcdir) / "book"
        self.pages, self.used = chapters_of(book), used_in(book)
        found = {name: read(LIBRARY, name) for name in self._existing()}
        self.anchors = {f"{m.name}.{e.name}": e.anchor for m in found.values() for top in m.entries for e in top.all()}
        short = [name.rpartition(".")[2] for name in self.anchors]
        alone = {n.rpartition(".")[2]: a for n, a in self.anchors.items() if short.count(n.rpartition(".")[2]) == 1}
        self.anchors = {**alone, **self.anchors, **{m.name: m.anchor for m in found.values()}}
        made = [_contents(found), *folded("All names, A to Z", _alphabet(found))]
        for group, (words, taught) in GROUPS.items():
            section = nodes.section(ids=[_slug(group)], names=[group])
            section += [nodes.title(text=group), nodes.paragraph(text=words)]
            section += [self._module(found[name], chapters) for name, chapters in taught.items() if name in found]
            made.append(section)
        return [*made, self._rest(found)]

    def _existing(self) -> list[str]:
        wanted = [name for _, taught in GROUPS.values() for name in taught]
        there = set(names(LIBRARY))
        for name in sorted(set(wanted) - there):
            log.warning("API reference: there is no module hoi_lib.%s", name, location=self.env.docname)
        return [name for name in wanted if name in there]

    def _module(self, module: Module, chapters: str) -> nodes.section:
        section = nodes.section(ids=[module.anchor], names=[f"hoi_lib.{module.name}"], classes=["hoi-api-module"])
        section += nodes.title(text=f"hoi_lib.{module.name}")
        line = nodes.paragraph(classes=["hoi-api-facts"])
        for i, chapter in enumerate(c for c in chapters.split() if self.pages.get(c) in self.env.found_docs):
            line += nodes.Text(", " if i else "taught in ")
            line += self._chapter(f"chapter {chapter.lstrip('0') or '0'}", chapter)
        source = module.path.relative_to(LIBRARY.parent).as_posix()
        line += [nodes.Text(" · source " if len(line) else "source "), nodes.literal(text=source)]
        section += [line, *self._prose(module.doc, f"hoi_lib.{module.name}", module.name)]
        section += [self._entry(entry) for entry in module.entries]
        return section

    def _entry(self, entry: Entry) -> nodes.container:
        where = f"hoi_lib.{entry.module}.{entry.name}"
        if not entry.doc:
            log.warning("API reference: %s has no docstring", where, location=self.env.docname)
        box = nodes.container(ids=[entry.anchor], classes=["hoi-api", f"hoi-api-{entry.kind}"])
        word = "" if entry.kind in ("function", "method") else f"<i>{entry.kind}</i> "
        shown = f"{word}<b>{escape(entry.name)}</b>{escape(entry.signature)}"
        link = f'<a class="headerlink" href="#{entry.anchor}" title="Link to {escape(entry.name)}">#</a>'
        box += nodes.raw("", f'<p class="hoi-sig"><code>{shown}</code>{link}</p>', format="html")
        box += self._prose(entry.doc, where, entry.module, entry.name.partition(".")[0])
        facts = self._facts(entry)
        box += [facts] if len(facts) else []
        box += [self._entry(member) for member in entry.members]
        return box

    def _facts(self, entry: Entry) -> nodes.paragraph:
        """Printed equations, and the chapters that take the name."""
        line = nodes.paragraph(classes=["hoi-api-facts"])
        for number in entry.numbers:
            line += [nodes.Text(" · " if len(line) else ""), self._equation(number)]
        used = [p for p in self.used.get((entry.module, entry.name), []) if p in self.env.found_docs]
        numbers = {page: number for number, page in self.pages.items()}
        shown = [numbers[page] for page in used if page in numbers]
        if shown:
            words = "used in chapters " if len(shown) > 1 else "used in chapter "
            line += nodes.Text((" · " if len(line) else "") + words)
        for i, number in enumerate(shown):
            line += [nodes.Text(", " if i else ""), self._chapter(number.lstrip("0") or "0", number)]
        return line

    def _equation(self, number: int) -> nodes.Node:
        words = f"MoEG-HOI Eq. {number}"
        if EQUATIONS not in self.env.found_docs:
            return nodes.Text(words)
        target = self.env.app.builder.get_relative_uri(self.env.docname, EQUATIONS) + f"#equation-moeg-hoi-{number}"
        return nodes.reference(text=words, refuri=target, internal=True)

    def _chapter(self, words: str, chapter: str) -> nodes.Node:
        """A link to a chapter by its number; the words alone while it is not there."""
        page = self.pages.get(chapter)
        if page not in self.env.found_docs:
            return nodes.Text(words)
        link = addnodes.pending_xref(
            "", refdomain="std", reftype="doc", reftarget=f"/{page}", refexplicit=True, refdoc=self.env.docname
        )
        link += nodes.inline(text=words)
        return link

    def _prose(self, doc: str, where: str, module: str, inside: str = "") -> list[nodes.Node]:
        """A docstring as nodes; the names in it that stand on this page are links."""
        settings = get_default_settings(Parser)
        settings.warning_stream, settings.report_level, settings.env = io.StringIO(), 5, self.env
        document = new_document(where, settings)
        Parser().parse(_tidied(doc), document)
        for wrong in document.findall(nodes.system_message):
            log.warning("API reference: %s: %s", where, wrong.astext(), location=self.env.docname)
        for role in list(document.findall(addnodes.pending_xref)):
            role.replace_self(self._link(role, module, inside))
        return list(document.children)

    def _link(self, role: addnodes.pending_xref, module: str, inside: str) -> nodes.Node:
        """A name in a docstring: a link where it stands on this page, else a literal."""
        target = role["reftarget"].removeprefix("hoi_lib.")
        near = (target, f"{module}.{target}", f"{module}.{inside}.{target}")
        anchor = next((self.anchors[name] for name in near if name in self.anchors), None)
        shown = nodes.literal(text=role.astext().removeprefix("hoi_lib."))
        return nodes.reference("", "", shown, refuri=f"#{anchor}", internal=True) if anchor else shown

    def _rest(self, found: dict[str, Module]) -> nodes.section:
        section = nodes.section(ids=["api-inside"], names=["Everything else"])
        said = "The machinery inside: these modules may change without notice. Their docstrings say the rest."
        section += [nodes.title(text="Everything else"), nodes.paragraph(text=said)]
        rows = []
        for name in (n for n in names(LIBRARY) if n not in found):
            doc = " ".join(read(LIBRARY, name).doc.split("\n\n")[0].split())
            first = re.sub(r":\w+:`~?([^`]+)`|``([^`]+)``", lambda m: m[1] or m[2], doc)
            rows.append((nodes.literal(text=name), first))
        section += [table(["module", "what it is for"], rows, "hoi-api-rest")] if rows else []
        return section


class CommandLine(SphinxDirective):
    """The directive ``command-line``: a section for every command of ``hoi``, from click."""

    def run(self):
        """Return the sections."""
        import click

        from hoi_lib.cli import app

        return [_command(words, command, context) for words, command, context in commands(app, click)]


def commands(app, click) -> list[tuple]:
    """(words, command, context) of ``hoi`` and everything below it."""
    found, waiting = [], [(("hoi",), app, None)]
    while waiting:
        words, command, parent = waiting.pop(0)
        context = click.Context(command, info_name=words[-1], parent=parent)
        found.append((" ".join(words), command, context))
        below = [((*words, n), c, context) for n, c in getattr(command, "commands", {}).items()]
        waiting = below + waiting
    return found


def _command(words: str, command, context) -> nodes.section:
    section = nodes.section(ids=["cli-" + words.replace(" ", "-")], names=[words], classes=["hoi-api-module"])
    section += nodes.title(text=words)
    context.terminal_width = context.max_content_width = 1000  # no line is broken, least of all inside a name
    usage = command.get_usage(context).removeprefix("Usage:")
    section += nodes.raw("", f'<p class="hoi-sig"><code>{escape(" ".join(usage.split()))}</code></p>', format="html")
    for part in re.split(r"\n\s*\n", cleandoc(command.help or "")):
        if part.startswith("\b"):
            head, *lines = part.strip("\b\n ").splitlines()
            text = "\n".join(line.strip() for line in lines)
            section += [nodes.paragraph(text=head), nodes.literal_block(text, text, language="bash")]
        elif part:
            section += nodes.paragraph("", "", _said(part))
    options = [p for p in command.get_params(context) if p.param_type_name == "option"]
    records = [r for p in options if (r := p.get_help_record(context))]
    rows = [(nodes.literal(text=option), _said(said)) for option, said in records if "--help" not in option]
    section += [table(["option", "what it does"], rows, "hoi-api-options")] if rows else []
    return section


def _said(text: str) -> nodes.inline:
    """Words of a help text; options in them keep their two dashes."""
    line = nodes.inline()
    for i, part in enumerate(re.split(r"(--[a-z][\w-]*)", " ".join(text.split()))):
        line += nodes.literal(text=part) if i % 2 else nodes.Text(part)
    return line


def _contents(found: dict[str, Module]) -> nodes.bullet_list:
    """The groups with their modules, each a link."""
    listed = nodes.bullet_list(classes=["hoi-api-contents"])
    for group, (_, taught) in GROUPS.items():
        line = nodes.paragraph()
        line += [nodes.reference(text=group, refuri=f"#{_slug(group)}", internal=True), nodes.Text(": ")]
        for i, name in enumerate(n for n in taught if n in found):
            link = nodes.reference("", "", nodes.literal(text=name), refuri=f"#{found[name].anchor}", internal=True)
            line += [nodes.Text(", " if i else ""), link]
        listed += nodes.list_item("", line)
    for title, anchor in (("Everything else", "api-inside"), ("Command line", "command-line")):
        link = nodes.reference(text=title, refuri=f"#{anchor}", internal=True)
        listed += nodes.list_item("", nodes.paragraph("", "", link))
    return listed


def _alphabet(found: dict[str, Module]) -> nodes.paragraph:
    """Every function, class and constant by its name, with its module where others have the same."""
    shared = Counter(entry.name for module in found.values() for entry in module.entries)
    line = nodes.paragraph(classes=["hoi-api-alphabet"])
    for entry in sorted((e for m in found.values() for e in m.entries), key=lambda e: (e.name.lower(), e.module)):
        line += [nodes.Text(" · " if len(line) else "")]
        shown = f"{entry.module}.{entry.name}" if shared[entry.name] > 1 else entry.name
        line += nodes.reference(text=shown, refuri=f"#{entry.anchor}", internal=True, reftitle=entry.module)
    return line


def _tidied(doc: str) -> str:
    """A docstring whose bars are bars and whose literals may be followed by letters; tables stay as they are."""
    if re.search(r"^\s*(\+[-=]|={3,} )", doc, re.M):
        return doc
    doc = re.sub(r"(``[^`]+``)(\w?)", lambda m: rf"{m[1]}\ {m[2]}" if m[2] else m[1], doc)
    return re.sub(r"(?<!`)\|(?!`)", r"\|", doc)


def _slug(text: str) -> str:
    return "api-group-" + re.sub(r"[^a-z0-9]+", "-", text.lower())


def setup(app) -> dict:
    """Register with Sphinx."""
    app.add_directive("api-reference", ApiReference)
    app.add_directive("command-line", CommandLine)
    app.add_css_file("api.css")
    app.connect("env-get-outdated", lambda app, env, *_: [PAGE] if PAGE in env.found_docs else [])
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
