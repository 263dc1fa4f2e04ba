"""The command line ``hoi``: thin commands over the library, each with an example in its ``--help``.

Bad input ends with one clear line and exit code 2; ``--debug`` shows the traceback behind it. Modules are imported
inside the commands, so that ``hoi --help`` answers at once.
"""

from __future__ import annotations

import errno
import os
import sys
import traceback
from pathlib import Path

import click
from click.core import ParameterSource

from hoi_lib import __version__, profiles
from hoi_lib.clitools import PROFILE, complain, example, progress, setting, table
from hoi_lib.datacommands import RECORDED, build_recorded, unpack
from hoi_lib.errors import ConfigError, HoiError, OutputError


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="hoi")
@click.option("--debug", is_flag=True, help="Show the traceback behind an error.")
def app(debug: bool) -> None:
    """Hands, Objects, Experts: data, training, generation and evaluation of hand-object motion.

    \b
    Start here:
      hoi doctor
      hoi generate --text "Pour the bottle with right hand." --object mesh.obj --out result
    """


@app.group()
def data() -> None:
    """Build and check data sets."""


@data.command("build")
@click.argument("name", type=click.Choice(["synthetic", "held-out", *RECORDED]))
@click.option("--raw", type=click.Path(path_type=Path), help="The downloaded folder, for a recorded set.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the new data set.")
@click.option("--val", multiple=True, metavar="SUBJECT", help="Validate with this training subject; may be repeated.")
@click.option("--option", "options", multiple=True, metavar="KEY=VALUE", help="An option of the set's reader.")
@PROFILE
@click.option("--seed", default=0, show_default=True, help="Same seed, same bytes.")
@click.option("--workers", default=None, type=click.IntRange(1), help="Processes; all cores by default.")
@example(
    "hoi data build synthetic --profile laptop --out data/laptop",
    "hoi data build arctic --raw downloads/arctic --val s05 --out data/arctic",
)
def data_build(
    name: str,
    raw: Path | None,
    out: Path,
    val: tuple[str, ...],
    options: tuple[str, ...],
    profile: str,
    seed: int,
    workers: int | None,
) -> None:
    """Build the data set NAME into a folder.

    "synthetic" is the set that models learn from, in the size of the profile; "held-out" shows the twenty shapes that
    it leaves out, in one size, all of them for the test. The others are read from --raw, the folder as downloaded
    ("own": your own .npz files); a build that was stopped goes on where it was. What cannot be read is skipped and
    named; the exit code is 0 when all was read, 1 when some was skipped, 2 when nothing was written.
    """
    from hoi_lib.data import held_out, synthetic

    if name in RECORDED:
        return build_recorded(name, raw, out, val, options, workers)
    if raw or val or options:
        raise ConfigError(f"{name} is made, not read: it takes no --raw, --val or --option.")
    if name == "held-out":
        store = held_out.build(out, seed=seed, workers=workers, progress=True)
    else:
        store = synthetic.build(out, profiles.get(profile), seed=seed, workers=workers, progress=True)
    click.echo(f"{len(store)} clips in {out}, fingerprint {store.fingerprint[:16]}")


data.add_command(unpack)


@data.command("check")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--pictures", type=click.Path(path_type=Path), metavar="FILE.html", help="Also write a page of clips.")
@example("hoi data check data/laptop --pictures laptop.html")
def data_check(folder: Path, pictures: Path | None) -> None:
    """Measure a data set, look for missed conventions, and fail when a figure misses its bound."""
    from hoi_lib.data import check, load

    if pictures is not None:
        from hoi_lib.data import gallery

        gallery.prepare(pictures)
    rows = check(folder)
    click.echo(table(["figure", "value", "bound", ""], [(*row[:3], row.verdict) for row in rows]))
    for row in rows:
        if row.detail:
            click.echo(f"{row.name}: {row.detail}")
    if pictures is not None:
        shown = gallery.write(load(folder, verify=False), pictures, rows)
        click.echo(f"wrote {pictures}: {shown} clips")
    missed = [row.name for row in rows if row.ok is False]
    if missed:
        raise HoiError(f"{folder}: {len(missed)} of {len(rows)} figures missed: {', '.join(missed)}.")


