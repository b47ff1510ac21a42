"""``drft-study spaces``: list search spaces, check one, and explain what it can answer."""

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from study.space import BoundSpace, Space


@click.group(name="spaces")
def command() -> None:
    """List, check and explain search spaces."""


@command.command(name="list")
def list_spaces() -> None:
    """List the search spaces of this program."""
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
@click.option("--backbone", metavar="NAME", help="Timm model; the space is also checked for its number of blocks.")
def check(file: str, backbone: str | None) -> None:
    """Check a search space, and print every fault with its line.

    FILE is a path, or the name of a search space of this program.
    """
    from study.cli.tables import print_table
    from study.space import Space

    space = Space.load(file)
    bound = _bind(space, backbone)
    click.echo(f"{space.file}: OK")
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


@command.command(name="schema")
def schema() -> None:
    """Print a JSON Schema of search spaces for editors.

    With it, an editor completes the names of settings and checks their values.
    """
    import json

    from study.space.schema import space_schema

    click.echo(json.dumps(space_schema(), indent=2, ensure_ascii=False))


@command.command(name="explain")
@click.argument("file")
@click.option("--backbone", metavar="NAME", help="Timm model; its number of blocks is the largest depth.")
@click.option("--trials", type=click.IntRange(1), default=100, show_default=True, help="Planned number of trials.")
@click.option(
    "--images",
    type=click.IntRange(2),
    default=413,
    show_default=True,
    help="Images to train and validate with; IDRiD has 413.",
)
@click.option("--photographs", type=click.IntRange(2), hidden=True)  # the name of --images up to version 0.1
def explain_space(file: str, backbone: str | None, trials: int, images: int, photographs: int | None) -> None:
    """Print what a report on a search space can conclude.

    FILE is a path, or the name of a search space of this program.
    """
    from study.cli.tables import print_table, say
    from study.report.explain import explain
    from study.space import Space

    images = photographs or images
    space = Space.load(file)
    bound = _bind(space, backbone)
    explanation = explain(space, bound, trials, images)
    click.echo(f"Question of {space.name}: {space.question or '(none in its file)'}\n")
    click.echo(f"Dimensions that vary: {len(explanation.varies)}")
    for dimension in explanation.varies:
        when = f", when {' and '.join(map(str, dimension.when))}" if dimension.when else ""
        click.echo(f"  {dimension.path}: {dimension.domain}{when}")
    say(f"Fixed: {', '.join(explanation.holds) or 'nothing'}; other settings have the defaults of docs/settings.md")
    if space.isolate:
        click.echo(f"Every {space.isolate} gets a sub-study of equal budget.")
    if bound:
        click.echo(f"In all: {_summary(bound)}")
    click.echo(f"\nWith {trials} trials and {explanation.n_validation} of {images} images for validation:\n")
    print_table(("question", "needs", "answered"), explanation.questions)
    click.echo("")
    for line in explanation.noise:
        say(line)


def _bind(space: "Space", backbone: str | None) -> "BoundSpace | None":
    """Bind a space to the given backbone, or to those that it searches; return None if there are neither."""
    from drft.config.trial_config import BackboneConfig, TrialConfig
    from drft.errors import UsageError

    if space.backbones is None and backbone is None:
        return None
    from drft.models.backbone import block_count

    if space.backbones is not None:
        if backbone is not None:
            raise UsageError(f"--backbone: {space.file} searches backbone.name; leave the option out")
        return space.bind(TrialConfig(), {name: block_count(name) for name in map(str, space.backbones.options)})
    assert backbone is not None
    return space.bind(TrialConfig(backbone=BackboneConfig(name=backbone)), block_count(backbone))


def _summary(bound: "BoundSpace") -> str:
    size = "endlessly many" if bound.size is None else f"{bound.size}"
    backbones = ", ".join(f"{name} ({blocks} blocks)" for name, blocks in bound.block_counts.items())
    return f"{size} configurations of at most {bound.max_steps} epochs on {backbones}"
