"""The schema for editors agrees with ``spaces check``, and the page of settings with the configuration."""

import json

import pytest
import yaml
from jsonschema import Draft202012Validator

from drft.config.trial_config import config_paths
from drft.errors import ConfigError
from study.space import Space, shipped_spaces
from study.space.document import _Loader
from study.space.reference import settings_reference
from study.space.schema import space_schema
from study.space.settings import DEPTH_FRACTION, NEVER_FIXED, NEVER_SEARCHED
from tests.helpers import ROOT


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    schema = space_schema()
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def read(text: str) -> object:
    return yaml.load(text, Loader=_Loader)  # noqa: S506 (a SafeLoader, which reads numbers as editors do)


@pytest.mark.parametrize("path", shipped_spaces().values(), ids=lambda path: path.stem)
def test_shipped_spaces_are_valid(validator, path):
    assert not list(validator.iter_errors(read(path.read_text())))


def test_the_example_of_the_readme_is_a_valid_space_and_a_valid_document(validator):
    example = (ROOT / "search_spaces" / "README.md").read_text().split("```yaml\n")[1].split("```")[0]
    Space.parse(example, "README.md")
    assert not list(validator.iter_errors(read(example)))


def test_the_schema_has_every_setting_where_it_is_allowed():
    properties = space_schema()["properties"]
    dotted = {path for path in properties["fixed"]["properties"] if path in set(config_paths())}
    assert dotted == set(config_paths()) - NEVER_FIXED.keys()
    assert properties["search"]["properties"].keys() == {*config_paths(), DEPTH_FRACTION} - NEVER_SEARCHED.keys()
    losses = {path.removeprefix("loss.") for path in config_paths() if path.startswith("loss.")}
    assert properties["fixed"]["properties"]["loss"]["properties"].keys() == losses
    assert all(setting["description"] for setting in properties["search"]["properties"].values())


FAULTY = [
    "search: {}",
    "question: Why?",
    "search: {detph: {type: int, low: 0, high: 3}}",
    "search: {seed: {type: int, low: 0, high: 3}}",
    "search: {dropout: {type: float, low: 0, high: 2}}",
    "search: {dropout: {type: float, low: 0}}",
    "search: {dropout: {type: float, low: 0, high: 0.5, log: sure}}",
    "search: {dropout: {type: number, low: 0, high: 0.5}}",
    "search: {dropout: {type: categorical, choices: []}}",
    "search: {batch_norm: {type: int, low: 0, high: 1}}",
    "search: {batch_norm: {type: categorical, choices: [frozen, melted]}}",
    "search: {augmentation.strength: {type: categorical, choices: [0, 0.3]}}",
    "search: {depth: {type: float, low: 0, high: 3}}",
    "search: {depth: {type: int, low: 0, high: 3}}\nfixed: {metric: qwk}",
    "search: {depth: {type: int, low: 0, high: 3}}\nfixed: {loss: {label_smoothing: 3}}",
    "search: {depth: {type: int, low: 0, high: 3}, dropout: {type: float, low: 0, high: 0.5, when: {depht: 1}}}",
]


@pytest.mark.parametrize("text", FAULTY)
def test_documents_that_check_refuses_are_invalid(validator, text):
    with pytest.raises(ConfigError):
        Space.parse(text, "x.yaml")
    assert not validator.is_valid(read(text))


SOUND = [
    "search: {depth: {type: int, low: 0, high: all, step: 2}}\nfixed: {batch_norm: frozen}",
    "search: {depth: {type: categorical, choices: [0, all]}}\nisolate: depth",
    "search: {dropout: {type: float, low: 0, high: 0.5}}\nfixed: {depth: all, micro_batch: null}",
    "search: {image_size: {type: float, low: 32, high: 64, step: 16}}",
    "search: {depth: {type: int, low: 0, high: 4}, dropout: {type: float, low: 0, high: 0.5, when: {depth: {min: 2}}}}",
]


@pytest.mark.parametrize("text", SOUND)
def test_documents_that_check_accepts_are_valid(validator, text):
    Space.parse(text, "x.yaml")
    assert not list(validator.iter_errors(read(text)))


def test_the_page_of_settings_is_up_to_date():
    page = (ROOT / "docs" / "settings.md").read_text()
    assert page == settings_reference(), "regenerate it: python -m study.space.reference > docs/settings.md"


def test_the_page_names_every_setting_once():
    page = settings_reference()
    assert all(page.count(f"\n| `{path}` |") == 1 for path in config_paths())


def test_the_schema_is_plain_json():
    assert json.loads(json.dumps(space_schema())) == space_schema()
