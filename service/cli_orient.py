"""The command group `braggloop orient`: options in, words and an exit code out; the work is done elsewhere."""

from __future__ import annotations

from typing import Annotated

import typer

from service.commands.options import Debug, Json, Out, SettingsFile, report_for, settings_from
from service.commands.report import one_line_errors
from service.commands.usage import OneLineGroup

orient = typer.Typer(
    cls=OneLineGroup, help="How a crystal stands: reflections, UB, and going to h k l.", no_args_is_help=False
)

# Negative indices are no options.
NEGATIVE = {"ignore_unknown_options": True}
Hkl = Annotated[tuple[float, float, float], typer.Argument(help="Miller indices.", metavar="H K L")]
Angles = Annotated[
    list[str] | None,
    typer.Option(
        "--angle",
        help="Where an axis of the instrument stands, deg; may be given more than once. Default: its motor says it.",
        metavar="AXIS=DEGREES",
    ),
]
Energy = Annotated[
    float | None, typer.Option("--energy", help="Photon energy, keV; default: \\[geometry] energy_kev.", metavar="KEV")
]


@orient.command(context_settings=NEGATIVE)
def add(
    hkl: Hkl,
    angle: Angles = None,
    energy: Energy = None,
    tag: Annotated[str, typer.Option("--tag", help="A word to know it by.")] = "",
    out: Out = None,
    settings: SettingsFile = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Keep a reflection that is found where the axes stand now, or at the angles that are given.

    [dim]Example:[/]  braggloop orient add 1 -1 1 --angle theta=12.4 --angle delta=32.1 --settings align.toml
    """
    report = report_for(json)
    with one_line_errors(report, debug):
        from service.commands import orient as orienting

        stand = orienting.Stand(angles=angle or (), energy_kev=energy)
        orienting.add(hkl, stand, tag, settings_from(settings, out), report)


@orient.command("list")
def list_(
    out: Out = None,
    settings: SettingsFile = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """List the reflections that are kept, with the 2 theta at which each was found and that of the lattice.

    [dim]Example:[/]  braggloop orient list --settings align.toml
    """
    report = report_for(json)
    with one_line_errors(report, debug):
        from service.commands import orient as orienting

        orienting.list_kept(settings_from(settings, out), report)


@orient.command()
def remove(
    numbers: Annotated[list[int], typer.Argument(help="As 'list' tells them.", metavar="NUMBER...")],
    out: Out = None,
    settings: SettingsFile = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Leave reflections out from now on; the others keep their numbers, and the file keeps all.

    [dim]Example:[/]  braggloop orient remove 3 --settings align.toml
    """
    report = report_for(json)
    with one_line_errors(report, debug):
        from service.commands import orient as orienting

        orienting.remove(numbers, settings_from(settings, out), report)


@orient.command()
def fit(
    lattice: Annotated[bool, typer.Option("--lattice", help="Fit the lattice too, within its system.")] = False,
    out: Out = None,
    settings: SettingsFile = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Fit U and UB to the reflections: two by Busing and Levy, more by least squares; a former fit is kept beside it.

    [dim]Example:[/]  braggloop orient fit --settings align.toml
    """
    report = report_for(json)
    with one_line_errors(report, debug):
        from service.commands import orient as orienting

        fitted = orienting.fit_with_lattice if lattice else orienting.fit
        fitted(settings_from(settings, out), report)


@orient.command()
def show(
    out: Out = None,
    settings: SettingsFile = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Show U, UB, the lattice, the wavelength, and by how much each reflection is off.

    [dim]Example:[/]  braggloop orient show --settings align.toml
    """
    report = report_for(json)
    with one_line_errors(report, debug):
        from service.commands import orient as orienting

        orienting.show(settings_from(settings, out), report)


@orient.command()
def where(
    angle: Angles = None,
    energy: Energy = None,
    out: Out = None,
    settings: SettingsFile = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Tell h k l of what diffracts where the axes stand now, or at the angles that are given.

    [dim]Example:[/]  braggloop orient where --settings align.toml
    """
    report = report_for(json)
    with one_line_errors(report, debug):
        from service.commands import orient as orienting

        orienting.where(orienting.Stand(angles=angle or (), energy_kev=energy), settings_from(settings, out), report)


@orient.command(context_settings=NEGATIVE)
def angles(
    hkl: Hkl,
    angle: Angles = None,
    energy: Energy = None,
    out: Out = None,
    settings: SettingsFile = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Tell where the axes must go for a reflection: every place within \\[alignment.axes], the least travel first.

    [dim]Example:[/]  braggloop orient angles 2 0 0 --settings align.toml
    """
    report = report_for(json)
    with one_line_errors(report, debug):
        from service.commands import orient as orienting

        stand = orienting.Stand(angles=angle or (), energy_kev=energy)
        orienting.angles(hkl, stand, settings_from(settings, out), report)


@orient.command(context_settings=NEGATIVE)
def goto(
    hkl: Hkl,
    energy: Energy = None,
    choose: Annotated[int, typer.Option("--choose", help="Which place of 'angles'; 1: the least travel.")] = 1,
    by: Annotated[str, typer.Option("--by", help="Who arms the motors; goes into the journal.")] = "",
    seconds: Annotated[float, typer.Option("--seconds", help="How long the motors are armed.")] = 3600.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Judge the whole way, move nothing.")] = False,
    out: Out = None,
    settings: SettingsFile = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Move the axes to a reflection: within \\[alignment.axes], under guard and journal; Ctrl-C stops all of them.

    [dim]Example:[/]  braggloop orient goto 2 0 0 --settings align.toml --dry-run
    """
    report = report_for(json)
    with one_line_errors(report, debug):
        from service.commands import orient as orienting

        going = orienting.Going(choose=choose, by=by, seconds=seconds, dry_run=dry_run)
        orienting.goto(hkl, orienting.Stand(energy_kev=energy), going, settings_from(settings, out), report)
