"""A search space as its file says it: loaded by path or by name, then bound to a backbone."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Self

from drft.config.trial_config import TrialConfig, nearest, with_values
from drft.errors import ConfigError
from study.space.backbones import Backbones, blocks_at
from study.space.bound import BoundSpace
from study.space.coherence import check_coherence
from study.space.dimension import ALL, Dimension, FixedSetting, Range
from study.space.document import SpaceErrors, YamlDocument
from study.space.parse import check_conditions, parse
from study.space.ranges import range_faults
from study.space.settings import DEPTH_FRACTION

_SHIPPED = Path(__file__).parents[2] / "search_spaces"
"""Beside the packages, both in the repository and where a wheel is installed."""


@dataclass(frozen=True, slots=True)
class Space:
    """A search space that is right in itself, not yet bound to a backbone."""

    name: str
    question: str
    fixed: tuple[FixedSetting, ...]
    dimensions: tuple[Dimension, ...]
    isolate: str | None
    """The dimension whose every value gets a sub-study of equal budget, or None."""
    text: str
    """The YAML as written."""
    where: str
    """How the file is called in a fault."""

    @classmethod
    def load(cls, path_or_name: str) -> Self:
        """Read a space from a file, or a shipped one by its name (``default``).

        Raises:
            ConfigError: when there is no such file or name, or with every fault of the file, each with its line.
        """
        path = _find(path_or_name)
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            raise ConfigError(f"{path}: is not UTF-8 text; save it as UTF-8") from None
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read ({error.strerror}); give the path of a YAML file") from None
        return cls.parse(text, where=str(path))

    @classmethod
    def parse(cls, text: str, where: str) -> Self:
        """Read a space from its text; ``where`` names it in faults.

        Raises:
            ConfigError: with every fault of the text, each with its line.
        """
        draft = parse(YamlDocument(text, where))
        name = draft.name or Path(where).stem
        return cls(name, draft.question, draft.fixed, draft.dimensions, draft.isolate, text, where)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of what is fixed and searched; name, question, comments and layout do not matter."""
        content = {
            "isolate": self.isolate,
            "fixed": {fixed.path: fixed.value for fixed in self.fixed},
            "search": [asdict(replace(dimension, line=0)) for dimension in self.dimensions],
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    @property
    def backbones(self) -> Backbones | None:
        """The backbones that are searched; None where the command names the one there is."""
        found = (one.domain for one in self.dimensions if isinstance(one.domain, Backbones))
        return next(found, None)

    def bind(self, base: TrialConfig, blocks: int | Mapping[str, int]) -> BoundSpace:
        """Lay the fixed values over ``base`` and replace ``all`` by the number of blocks.

        Args:
            base: what trials have in common; where backbones are searched, the first of them takes its place in it.
            blocks: of the backbone, or of each of several by its name; a number holds for all of them.

        Raises:
            ConfigError: with every fault that shows only on this backbone.
        """
        if self.backbones is not None:
            base = with_values(base, self.backbones.settings(str(self.backbones.options[0])))
        names = (base.backbone.name,) if self.backbones is None else map(str, self.backbones.options)
        counts = dict.fromkeys(names, blocks) if isinstance(blocks, int) else dict(blocks)
        fewest = min(counts.values())
        dimensions = tuple(dimension.resolved(fewest) for dimension in self.dimensions)
        faults = SpaceErrors(self.where)
        for line, depth in self._depths(base, dimensions):
            for name, count in counts.items():
                if depth > count:
                    use = f"at most {count}, or {'all' if self.backbones is None else DEPTH_FRACTION}"
                    faults.add(line, f"depth: {depth:g} is beyond the {count} blocks of {name}; use {use}")
        faults.raise_all()
        for dimension in dimensions:
            if isinstance(dimension.domain, Range):
                for _, problem in range_faults(dimension.path, dimension.domain):
                    faults.add(dimension.line, f"{dimension.path}: {problem} (all is {fewest} here)")
        check_conditions(faults, dimensions)
        faults.raise_all()
        return self._bound(base, counts, dimensions)

    def _depths(self, base: TrialConfig, dimensions: Sequence[Dimension]) -> Iterator[tuple[int, float]]:
        """Yield the greatest depth of every line that names one; with several backbones the default one counts too."""
        said = {fixed.path for fixed in self.fixed} | {dimension.path for dimension in dimensions}
        if self.backbones is not None and not said & {"depth", DEPTH_FRACTION}:
            yield 1, base.depth
        for fixed in self.fixed:
            if fixed.path == "depth" and fixed.value != ALL:
                yield fixed.line, fixed.value
        for dimension in dimensions:
            if dimension.path == "depth":
                yield dimension.line, max(dimension.domain.smallest, dimension.domain.largest)

    def _bound(self, base: TrialConfig, counts: Mapping[str, int], dimensions: tuple[Dimension, ...]) -> BoundSpace:
        blocks = counts[base.backbone.name]
        fixed = {fixed.path: blocks if fixed.value == ALL else fixed.value for fixed in self.fixed}
        fraction = fixed.pop(DEPTH_FRACTION, None)
        if fraction is not None:
            fixed["depth"] = blocks_at(fraction, blocks)
        bound = BoundSpace(
            self.name, with_values(base, fixed), counts, dimensions, self.isolate, self.backbones, fraction
        )
        if bound.min_steps < 1:
            raise ConfigError(f"{self.where}: both phases can have 0 epochs, which trains nothing; raise one of them")
        faults = SpaceErrors(self.where)
        check_coherence(faults, bound, self.fixed)
        faults.raise_all()
        return bound


def shipped_spaces() -> dict[str, Path]:
    """Return the files of the spaces that come with this program, by name."""
    return {path.stem: path for path in sorted(_SHIPPED.glob("*.yaml"))}


def _find(path_or_name: str) -> Path:
    path = Path(path_or_name)
    if path.suffix in {".yaml", ".yml"} or len(path.parts) != 1:
        return path
    shipped = shipped_spaces()
    if path_or_name not in shipped:
        hint = nearest(path_or_name, list(shipped)) or f"; there are {', '.join(shipped)}"
        raise ConfigError(f"no search space is called {path_or_name!r}{hint}; or give the path of a .yaml file")
    return shipped[path_or_name]