@data.command("export")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of data.npz and its companions.")
@click.option("--as", "flavour", type=click.Choice(["arctic", "grab", "h2o"]), help="Whose fields; its own, or arctic.")
@example("hoi data export data/laptop --out exported --as arctic")
def data_export(folder: Path, out: Path, flavour: str | None) -> None:
    """Write a data set as Text2HOI's processed files; "hoi data build text2hoi" reads them back."""
    from hoi_lib.data import load, text2hoi

    store = load(folder)
    text2hoi.write(out, store, flavour=flavour, progress=True)
    click.echo(f"wrote {out}: {len(store)} clips")


@app.group()
def mano() -> None:
    """Work with MANO files."""


@mano.command("convert")
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The .npz to write.")
@example("hoi mano convert MANO_RIGHT.pkl --out mano/MANO_RIGHT.npz")
def mano_convert(source: Path, out: Path) -> None:
    """Convert a MANO pickle, as downloaded, to .npz without running anything that is in it."""
    from hoi_lib.manofile import convert

    convert(source, out)
    click.echo(f"wrote {out}; use it with HOI_MANO_DIR={out.parent}")


@app.command()
@click.argument("text", required=False)
@click.option(
    "--with",
    "method",
    type=click.Choice(["rules", "llm", "file"]),
    default="rules",
    show_default=True,
    help="Tables; a language model (key in DEEPSEEK_API_KEY, OPENAI_API_KEY or HOI_LLM_KEY); or a JSON.",
)
@click.option("--file", "path", type=click.Path(path_type=Path), help="JSON of refined texts, for --with file.")
@click.option("--hand", type=click.Choice(["left", "right"]), help="Whose text; by default the hand that TEXT names.")
@click.option("--model", help="Model for --with llm; else HOI_LLM_MODEL, else deepseek-chat.")
@click.option("--url", help="OpenAI-compatible address for --with llm; else HOI_LLM_URL, else DeepSeek's.")
@click.option("--data", "folder", type=click.Path(path_type=Path), help="Refine a data set; a stopped call goes on.")
@click.option("--out", type=click.Path(path_type=Path), help="The JSON to write, for --data; --file reads it.")
@example('hoi refine "Pour the bottle with right hand."')
def refine(
    text: str | None,
    method: str,
    path: Path | None,
    hand: str | None,
    model: str | None,
    url: str | None,
    folder: Path | None,
    out: Path | None,
) -> None:
    """Refine a sentence, or all captions of a data set, into descriptions for hand, finger and joint."""
    from hoi_lib import refiner

    if (text is None) == (folder is None) or (folder is None) != (out is None):
        raise ConfigError("refine takes a sentence, or --data and --out.", 'For example hoi refine "Pour the bottle."')
    refining = refiner.refiner_for(method, path, model, url)
    if text is not None:
        for level, line in vars(refining(text, hand)).items():
            click.echo(f"{click.style(f'{level:6}', bold=True)}  {line}")
        return
    from hoi_lib import data as datasets

    store = datasets.load(folder)
    written, failed = refiner.refine_clips(store.table, refining, out, store.source)
    click.echo(f"wrote {out}: {written} texts for {len(store)} clips")
    if failed:
        first = next(iter(failed.values())).what
        raise HoiError(
            f"{len(failed)} texts are missing in {out}; the first: {first}", "Run it again: the rest is kept."
        )


