"""The epochs of a trial as a user attribute: all fields survive, and studies of schema 1 can be read."""

import dataclasses
import json

from study.results.epochs import ATTRIBUTE, pack, unpack
from tests.helpers.fake_training import fake_record, scripted

RECORDS = [fake_record(scripted(), step, accuracy=0.1 * step) for step in range(1, 13)]


def test_unpack_returns_the_packed_records():
    assert unpack({ATTRIBUTE: pack(RECORDS), "depth": 3}) == RECORDS


def test_one_attribute_per_epoch_can_be_read():
    attributes = {f"epoch:{record.step:03d}": json.dumps(dataclasses.asdict(record)) for record in reversed(RECORDS)}
    assert unpack(attributes) == RECORDS


def test_an_unfinished_trial_has_no_records():
    assert unpack({"depth": 3}) == []
