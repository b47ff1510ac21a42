"""The page of all settings, made from the configuration itself.

``python -m study.space.reference`` prints it; ``docs/settings.md`` is its output.
"""

from collections.abc import Mapping
from typing import Any

from drft.config.trial_config import TrialConfig
from study.space.settings import NEVER_FIXED, NEVER_SEARCHED, setting_schemas

_OPENING = """# Settings

<!-- Made by `python -m study.space.reference`: change drft/config/trial_config.py, not this page. -->

Every setting of a training, by the path that names it in a search space (`depth_phase.lr`). Whatever stands here can be
fixed in a space or searched, unless the last column says otherwise.
"""
_HEADER = """| setting | values | default | meaning | in a space |
|---|---|---|---|---|"""


def settings_reference() -> str:
    """Return the page as Markdown: one table for the training as a whole, and one for each of its parts."""
    groups: dict[str, list[str]] = {}
    for path, said in setting_schemas().items():
        groups.setdefault(path.rpartition(".")[0], []).append(_row(path, said))
    tables = (_section(group, rows) for group, rows in groups.items())
    return "\n".join([_OPENING, *tables])


def _section(group: str, rows: list[str]) -> str:
    part = TrialConfig.model_fields[group].annotation if group else TrialConfig
    assert part is not None
    about = _as_markdown(str(part.__doc__))
    return "\n".join([f"## {group or 'training'}", "", about, "", _HEADER, *rows, ""])


def _row(path: str, said: Mapping[str, Any]) -> str:
    default = "`null`" if said["default"] is None else f"`{said['default']}`"
    cells = (f"`{path}`", _values(said), default, _as_markdown(said["description"]), _use(path))
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _use(path: str) -> str:
    """Say whether a space may fix and search a setting."""
    if path in NEVER_FIXED:
        return f"no: {NEVER_FIXED[path]}"
    return f"fixed only: {NEVER_SEARCHED[path]}" if path in NEVER_SEARCHED else "fixed or searched"


def _values(said: Mapping[str, Any]) -> str:
    """Say in words what values a setting takes."""
    if "anyOf" in said:
        return " or ".join(_values(one) for one in said["anyOf"])
    if "enum" in said:
        return ", ".join(f"`{value}`" for value in said["enum"])
    kinds = {
        "integer": "whole number",
        "number": "number",
        "string": "text",
        "boolean": "`true`, `false`",
        "null": "`null`",
    }
    return " ".join([kinds[said["type"]], _bounds(said)]).strip()


def _bounds(said: Mapping[str, Any]) -> str:
    words = {"minimum": "from", "exclusiveMinimum": "above", "maximum": "to", "exclusiveMaximum": "below"}
    return ", ".join(f"{word} {said[key]:g}" for key, word in words.items() if key in said).replace(", to", " to")


def _as_markdown(text: str) -> str:
    return text.replace("``", "`")


if __name__ == "__main__":
    print(settings_reference(), end="")