@app.command()
@click.option("--data", "folder", type=click.Path(path_type=Path), help="Data set; the embedded one by default.")
@click.option(
    "--preset",
    default="recommended",
    show_default=True,
    help="A network: recommended, paper, release, hollow; or the paper's network and training on a real set: "
    "paper_arctic, paper_grab, paper_h2o.",
)
@click.option("--ablation", metavar="ROW", help='Row of the paper\'s Tables 2 and 3, such as "w/o action router".')
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change one setting, such as epochs=50, data_sampler=balanced or width=256; may be repeated.",
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Run folder.")
@click.option("--resume", is_flag=True, help="Continue a run that was stopped.")
@PROFILE
@click.pass_context
@example("hoi train --profile laptop --data data/laptop --set steps=2000 --out runs/first")
def train(
    context: click.Context,
    folder: Path | None,
    preset: str,
    ablation: str | None,
    settings: tuple[str, ...],
    out: Path,
    resume: bool,
    profile: str,
) -> None:
    """Train a denoiser and write its run record.

    A preset of a real set brings its epochs, batch, optimiser and sampler, and is as large as the paper's network
    unless --profile or HOI_PROFILE says otherwise.
    """
    from hoi_lib import data as datasets
    from hoi_lib.data.protocols import PROTOCOLS
    from hoi_lib.train import config_for
    from hoi_lib.train import train as run

    if preset in PROTOCOLS:
        if folder is None:
            raise ConfigError(f"the preset {preset} is for a real set.", "Pass --data with the folder of its build.")
        if context.get_parameter_source("profile") is ParameterSource.DEFAULT and "HOI_PROFILE" not in os.environ:
            profile = "full"
    config = config_for(preset, profiles.get(profile), dict(setting(s) for s in settings), ablation)
    store = datasets.load(folder) if folder else datasets.default(profile)
    first = os.environ.get("RANK", "0") == "0"  # say it once, however many processes
    if first and not store.subset("val"):
        click.echo(f"note: {folder} holds no validation subject: no validation losses.")
    record = run(config, store, out, resume=resume)
    if first:
        click.echo(f"trained in {record['wall_time_s'] / 60:.1f} minutes: {out}")


