"""The commands of ``hoi data`` that deal with downloads: unpack them, and read them into a store."""

from __future__ import annotations

import os
from pathlib import Path

import click

from hoi_lib.clitools import complain, example, setting
from hoi_lib.errors import ConfigError

RECORDED = ("arctic", "grab", "h2o", "text2hoi", "own")  # sets that are read from a download


@click.command("unpack")
@click.argument("archives", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The new folder, for --raw of build.")
@example("hoi data unpack downloads/grab__*.zip downloads/tools__*.zip --out raw/grab")
def unpack(archives: tuple[Path, ...], out: Path) -> None:
    """Unpack downloaded ARCHIVES (.zip, .tar, .tar.gz, …) into one folder.

    Nothing is written outside that folder, links are refused, and a damaged archive leaves nothing behind.
    """
    from hoi_lib.data.archives import unpack as into

    folder = into(archives, out)
    files = sum(path.is_file() for path in folder.rglob("*"))
    click.echo(f"{files} files of {len(archives)} archives in {folder}")


def build_recorded(
    name: str, raw: Path | None, out: Path, val: tuple[str, ...], options: tuple[str, ...], workers: int | None
) -> None:
    """Read the downloaded set ``name``; ends with exit code 1 where sequences were skipped."""
    from hoi_lib.data import ingest

    if raw is None:
        raise ConfigError(f"{name} is read from its download.", f"Pass --raw with the {name} folder.")
    settings = dict(setting(pair, "--option") for pair in options)
    report = ingest.build(name, raw, out, workers=workers, options=settings, val=val)
    if name != "own" and not os.environ.get("HOI_MANO_DIR"):
        click.echo(
            "note: recorded with MANO, but HOI_MANO_DIR is not set: these poses move the stand-in hand.", err=True
        )
    click.echo(f"{report.clips} clips in {out}, fingerprint {report.store.fingerprint[:16]}")
    if report.skipped:
        kept = f".{out.name}.partial keeps what was read for a next build"
        complain(f"{len(report.skipped)} of {report.sequences} sequences were skipped, some or all of each; {kept}.")
        click.get_current_context().exit(1)
