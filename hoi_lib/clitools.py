"""What the commands of ``hoi`` share: an example below their help, settings as text, tables and progress bars."""

from __future__ import annotations

import inspect
import sys

import click

from hoi_lib import profiles
from hoi_lib.errors import ConfigError

EXAMPLE = "\b\nExample:\n  {}"
EXAMPLES = {"--set": "--set steps=2000", "--option": "--option window=150"}
PROFILE = click.option(
    "--profile",
    type=click.Choice(list(profiles.PROFILES)),
    default=profiles.profile.name,
    show_default=True,
    help="Sizes of data, network and training.",
)


def example(*lines: str):
    """Put an example, or several, below the help text of a command."""
    shown = EXAMPLE.format("\n  ".join(lines))

    def decorate(function):
        function.__doc__ = f"{inspect.cleandoc(function.__doc__)}\n\n{shown}\n"
        return function

    return decorate


def progress(total: int, label: str):
    """A progress bar on standard error, silent when that is no terminal."""
    from tqdm import tqdm

    return tqdm(total=total, desc=label, unit="step", file=sys.stderr, disable=None, leave=False)


def table(header: list[str], rows: list[tuple]) -> str:
    """Plain text table: columns padded, header underlined."""
    cells = [[str(cell) for cell in row] for row in [header, *rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    return "\n".join([lines[0], "  ".join("─" * width for width in widths), *lines[1:]])


def setting(pair: str, option: str = "--set") -> tuple[str, str]:
    """``KEY=VALUE`` of an option, taken apart; :class:`ConfigError` where it is anything else."""
    key, equals, value = pair.partition("=")
    if not (equals and key and value):
        raise ConfigError(f"{option} {pair!r}: expected KEY=VALUE.", f"For example {EXAMPLES[option]}.")
    return key.strip(), value.strip()


def complain(message: str) -> int:
    """One line on standard error, after ``hoi:``; returns the exit code of bad input, 2."""
    click.echo(f"{click.style('hoi:', fg='red', bold=True)} {message}", err=True)
    return 2
