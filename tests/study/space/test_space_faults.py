"""Search spaces with faults: all are reported at once, each with its line and what to do."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drft.config.trial_config import TrialConfig
from drft.errors import ConfigError
from study.space import Space

GOOD = """name: good
fixed:
  head_phase.epochs: 3
search:
  depth: {type: int, low: 0, high: all}
  depth_phase.lr:
    type: float
    low: 1e-5
    high: 1e-2
    log: true
  dropout: {type: float, low: 0, high: 0.5, when: {depth: {min: 1}}}
"""


def faults(text: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as raised:
        Space.parse(text, "space.yaml")
    return tuple(raised.value.faults)


def faults_at_binding(text: str, blocks: int) -> tuple[str, ...]:
    space = Space.parse(text, "space.yaml")
    with pytest.raises(ConfigError) as raised:
        space.bind(TrialConfig(), blocks)
    return tuple(raised.value.faults)


@pytest.mark.parametrize(
    ("search", "expected"),
    [
        ("depht: {type: int, low: 0, high: 2}", "unknown setting 'depht' (did you mean 'depth'?)"),
        ("optimizer: {type: categorical, choices: [sgd]}", "optimizer is a group of settings"),
        ("seed: {type: int, low: 0, high: 9}", "seed cannot be searched"),
        ("split.seed: {type: int, low: 0, high: 9}", "split.seed cannot be searched"),
        ("backbone.weights: {type: categorical, choices: [hub]}", "choices: {NAME: WEIGHTS}"),
        ("head_phase.lr: {type: float, low: 0.1, high: 0.2}", "searched and also fixed on line 2"),
        ("dropout: {type: float, low: 0.5, high: 0.1}", "low 0.5 is above high 0.1"),
        ("dropout: {type: float, low: 0, high: 0.5, log: true}", "a log range starts above 0"),
        ("dropout: {type: float, low: 0.1, high: 0.5, log: true, step: 0.1}", "a log range has no step"),
        ("dropout: {type: float, low: 0, high: 0.5, step: 0}", "step should be above 0"),
        ("dropout: {type: float, low: 0, high: 0.5, step: 0.2}", "steps of 0.2 from 0 do not reach 0.5"),
        ("dropout: {type: float, low: 0, high: 0.5, log: sometimes}", "log should be true or false"),
        ("dropout: {type: float, low: 0, high: 1}", "input should be less than 1"),
        ("dropout: {type: float, low: -1, high: 0.5}", "greater than or equal to 0"),
        ("dropout: {type: float, low: none, high: 0.5}", "low should be a number, got 'none'"),
        ("dropout: {type: float, low: .nan, high: 0.5}", "low should be a number, got nan"),
        ("dropout: {type: float, low: 0, high: .inf}", "high should be a number, got inf"),
        ("dropout: {type: float, low: 0, high: all}", "high should be a number, got 'all'"),
        ("dropout: {type: float, low: true, high: 0.5}", "low should be a number, got True"),
        ("dropout: {type: float, low: 0}", "high is missing"),
        ("dropout: {type: flaot, low: 0, high: 0.5}", "unknown type 'flaot'"),
        ("dropout: {low: 0, high: 0.5}", "type is missing"),
        ("dropout: {type: float, low: 0, high: 0.5, logg: true}", "unknown key 'logg' (did you mean 'log'?)"),
        ("dropout: 0.5", "dropout should be a mapping"),
        ("dropout: {}", "dropout: type is missing"),
        ("dropout:", "dropout should be a mapping"),
        ("batch_size: {type: float, low: 8, high: 32}", "valid integer"),
        ("batch_size: {type: int, low: 8.5, high: 32}", "low should be a whole number"),
        ("batch_size: {type: int, low: 8, high: 1e400}", "high should be a number"),
        ("augmentation.strength: {type: float, low: 0, high: 1}", "strength should be one of"),
        ("batch_norm: {type: categorical, choices: [frozen, thawed]}", "'frozen' or 'adapt', got 'thawed'"),
        ("batch_norm: {type: categorical, choices: [frozen, frozen]}", "among the choices twice"),
        ("batch_norm: {type: categorical, choices: []}", "list with at least one value"),
        ("batch_norm: {type: categorical, choices: frozen}", "list with at least one value"),
        ("batch_norm: {type: categorical, choices: [[frozen]]}", "should be one value, not a list"),
        ("batch_norm: {type: categorical}", "choices is missing"),
        ("dropout: {type: float, low: 0, high: 0.5, when: {dropout: {min: 0.1}}}", "cannot depend on itself"),
        ("dropout: {type: float, low: 0, high: 0.5, when: {head_phase.lr: 0.1}}", "is fixed, so this is always"),
        ("dropout: {type: float, low: 0, high: 0.5, when: {image_size: 64}}", "image_size is not searched"),
        ("dropout: {type: float, low: 0, high: 0.5, when: {detph: {min: 1}}}", "did you mean 'depth'?"),
        ("dropout: {type: float, low: 0, high: 0.5, when: {batch_size: 4}}", "move it above dropout"),
        ("dropout: {type: float, low: 0, high: 0.5, when: {depth: {mni: 1}}}", "did you mean 'min'?"),
        ("dropout: {type: float, low: 0, high: 0.5, when: {depth: {}}}", "give min, max or both"),
        ("dropout: {type: float, low: 0, high: 0.5, when: {depth: -1}}", "greater than or equal to 0"),
        ("dropout: {type: float, low: 0, high: 0.5, when: {depth: 7}}", "depth is 7 never holds"),
        ("dropout: {type: float, low: 0, high: 0.5, when: {depth: {min: 4}}}", "4 ≤ depth never holds"),
        ("dropout: {type: float, low: 0, high: 0.5, when: depth}", "should be a mapping"),
    ],
)
def test_faults_of_a_dimension_are_reported_with_its_line(search: str, expected: str) -> None:
    text = f"fixed:\n  head_phase.lr: 0.1\nsearch:\n  depth: {{type: int, low: 0, high: 3}}\n  {search}\n"
    if "batch_size: 4" in search:
        text += "  batch_size: {type: int, low: 4, high: 8}\n"
    result = faults(text)
    assert all(fault.startswith("space.yaml:5: ") for fault in result)
    assert any(expected in fault for fault in result), result


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "space.yaml: is empty"),
        ("# only a comment", "space.yaml: is empty"),
        ("- depth", "space.yaml:1: a search space should be a mapping"),
        ("depth", "space.yaml:1: a search space should be a mapping"),
        ("name: x", "space.yaml:1: search: is missing"),
        ("name: x\nsearch: {}", "space.yaml:2: search: is empty"),
        ("name: x\nsearch: [", "space.yaml:2: not valid YAML"),
        ("name: x\n---\nname: y", "not valid YAML"),
        ("name: \x07", "not valid YAML"),
        ("[" * 2000, "nested too deeply"),
        ("name: !!python/object:os.system {}\n" + GOOD[11:], "space.yaml:1: should be one value, not a list"),
        ("name: 2024-13-45\n" + GOOD[11:], "space.yaml:1: '2024-13-45' cannot be read as timestamp"),
        ("name: !!bool maybe\n" + GOOD[11:], "space.yaml:1: 'maybe' cannot be read as bool"),
        ("name: !!timestamp soon\n" + GOOD[11:], "space.yaml:1: 'soon' cannot be read as timestamp"),
        ("name: !!int\n" + GOOD[11:], "space.yaml:1: '' cannot be read as int"),
        ("name: 7\n" + GOOD[11:], "space.yaml:1: name should be text, got 7"),
        (GOOD + "serach: {}\n", "space.yaml:12: a search space: unknown key 'serach' (did you mean 'search'?)"),
        (GOOD + "name: again\n", "space.yaml:12: a search space: name is given twice (first on line 1)"),
        (GOOD + "1: again\n", "space.yaml:12: a search space: the key 1 should be a name"),
        (GOOD + "isolate: dpeth\n", "space.yaml:12: isolate: 'dpeth' is no dimension of this space (did you mean"),
        (GOOD + "isolate: dropout\n", "space.yaml:12: isolate: dropout is searched under a condition only"),
        (GOOD + "isolate: depth_phase.lr\n", "space.yaml:12: isolate: depth_phase.lr has endless values"),
        (GOOD.replace("head_phase.epochs: 3", "head_phase.epoch: 3"), "space.yaml:3: unknown setting"),
        (GOOD.replace("head_phase.epochs: 3", "head_phase: 3"), "space.yaml:3: head_phase is a group of settings"),
        (
            GOOD.replace("head_phase.epochs: 3", "head_phase.epochs: -3"),
            "space.yaml:3: head_phase.epochs: input should",
        ),
        (GOOD.replace("head_phase.epochs: 3", "metric: qwk"), "space.yaml:3: metric cannot be fixed in a space"),
    ],
)
def test_faults_of_a_document_are_reported_with_their_line(text: str, expected: str) -> None:
    assert any(expected in fault for fault in faults(text)), faults(text)


def test_a_key_given_twice_is_one_fault() -> None:
    text = GOOD.replace("    log: true", "    low: 1e-4")
    assert faults(text) == ("space.yaml:10: depth_phase.lr: low is given twice (first on line 8); keep one",)


def test_a_value_that_is_fixed_both_dotted_and_nested_is_a_fault() -> None:
    text = GOOD.replace("head_phase.epochs: 3", "head_phase.epochs: 3\n  head_phase:\n    epochs: 4")
    assert faults(text) == ("space.yaml:5: head_phase.epochs is fixed twice (first on line 3); keep one",)


def test_all_faults_are_raised_together_in_the_order_of_lines() -> None:
    text = GOOD.replace("epochs: 3", "epohcs: 3").replace("low: 1e-5", "low: -1").replace("0.5", "2")
    lines = [int(fault.split(":")[1]) for fault in faults(text)]
    assert lines == [3, 8, 11]


@pytest.mark.parametrize(
    ("search", "blocks", "expected"),
    [
        (
            "depth: {type: int, low: 0, high: 12}",
            8,
            "12 is beyond the 8 blocks of mobilenetv3_small_050; use at most 8",
        ),
        ("depth: {type: categorical, choices: [0, 12]}", 8, "12 is beyond the 8 blocks"),
        ("depth: {type: int, low: 5, high: all}", 3, "5 is beyond the 3 blocks"),
        ("depth: {type: int, low: 0, high: all, step: 2}", 5, "steps of 2 from 0 do not reach 5"),
        (
            (
                "depth: {type: int, low: 0, high: all}\n"
                "  dropout: {type: float, low: 0, high: 0.5, when: {depth: {min: 6}}}"
            ),
            4,
            "6 ≤ depth never holds",
        ),
    ],
)
def test_faults_that_depend_on_the_backbone_are_reported_at_binding(search: str, blocks: int, expected: str) -> None:
    (fault,) = faults_at_binding(f"search:\n  {search}\n", blocks)
    assert fault.startswith("space.yaml:")
    assert expected in fault


def test_a_fixed_depth_beyond_the_blocks_is_reported_at_binding() -> None:
    text = "fixed:\n  depth: 12\nsearch:\n  dropout: {type: float, low: 0, high: 0.5}\n"
    (fault,) = faults_at_binding(text, 8)
    assert fault.startswith("space.yaml:2: depth: 12 is beyond the 8 blocks")


def test_trainings_without_epochs_are_refused() -> None:
    text = (
        "fixed: {head_phase.epochs: 0, depth_phase.epochs: 0}\nsearch:\n  dropout: {type: float, low: 0, high: 0.5}\n"
    )
    assert "trains nothing" in faults_at_binding(text, 8)[0]


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("defalut", "no search space is called 'defalut' (did you mean 'default'?)"),
        ("zzz", "there are backbones, default, depth_isolation"),
        ("missing/space.yaml", "missing/space.yaml: cannot be read (No such file or directory)"),
        ("missing.yaml", "missing.yaml: cannot be read"),
    ],
)
def test_a_missing_space_is_reported(argument: str, expected: str) -> None:
    with pytest.raises(ConfigError) as raised:
        Space.load(argument)
    assert expected in str(raised.value)


def test_files_that_are_not_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_bytes(b"name: \xff\xfe")
    with pytest.raises(ConfigError, match="is not UTF-8 text"):
        Space.load(str(path))
    with pytest.raises(ConfigError, match="Is a directory"):
        Space.load(f"{tmp_path}/")


def test_a_space_without_a_name_has_that_of_its_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(GOOD.removeprefix("name: good\n"))
    space = Space.load(str(path))
    assert (space.name, space.file) == ("mine", str(path))


_WORDS = ["depth", "all", "type", "float", "low", "when", "search", "min", "step: 1e-300"]
_SIGNS = [*"{}[]:,'~", "*a", "&a ", "<<", "\n", "  "]
_NUMBERS = [".nan", "0", "-1", "1e999", "1e-320", "2020-99-99", "9" * 400]
_TAGS = [f"!!{tag} " for tag in ("int", "bool", "timestamp", "set", "null")]
_TOKENS = st.sampled_from(_WORDS + _SIGNS + _NUMBERS + _TAGS)


@settings(deadline=None)
@given(st.integers(0, len(GOOD)), st.integers(0, 30), st.lists(_TOKENS, max_size=4))
def test_damaged_files_never_break_the_parser(start: int, cut: int, tokens: list[str]) -> None:
    text = GOOD[:start] + "".join(tokens) + GOOD[start + cut :]
    faults: Sequence[str] = ()
    try:
        space = Space.parse(text, "space.yaml").bind(TrialConfig(), 8)
    except ConfigError as error:
        faults = error.faults
    assert faults or space.dimensions
    assert all(fault.startswith("space.yaml") and "\n" not in fault for fault in faults)


FREEZING = """
search:
  depth: {type: int, low: 0, high: all}
  depth_phase.parameters: {type: categorical, choices: [all, lora]}
