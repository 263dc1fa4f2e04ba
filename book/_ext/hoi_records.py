"""Numbers from run records in prose, and the page that shows every record.

``{record}`laptop_validation:metrics.cr | .3f``` prints that value and links to the record's section of the appendix.
Right of ``|`` may stand a factor (``*1000``), a Python format and a unit, in this order. A record, path or format that
does not work is a warning, and with ``-W`` an error, that names it.
"""

from __future__ import annotations

import json
import re

from docutils import nodes
from hoi_nodes import folded, table
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective, SphinxRole

from hoi_lib import records
from hoi_lib.errors import RecordError

log = logging.getLogger(__name__)
PAGE = "book/appendices/run_records"
TEXT = re.compile(r"^\s*(?P<name>[\w-]+)\s*:\s*(?P<key>[^|]+?)\s*(?:\|\s*(?P<how>.*?))?\s*$")
HOW = re.compile(r"^(?:\*(?P<factor>[\d.eE+-]+)\s*)?(?P<format>[^\s]*)?(?:\s+(?P<unit>.+))?$")


def load_all(app) -> dict:
    """Every record of this build, read once; a record that does not validate is a warning of its own."""
    if not hasattr(app, "hoi_records"):
        app.hoi_records = {}
        for path in sorted((app.srcdir / "book" / "records").glob("*.json")):
            try:
                app.hoi_records[path.stem] = records.load(path)
            except RecordError as error:
                log.warning("%s", error)
    return app.hoi_records


def insert(found: dict, text: str) -> tuple[str, str]:
    """(record name, formatted value) for the text of a role; raises ``ValueError`` that names what is wrong."""
    match = TEXT.match(text)
    if not match:
        raise ValueError(f"record {text!r}: expected NAME:path.of.value, then optionally | FORMAT")
    name, key, how = match["name"], match["key"], match["how"] or ""
    if name not in found:
        raise ValueError(f"record {name!r} is not in book/records; there are: {', '.join(found) or 'none'}")
    try:
        value = records.value(found[name], key)
    except RecordError as error:
        raise ValueError(error.what) from None
    return name, show(value, how, f"{name}:{key}")


def show(value, how: str, where: str) -> str:
    """``value`` in the given format; numbers without one get three significant digits."""
    factor, spec, unit = HOW.match(how).groups()
    try:
        if factor:
            value = value * float(factor)
        if isinstance(value, float) and not spec:
            spec = ".3g"
        text = format(value, spec or "")
    except (TypeError, ValueError) as error:
        raise ValueError(f"record {where}: {value!r} does not fit the format {how!r} ({error})") from None
    return text.replace("-", "\u2212") + (f"\u00a0{unit}" if unit else "")


class RecordRole(SphinxRole):
    """The role ``record``."""

    def run(self):
        """Return the formatted value as a link to its record."""
        self.env.note_dependency(str(self.env.app.srcdir / "book" / "records"))
        try:
            name, text = insert(load_all(self.env.app), self.text)
        except ValueError as error:
            log.warning("%s", error, location=self.get_location())
            return [nodes.inline(self.text, f"[{self.text}]", classes=["hoi-missing"])], []
        self.env.note_dependency(str(self.env.app.srcdir / "book" / "records" / f"{name}.json"))
        _used(self.env).setdefault(self.env.docname, set()).add(name)
        target = self.env.app.builder.get_relative_uri(self.env.docname, PAGE) + f"#record-{slug(name)}"
        link = nodes.reference(self.text, text, refuri=target, internal=True, classes=["hoi-record"])
        link["reftitle"] = f"from the record {name}"
        return [link], []


class RunRecords(SphinxDirective):
    """The directive ``run-records``: one section for every record in ``book/records``."""

    def run(self):
        """Return the sections."""
        found = load_all(self.env.app)
        self.env.note_dependency(str(self.env.app.srcdir / "book" / "records"))
        for name in found:
            self.env.note_dependency(str(self.env.app.srcdir / "book" / "records" / f"{name}.json"))
        if not found:
            return [nodes.paragraph(text="No record has been committed yet.")]
        return [_section(name, record) for name, record in found.items()]


