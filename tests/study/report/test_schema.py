import json

import jsonschema
import pytest
from optuna.trial import TrialState

from study.analysis import summarize
from study.report.json_csv import summary
from study.report.schema import summary_schema
from study.results.study_results import read_study
from tests.helpers import ROOT

DOCUMENTED = ROOT / "docs" / "summary.schema.json"


def validate(read):
    jsonschema.validate(summary(read, summarize(read)), summary_schema())


def test_documented_schema_is_up_to_date():
    command = "python -m study.report.schema > docs/summary.schema.json"
    assert json.loads(DOCUMENTED.read_text()) == summary_schema(), command


def test_summary_is_valid(demo):
    validate(read_study("demo", demo))


@pytest.mark.parametrize("states", [[], [TrialState.FAIL], [TrialState.COMPLETE] * 6])
def test_summary_of_withheld_statistics_is_valid(make_study, tmp_path, states):
    make_study(tmp_path, "few", states)
    validate(read_study("few", tmp_path))


def test_invalid_summary_is_refused(demo):
    read = read_study("demo", demo)
    broken = summary(read, summarize(read))
    broken["statistics"]["peak"]["n"] = "many"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, summary_schema())
