"""``drft-study spaces``: which search spaces there are, and whether one is right."""

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from study.space import BoundSpace, Space


@click.group(name="spaces")
def command() -> None:
    """List and check search spaces."""


@command.command(name="list")
def list_spaces() -> None:
    """List the search spaces that come with this program."""
    from study.cli.tables import print_table
    from study.space import Space, shipped_spaces

    spaces = [Space.load(name) for name in shipped_spaces()]
    print_table(
        ("name", "question", "dimensions"),
        [(space.name, space.question, str(len(space.dimensions))) for space in spaces],
        right=("dimensions",),
    )


@command.command(name="check")
@click.argument("file")
@click.option("--backbone", metavar="NAME", help="Check it for this timm model too: its number of blocks.")
def check(file: str, backbone: str | None) -> None:
    """Check a search space, naming every fault with its line.

    FILE is a path, or the name of a space that comes with this program.
    """
    from study.cli.tables import print_table
    from study.space import Space

    space = Space.load(file)
    bound = _bind(space, backbone) if backbone else None
    click.echo(f"{space.where}: OK")
    if space.question:
        click.echo(space.question)
    print_table(
        ("dimension", "type", "values", "when"),
        [(d.path, d.domain.kind, str(d.domain), " and ".join(map(str, d.when))) for d in (bound or space).dimensions],
    )
    for fixed in space.fixed:
        click.echo(f"fixed: {fixed}")
    if bound:
        click.echo(_summary(bound))


def _bind(space: "Space", backbone: str) -> "BoundSpace":
    from drft.config import BackboneConfig, TrialConfig
    from drft.models.backbone import block_count

    return space.bind(TrialConfig(backbone=BackboneConfig(name=backbone)), block_count(backbone))


def _summary(bound: "BoundSpace") -> str:
    size = "endlessly many" if bound.size is None else f"{bound.size}"
    backbone = f"{bound.base.backbone.name} ({bound.blocks} blocks)"
    return f"{size} configurations of at most {bound.max_steps} epochs on {backbone}"
