"""Commands whose help lists the options under headings, and that know where settings without an option are given."""

import textwrap
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import click

from study.cli.options import DATA_OPTIONS

GROUPS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "Data": ("data", *DATA_OPTIONS),
        "Model and training": (
            "backbone",
            "weights",
            "normalization",
            "image_size",
            "precision",
            "settings",
            "metric",
            "folds",
        ),
        "Search": (
            "trials",
            "goal",
            "space",
            "sampler",
            "pruner",
            "max_gap",
            "stop_when_noise",
            "seed",
            "timeout",
            "failure_limit",
        ),
        "Compute": (
            "executor",
            "jobs",
            "gpus",
            "trials_per_gpu",
            "ray_address",
            "gpus_per_trial",
            "cpus_per_trial",
            "trial_timeout",
            "max_retries",
            "cache_size",
            "no_cache",
        ),
        "Output": ("study", "results", "storage", "keep_checkpoints", "report", "log", "help"),
    }
)
"""The headings of a run's options, by the names of the options' parameters."""


class GroupedCommand(click.Command):
    """A command whose help has its options under headings.

    Args:
        explained: headings whose options are named here, and explained in the help of ``drft-study run``.
    """

    def __init__(self, *args: Any, explained: tuple[str, ...] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._explained = explained

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options that belong to no heading, then those of each heading."""
        options = [param for param in self.get_params(ctx) if isinstance(param, click.Option)]
        left = {"help" if "--help" in option.opts else option.name: option for option in options}
        parts = {
            heading: [left.pop(name) for name in names if name in left]
            for heading, names in GROUPS.items()
            if heading not in self._explained
        }
        elsewhere = [left.pop(name) for heading in self._explained for name in GROUPS[heading] if name in left]
        for heading, listed in {"Options": list(left.values()), **parts}.items():
            records = [record for option in listed if (record := option.get_help_record(ctx)) is not None]
            if records:
                with formatter.section(heading):
                    formatter.write_dl(records)
        if elsewhere:
            with formatter.section("As explained by drft-study run --help"):
                names = ", ".join(option.opts[0] for option in elsewhere)
                indent = " " * formatter.current_indent
                lines = textwrap.wrap(names, formatter.width - len(indent), break_on_hyphens=False)
                formatter.write("".join(f"{indent}{line}\n" for line in lines))

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments; for an option that does not exist, name the settings that may be meant.

        Raises:
            UsageError: when there is no such option.
        """
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            if not any(param.name == "settings" for param in self.params):
                raise
            from study.space.settings import settings_named

            meant = settings_named(error.option_name.lstrip("-"))
            if not meant:
                raise
            advice = " or ".join(f"--set {path}=VALUE" for path in meant)
            raise click.UsageError(f"no option {error.option_name}: use {advice}", ctx) from None
