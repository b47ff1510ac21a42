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


def valid(read):
    jsonschema.validate(summary(read, summarize(read)), summary_schema())


def test_the_documented_schema_is_that_of_the_program():
    told = "python -m study.report.schema > docs/summary.schema.json"
    assert json.loads(DOCUMENTED.read_text()) == summary_schema(), told


def test_a_summary_keeps_to_it(demo):
    valid(read_study("demo", demo))


@pytest.mark.parametrize("states", [[], [TrialState.FAIL], [TrialState.COMPLETE] * 6])
def test_so_does_one_of_which_most_is_withheld(make_study, tmp_path, states):
    make_study(tmp_path, "few", states)
    valid(read_study("few", tmp_path))


def test_what_does_not_keep_to_it_is_found(demo):
    read = read_study("demo", demo)
    broken = summary(read, summarize(read))
    broken["statistics"]["peak"]["n"] = "many"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, summary_schema())
