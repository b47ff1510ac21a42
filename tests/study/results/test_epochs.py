"""A trial's epochs in the study: nothing is lost, and studies of schema 1 can still be read."""

import dataclasses
import json

from study.results.epochs import ATTRIBUTE, pack, unpack
from tests.helpers.fake_training import fake_record, scripted

RECORDS = [fake_record(scripted(), step, accuracy=0.1 * step) for step in range(1, 13)]


def test_records_come_back_as_they_were():
    assert unpack({ATTRIBUTE: pack(RECORDS), "depth": 3}) == RECORDS


def test_one_attribute_for_each_epoch_is_read_too():
    attributes = {f"epoch:{record.step:03d}": json.dumps(dataclasses.asdict(record)) for record in reversed(RECORDS)}
    assert unpack(attributes) == RECORDS


def test_a_trial_that_is_not_over_has_none():
    assert unpack({"depth": 3}) == []
