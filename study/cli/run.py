"""``drft-study run``: run a study, or resume it."""

import sys
from typing import Any

import click

from drft.config.trial_config import LARGEST_SEED, METRICS, NORMALIZATIONS, PRECISIONS
from study.callbacks.names import LOGS
from study.cli.grouped_command import GroupedCommand
from study.cli.options import (
    ChoiceOrFunction,
    class_options,
    data_options,
    limit_options,
    placement_options,
    study_options,
    to_run_options,
)
from study.pruners.names import PRUNERS
from study.samplers.names import GOALS, SAMPLERS


@click.command(
    cls=GroupedCommand,
    epilog="""\b
Examples:
  drft-study run --trials 100
  drft-study run --data idrid/ --backbone mobilenetv2_100 --weights hub
  drft-study run --data labels.csv --image-size 128 --set batch_size=16
""",
)
@click.option("--trials", type=click.IntRange(1), default=100, show_default=True, help="Finished trials to reach.")
@click.option(
    "--goal",
    type=click.Choice(GOALS),
    help="depth: equal trials at all depths, then cross-validation; best: the highest score. By default depth, or "
    "best if the space does not search the depth.",
)
@click.option("--space", default="default", show_default=True, help="Search space: a YAML file or a shipped name.")
@click.option("--data", default="synthetic", show_default=True, help="synthetic[:SEED], idrid, a folder, a CSV ...")
@data_options
@class_options
@click.option("--study", help="Name of the study; made of space, data and backbone by default.")
@study_options
@click.option("--backbone", help="Name of a timm model, or module:function.")
@click.option("--weights", help="embedded, imagenet, hub, none, or a .safetensors or .pth file.")
@click.option("--normalization", type=click.Choice(NORMALIZATIONS), help="Mean and deviation of inputs for --weights.")
@click.option("--image-size", type=click.IntRange(16, 2048), help="Side of the network's input in pixels.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="PATH=VALUE",
    help="Fix any other setting, such as depth_phase.epochs=10; repeatable.",
)
@click.option("--precision", type=click.Choice(PRECISIONS), help="Number type of the computation; auto by default.")
@click.option("--sampler", type=ChoiceOrFunction(SAMPLERS), default="tpe", show_default=True, help="Draws the trials.")
@click.option("--folds", type=click.IntRange(2), help="Cross-validation: train each trial once for each fold.")
@click.option("--pruner", type=ChoiceOrFunction(PRUNERS), help="none by default; predictive with --goal best.")
@click.option("--metric", type=click.Choice(METRICS), help="Score to maximize, nll to minimize; accuracy by default.")
@click.option(
    "--max-gap",
    type=click.FloatRange(0, 1, max_open=True),
    help="Largest train minus validation accuracy that the best trial may have at its best epoch, such as 0.15.",
)
@limit_options
@click.option("--stop-when-noise", is_flag=True, help="Stop when further trials could improve by noise only.")
@click.option(
    "--seed",
    type=click.IntRange(0, LARGEST_SEED),
    default=0,
    show_default=True,
    help="Seed of split, search and trials.",
)
@placement_options
@click.option("--keep-checkpoints", type=click.IntRange(0), default=5, show_default=True, help="Checkpoints to keep.")
@click.option("--report/--no-report", default=True, show_default=True, help="Write the report at the end.")
@click.option(
    "--log", type=click.Choice(LOGS), help="Also log trials there: to results/STUDY; nothing is sent by default."
)
def command(**values: Any) -> None:
    """Run a study: many short two-phase trainings, then a report.

    Ctrl-C stops it; rerun the same command to resume.
    """
    from study.executors.local.process import warm_up

    warm_up()  # torch is imported in the worker server, while this process prepares the run
    from rich.console import Console

    console = Console()
    with console.status("starting"):
        from study.run import run_study
    outcome = run_study(to_run_options(values), console)
    if outcome.ended == "interrupted":
        sys.exit(130)
    if outcome.ended == "failing":
        sys.exit(1)