@app.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--data", "folder", type=click.Path(path_type=Path), help="Data set; the embedded one by default.")
@click.option("--split", type=click.Choice(["train", "val", "test"]), default="test", show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--guide", is_flag=True, help="Let contact and penetration steer the sampling.")
@click.option(
    "--windows",
    type=click.Choice(["first", "tiled"]),
    default="first",
    show_default=True,
    help="Of a clip over 150 frames: its first 150, or all windows of 150 side by side.",
)
@click.option("--record", "path", type=click.Path(path_type=Path), help="Where to write the record; RUN by default.")
@example("hoi evaluate runs/first --data data/laptop --split test")
def evaluate(
    run: Path, folder: Path | None, split: str, seed: int, guide: bool, windows: str, path: Path | None
) -> None:
    """Measure a trained run on fixed windows and write a record."""
    from hoi_lib import data as datasets
    from hoi_lib.evaluate import evaluate as measure
    from hoi_lib.evaluate import format_table
    from hoi_lib.sampling import load_denoiser

    load_denoiser(run)
    store = datasets.load(folder) if folder else datasets.default()
    kind = ("_guided" if guide else "") + ("_tiled" if windows == "tiled" else "")
    out = path or run / f"evaluation_{split}{kind}.json"
    record = measure(run, store, split=split, seed=seed, out=out, guide=guide, windows=windows)
    click.echo(format_table(record))


@app.command()
@click.option("--text", required=True, help="What the hand shall do.")
@click.option(
    "--object",
    "source",
    type=click.Path(path_type=Path),
    required=True,
    help="Any mesh that trimesh reads, or the name of a catalogue object, such as mug_medium.",
)
@click.option("--scale", type=float, help="Metres per unit of the mesh file; guessed when left out.")
@click.option(
    "--trajectory",
    type=click.Path(path_type=Path),
    help=".npz with t, R (or rot6d), angle; made from the text if none.",
)
@click.option("--hand", type=click.Choice(["left", "right", "both"]), help="Overrides the hand named in the text.")
@click.option("--run", type=click.Path(path_type=Path), help="A trained run; the shipped checkpoint by default.")
@click.option("--seed", default=0, show_default=True, help="Another seed, another motion.")
@click.option("--steps", default=50, show_default=True, type=click.IntRange(1, 1000), help="DDIM steps.")
@click.option(
    "--guide/--no-guide",
    default=None,
    help="Let contact and penetration steer the sampling; unasked, for every object outside the catalogue.",
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for the four results.")
@example('hoi generate --text "Pour the bottle with right hand." --object mesh.obj --out result')
def generate(text, source, scale, trajectory, hand, run, seed, steps, guide, out) -> None:
    """Generate a hand motion for a sentence and a mesh: motion.npz, .glb, .html and .gif."""
    from hoi_lib import generate as generation
    from hoi_lib.text import parse

    parse(text)
    folder = generation.output_folder(out)
    model = generation.object_for(source, scale)
    path = generation.read_trajectory(trajectory) if trajectory else None
    guided = generation.is_guided(model, guide)
    with progress(2 * steps if guided else steps, "sampling") as bar:
        clip, notes = generation.generate(text, model, path, hand, run, seed, steps, lambda _: bar.update(1), guided)
    for note in [*model.notes, *notes]:
        click.echo(f"note: {note}")
    for name, seconds in generation.write_results(clip, model, folder):
        click.echo(f"wrote {folder / name} ({seconds:.1f} s)")
    click.echo(generation.summary(clip, model))


@app.command()
@click.option("--quick", is_flag=True, help="Under a minute: fewer rounds, fewer steps, no compiling, no memory.")
@click.option("--only", multiple=True, metavar="NAME", help="Measure this alone (executor, sampling, …); repeatable.")
@click.option("--record", "path", type=click.Path(path_type=Path), help="Write the figures as a run record.")
@example("hoi bench --only executor --only sampling")
def bench(quick: bool, only: tuple[str, ...], path: Path | None) -> None:
    """Measure what the library's short cuts save, what a training step spends, and how large the networks are."""
    from hoi_lib import bench as measuring
    from hoi_lib import records

    report = measuring.run(only, quick)
    for part in measuring.tables(report.figures):
        click.echo(f"\n{click.style(part.title, bold=True)}\n{table(part.header, part.rows)}")
    click.echo(f"\nbefore: {report.before}; after: {report.after}; {report.wall_time_s:.0f} s")
    if path is not None:
        click.echo(f"wrote {records.write(measuring.record(report), path)}")


@app.command()
@example("hoi doctor")
def doctor() -> None:
    """Check this installation and say what is missing and what that costs."""
    from hoi_lib.doctor import examine

    rows = examine()
    click.echo(table(["part", "state", ""], rows))
    if any(row[2] == "BROKEN" for row in rows):
        raise HoiError("this installation is broken; see the rows above.", "Run make setup again.")


def main(arguments: list[str] | None = None) -> None:
    """Run ``hoi`` and exit: 0 done, 2 bad input (one line on standard error), 130 interrupted, 1 a bug of ours."""
    arguments = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in arguments  # accepted anywhere on the line
    try:
        code = app.main(args=[a for a in arguments if a != "--debug"], prog_name="hoi", standalone_mode=False) or 0
    except Exception as error:
        code = _report(error, debug)
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)


def _report(error: Exception, debug: bool) -> int:
    """Print one clear line for ``error`` and return the exit code."""
    if debug:
        traceback.print_exception(error)
    if isinstance(error, click.Abort):
        return 130
    if isinstance(error, click.exceptions.Exit):
        return error.exit_code
    if isinstance(error, click.ClickException):
        return complain(f"{error.format_message()} Try hoi --help.")
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT):
        error = OutputError(f"{error.filename or 'output'}: {os.strerror(error.errno)}.", "Free space or choose --out.")
    if isinstance(error, HoiError):
        return complain(str(error))
    complain(f"internal error: {type(error).__name__}: {error}. Run again with --debug and report it.")
    return 1