def slug(name: str) -> str:
    """A record's name as an anchor."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def _section(name: str, record: dict) -> nodes.section:
    section = nodes.section(ids=[f"record-{slug(name)}"], names=[name])
    section += nodes.title(text=name)
    code, hardware = record["code"], record["hardware"]
    commit = f"commit {code['commit'][:10]}" if code.get("commit") else f"version {code['version']}"
    commit += " with local changes" if code.get("dirty") else ""
    rows = [
        ("made by", nodes.literal(text=record["command"].replace("__main__.py", "hoi", 1))),
        ("on", f"{record['created'][:10]}, {commit}"),
        ("grade of sameness", record["sameness"]),
        ("seeds", ", ".join(map(str, record["seeds"]))),
        ("data", f"{record['data']['profile']}, fingerprint {str(record['data']['fingerprint'])[:16]}"),
        ("hardware", _hardware(hardware)),
        ("took", f"{record['wall_time_s']:.0f} s, {record['peak_memory_mb'] / 1000:.1f} GB"),
    ]
    if record.get("rule"):
        rows.append(("selection rule", record["rule"]))
    section += table([], rows)
    whole = {key: entry for key, entry in record["metrics"].items() if "/" not in key}
    if whole:
        section += table(["metric", "value", "spread", "n"], [(key, *_metric(entry)) for key, entry in whole.items()])
    parts = {key: entry for key, entry in record["metrics"].items() if "/" in key}
    if parts:
        verbs = {key: entry for key, entry in parts.items() if "/verb/" in f"/{key}"}
        rest = {key: entry for key, entry in parts.items() if key not in verbs}
        section += folded("By part", *_by_part(parts)) if whole else _by_part(rest)
        if verbs and not whole:
            section += folded("By verb", *_by_part(verbs))
    for note in record["notes"]:
        section += nodes.paragraph(text=note)
    config = json.dumps({"config": record["config"], "packages": record["packages"]}, indent=1, ensure_ascii=False)
    section += folded("Configuration and versions", nodes.literal_block(config, config, language="json"))
    return section


def _hardware(hardware: dict) -> str:
    gpu = hardware.get("gpu") or "no GPU"
    return f"{hardware.get('cpu', 'unknown processor')}, {hardware.get('threads', '?')} threads, {gpu}"


def _metric(entry: dict) -> tuple[str, str, str]:
    value = f"{entry['value']:.4g}" + (f" {entry['unit']}" if entry["unit"] not in ("", "1") else "")
    spread = "one run" if entry["spread"] is None else f"± {entry['spread']:.2g}"
    return value, spread, str(entry["n"])


def _by_part(metrics: dict) -> list[nodes.table]:
    """Metrics named "part/what": one table for the parts of which the same was measured, so that no cell is empty."""
    parts: dict[str, dict[str, str]] = {}
    for key, entry in metrics.items():
        part, _, what = key.rpartition("/")
        parts.setdefault(part, {})[what] = _metric(entry)[0]
    alike: dict[tuple[str, ...], list[str]] = {}
    for part, measured in parts.items():
        alike.setdefault(tuple(measured), []).append(part)
    return [_grid({part: parts[part] for part in names}, what) for what, names in alike.items()]


def _grid(parts: dict[str, dict[str, str]], what: tuple[str, ...]) -> nodes.table:
    """Parts down and measures across, or the other way round where there are many more measures than parts."""
    parts = {part.replace("/", "/\u200b"): measured for part, measured in parts.items()}  # may break behind a slash
    if len(what) > 2 * len(parts):
        return table(["", *parts], [(name, *(measured[name] for measured in parts.values())) for name in what])
    return table(["", *what], [(part, *(measured[name] for name in what)) for part, measured in parts.items()])


def _used(env) -> dict[str, set[str]]:
    if not hasattr(env, "hoi_used_records"):
        env.hoi_used_records = {}
    return env.hoi_used_records


def used_records(env, docname: str) -> list[str]:
    """The records whose numbers stand on a page."""
    return sorted(_used(env).get(docname, ()))


def purge(app, env, docname) -> None:
    """Forget what a page used before it is read again."""
    _used(env).pop(docname, None)


def merge(app, env, docnames, other) -> None:
    """Bring together what parallel readers found."""
    _used(env).update({d: _used(other)[d] for d in docnames if d in _used(other)})


def setup(app) -> dict:
    """Register with Sphinx."""
    app.add_role("record", RecordRole())
    app.add_directive("run-records", RunRecords)
    app.connect("env-purge-doc", purge)
    app.connect("env-merge-info", merge)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