"""


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("  depth_phase.window: {type: int, low: 1, high: 2}", "depth_phase.window: depth 0 has no 1 blocks to train"),
        ("  depth_phase.window: {type: int, low: 1, high: 3, when: {depth: {min: 2}}}", "depth 2 has no 3 blocks"),
        ("  depth_phase.gradual_epochs: {type: int, low: 0, high: 1}", "reach depth 8 in epoch 8"),
        ("  depth_phase.auto_rgn: {type: categorical, choices: [true, false]}", "depth_phase.auto_rgn: compares"),
        ("  depth_phase.lora_rank: {type: int, low: 1, high: 8}", "search it below that with when: {depth_phase.par"),
        ("  loss.effective_beta: {type: float, low: 0.9, high: 0.99}", "which is so in no trial"),
        ("fixed: {loss.effective_beta: 0.99}", "which is so in no trial"),
        ("  head_phase.probe_l2: {type: float, low: 0.01, high: 1}", "which is so in no trial"),
    ],
)
def test_contradictions_and_dimensions_without_effect_are_faults(entry: str, expected: str) -> None:
    (fault,) = faults_at_binding(f"{FREEZING}{entry}\n", 9)
    assert fault.startswith("space.yaml:5: ")
    assert expected in fault


@pytest.mark.parametrize(
    "entry",
    [
        "  depth_phase.window: {type: int, low: 1, high: 3, when: {depth: {min: 3}}}",
        "  depth_phase.gradual_epochs: {type: int, low: 0, high: 1, when: {depth: {max: 7}}}",
        "  depth_phase.auto_rgn: {type: categorical, choices: [true, false], when: {depth_phase.parameters: all}}",
        "  depth_phase.lora_rank: {type: int, low: 1, high: 8, when: {depth_phase.parameters: [lora]}}",
        "fixed: {depth_phase.lora_rank: 8}",
        "fixed: {loss.effective_beta: 0.999}",  # the default
    ],
)
def test_conditions_prevent_contradictions(entry: str) -> None:
    Space.parse(f"{FREEZING}{entry}\n", "space.yaml").bind(TrialConfig(), 9)
