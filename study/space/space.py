"""A search space as written in its file: loaded by path or by name, then bound to its backbones."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

import yaml

from drft.config.trial_config import TrialConfig, nearest, with_values
from drft.errors import ConfigError
from study.space.backbones import Backbones, blocks_at
from study.space.bound import BoundSpace
from study.space.coherence import check_coherence
from study.space.dimension import ALL, Dimension, FixedSetting, Range
from study.space.document import SpaceErrors, YamlDocument
from study.space.parse import ALL_OF_SEVERAL, check_conditions, parse
from study.space.ranges import range_faults
from study.space.settings import DEPTH_FRACTION, NEVER_FIXED, check_value, unknown_setting

_SHIPPED = Path(__file__).parents[2] / "search_spaces"
"""Next to the packages, in the repository and where a wheel is installed."""


@dataclass(frozen=True, slots=True)
class Space:
    """A search space without faults of its own, not bound to a backbone yet."""

    name: str
    question: str
    fixed: tuple[FixedSetting, ...]
    dimensions: tuple[Dimension, ...]
    isolate: str | None
    """The dimension whose values each get a sub-study of equal budget, or None."""
    text: str
    """The YAML as written."""
    file: str
    """Name of the file in faults."""

    @classmethod
    def load(cls, path_or_name: str | Mapping[str, Any]) -> Self:
        """Read a space from a file, a shipped space by its name (``default``), or one that is given as a mapping.

        Raises:
            ConfigError: when there is no such file or name, or with every fault of the space, each with its line.
        """
        if not isinstance(path_or_name, str):
            try:
                text = yaml.safe_dump(_plain(path_or_name), sort_keys=False, allow_unicode=True)
            except yaml.YAMLError:
                raise ConfigError("the space holds values that YAML cannot: use numbers, texts and lists") from None
            return cls.parse(text, "space")
        path = Path(path_or_name)
        if path.suffix not in {".yaml", ".yml"} and len(path.parts) == 1:
            shipped = shipped_spaces()
            if path_or_name not in shipped:
                hint = nearest(path_or_name, list(shipped)) or f"; there are {', '.join(shipped)}"
                raise ConfigError(f"no search space is called {path_or_name!r}{hint}; or give the path of a .yaml file")
            path = shipped[path_or_name]
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            raise ConfigError(f"{path}: is not UTF-8 text; save it as UTF-8") from None
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read ({error.strerror}); give the path of a YAML file") from None
        return cls.parse(text, str(path))

    @classmethod
    def parse(cls, text: str, file: str) -> Self:
        """Read a space from its text; ``file`` is its name in faults.

        Raises:
            ConfigError: with every fault of the text, each with its line.
        """
        parsed = parse(YamlDocument(text, file))
        name = parsed.name or Path(file).stem
        return cls(name, parsed.question, parsed.fixed, parsed.dimensions, parsed.isolate, text, file)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the fixed and searched settings; name, question, comments and layout do not change it."""
        content = {
            "isolate": self.isolate,
            "fixed": {fixed.path: fixed.value for fixed in self.fixed},
            "search": [asdict(replace(dimension, line=0)) for dimension in self.dimensions],
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    @property
    def backbones(self) -> Backbones | None:
        """The backbones, if the space searches them."""
        domains = (dimension.domain for dimension in self.dimensions)
        return next((domain for domain in domains if isinstance(domain, Backbones)), None)

    def fix(self, values: Mapping[str, Any]) -> Self:
        """Return the space with settings fixed to these values by path, in place of those in its file.

        Raises:
            ConfigError: with every fault of the values; a setting that the space searches is one.
        """
        faults = SpaceErrors(self.file)
        fixed = {setting.path: setting for setting in self.fixed}
        searched = {dimension.path for dimension in self.dimensions}
        for path, value in values.items():
            twin = {"depth": DEPTH_FRACTION, DEPTH_FRACTION: "depth"}.get(path, path)
            if problem := unknown_setting(path):
                faults.add(0, problem)
            elif path in NEVER_FIXED:
                faults.add(0, f"{path}: {NEVER_FIXED[path]}")
            elif conflicts := searched & {path, twin}:
                faults.add(0, f"{path}: {self.file} searches {conflicts.pop()}; take it out there, or leave this out")
            else:
                if path == "depth" and value in ("all", ALL):
                    checked, problem = ALL, None if self.backbones is None else ALL_OF_SEVERAL
                else:
                    checked, problem = check_value(path, value)
                if problem:
                    faults.add(0, f"{path}: {problem}")
                fixed.pop(twin, None)
                fixed[path] = FixedSetting(path, checked)
        faults.raise_all()
        return replace(self, fixed=tuple(fixed.values()))

    def bind(self, base: TrialConfig, blocks: int | Mapping[str, int]) -> BoundSpace:
        """Set the fixed values in ``base``, and replace ``all`` by the number of blocks.

        Args:
            base: the configuration of all trials. If backbones are searched, its backbone becomes the first of them.
            blocks: number of blocks of each backbone by its name; one number holds for all backbones.

        Raises:
            ConfigError: with every fault of the space on these backbones.
        """
        names = [base.backbone.name]
        if self.backbones is not None:
            names = list(map(str, self.backbones.options))
            base = with_values(base, self.backbones.settings(names[0]))
        counts = dict.fromkeys(names, blocks) if isinstance(blocks, int) else dict(blocks)
        fewest = min(counts.values())
        dimensions = tuple(dimension.resolve(fewest) for dimension in self.dimensions)
        faults = SpaceErrors(self.file)
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
        return self._bind(base, counts, dimensions)

    def _depths(self, base: TrialConfig, dimensions: Sequence[Dimension]) -> Iterator[tuple[int, float]]:
        """Yield the largest depth of every line that names one; the default too, if several backbones have it."""
        named = {fixed.path for fixed in self.fixed} | {dimension.path for dimension in dimensions}
        if self.backbones is not None and not named & {"depth", DEPTH_FRACTION}:
            yield 1, base.depth
        for fixed in self.fixed:
            if fixed.path == "depth" and fixed.value != ALL:
                yield fixed.line, fixed.value
        for dimension in dimensions:
            if dimension.path == "depth":
                yield dimension.line, max(dimension.domain.bounds())

    def _bind(self, base: TrialConfig, counts: Mapping[str, int], dimensions: tuple[Dimension, ...]) -> BoundSpace:
        """Return the bound space, after checking its settings together."""
        blocks = counts[base.backbone.name]
        fixed = {fixed.path: blocks if fixed.value == ALL else fixed.value for fixed in self.fixed}
        fraction = fixed.pop(DEPTH_FRACTION, None)
        if fraction is not None:
            fixed["depth"] = blocks_at(fraction, blocks)
        bound = BoundSpace(
            self.name, with_values(base, fixed), counts, dimensions, self.isolate, self.backbones, fraction
        )
        if bound.min_steps < 1:
            raise ConfigError(f"{self.file}: both phases can have 0 epochs, which trains nothing; raise one of them")
        faults = SpaceErrors(self.file)
        check_coherence(faults, bound, self.fixed)
        faults.raise_all()
        return bound


def _plain(value: Any) -> Any:
    """Return mappings and tuples as YAML has them."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def shipped_spaces() -> dict[str, Path]:
    """Return the files of the spaces in this package, by name."""
    return {path.stem: path for path in sorted(_SHIPPED.glob("*.yaml"))}
