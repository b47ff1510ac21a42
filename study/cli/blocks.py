"""``drft-study blocks``: the blocks that each depth of a backbone trains."""

import click


@click.command(name="blocks")
@click.argument("backbone")
def command(backbone: str) -> None:
    """Print the blocks of BACKBONE, a timm model.

    Each line is one depth: the earliest block that it trains, and the share of
    the backbone's parameters that it trains. Depth 0 trains the head alone.
    """
    from drft.models.backbone import describe_backbone
    from study.cli.tables import print_table

    rows = describe_backbone(backbone)
    print_table(
        ("depth", "block", "parameters", "trained"),
        [("0", "(head alone)", "", "0.0%")]
        + [(str(row.depth), row.name, f"{row.parameters:,}", f"{row.trainable_fraction:.1%}") for row in rows],
        right=("depth", "parameters", "trained"),
    )
