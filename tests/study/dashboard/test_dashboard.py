import base64
import errno
import json
import os
import re
import shlex
import socket
import sqlite3
import threading
from http.client import HTTPConnection
from urllib.parse import urlsplit

import numpy as np
import optuna
import pytest
from click.testing import CliRunner
from optuna.artifacts.exceptions import ArtifactNotFound
from optuna.trial import TrialState
from optuna_dashboard import get_note, save_note

from drft.errors import StudyError, UsageError
from study.cli import cli, report
from study.dashboard import open_dashboard
from study.dashboard.access import (
    WrongPasswords,
    is_loopback,
    only_from_here,
    read_password,
    well_formed,
    with_password,
)
from study.dashboard.artifacts import TrialArtifacts, TrialFolder
from study.dashboard.multi_storage import MultiStorage
from study.dashboard.notes import NOTE_HEADING, StudyNotes
from study.results.locate import find_study
from study.results.study_folder import StudyFolder
from study.storage.open import open_storage
from study.storage.optuna_internals import check_renumber_trial
from tests.helpers.fake_training import fake_record, fake_result, scripted

STATES = [TrialState.COMPLETE] * 12 + [TrialState.PRUNED]


def with_folders(results, name="demo"):
    """Give the first trials the files of a run: trial 0 with a checkpoint, 1 without, 2 as failed."""
    folder, config = StudyFolder(results / name), scripted()
    folder.write_study("search: {}\n", {})
    trained = fake_result(config, [fake_record(config, step) for step in range(1, 11)], "completed")
    folder.write_trial(0, trained, checkpoint=True)
    folder.write_trial(1, trained, checkpoint=False)
    folder.write_failure(2, config, "it broke", "Traceback")
    return results


@pytest.fixture(scope="module")
def results(make_study, tmp_path_factory):
    return with_folders(make_study(tmp_path_factory.mktemp("dashboard"), "demo", STATES))


@pytest.fixture
def serve():
    """Serve a dashboard until the test ends."""
    running = []

    def start(studies, results, **options):
        dashboard = open_dashboard(studies, results, port=0, **options)
        thread = threading.Thread(target=dashboard.serve)
        thread.start()
        running.append((dashboard, thread))
        return dashboard

    yield start
    for dashboard, thread in running:
        dashboard.close()
        thread.join()


@pytest.fixture
def quiet(monkeypatch):
    """Compute no findings during the test."""
    monkeypatch.setattr(StudyNotes, "refresh", lambda self: None)


@pytest.fixture
def at_once(monkeypatch):
    """Read the storages again in every request."""
    monkeypatch.setattr("study.dashboard.multi_storage.REFRESH_SECONDS", 0.0)


def ask(url, method="GET", body=None, **headers):
    parts = urlsplit(url)
    connection = HTTPConnection(parts.netloc, timeout=60)
    connection.request(method, parts.path, body=None if body is None else json.dumps(body), headers=headers)
    answer = connection.getresponse()
    return answer.status, answer.read()


def status(url, method="GET", **headers):
    return ask(url, method, **headers)[0]


def api(dashboard, path):
    host = urlsplit(dashboard.url).netloc
    return json.loads(ask(f"http://{host}/api/{path}")[1])


def detail(dashboard):
    return api(dashboard, f"studies/{dashboard.url.rpartition('/')[2]}")


def figures(dashboard):
    return {figure["id"]: figure["graph_object"] for figure in detail(dashboard)["plotly_graph_objects"]}


def note(dashboard):
    return detail(dashboard)["note"]["body"]


def write_note(dashboard, path, version, body):
    url = f"http://{urlsplit(dashboard.url).netloc}/api/studies/{path}/note"
    return ask(url, "PUT", {"version": version, "body": body}, **{"Content-Type": "application/json"})


def test_dashboard_serves_the_study_on_this_machine_only(serve, results, quiet):
    dashboard = serve(["demo"], results)
    assert dashboard.url.startswith("http://127.0.0.1:")
    assert status(dashboard.url) == 200
    assert status(dashboard.url, Host="evil.example") == 403
    assert status(dashboard.url, Origin="http://evil.example") == 403
    assert status(dashboard.url, Origin=f"http://{urlsplit(dashboard.url).netloc}") == 200
    assert api(dashboard, f"studies/{dashboard.url.rpartition('/')[2]}")["name"] == "demo"


@pytest.mark.parametrize("host", ["", "evil.example", "127.0.0.1.evil.example:80"])
def test_requests_without_a_local_host_are_refused(host):
    called = []
    guarded = only_from_here(lambda environ, start_response: called.append(environ) or [b""])
    body = guarded({"HTTP_HOST": host}, lambda code, headers: called.append(code))
    assert called == ["403 Forbidden"]
    assert b"own machine" in b"".join(body)


def answer(environ):
    """Return the status of a request to a dashboard without a password."""
    called = []
    application = well_formed(only_from_here(lambda environ, start_response: start_response("200 OK", []) or [b""]))
    list(application({"REQUEST_METHOD": "GET", **environ}, lambda code, headers: called.append(code)))
    return called[0][:3]


@pytest.mark.parametrize(
    "host",
    ["", "[::1", "::1", "127.0.0.1:", "127.0.0.1:99999", "a@127.0.0.1", "127.0.0.1/x", "127.0.0.1 ", "[1]", "a, b"],
)
def test_a_malformed_host_is_a_bad_request(host):
    assert answer({"HTTP_HOST": host}) == "400"


@pytest.mark.parametrize("origin", ["", "127.0.0.1", "http://", "http://127.0.0.1/x", "http://a@127.0.0.1", "ftp://x"])
def test_a_malformed_origin_is_a_bad_request(origin):
    assert answer({"HTTP_HOST": "127.0.0.1", "HTTP_ORIGIN": origin}) == "400"


@pytest.mark.parametrize(
    "host",
    [
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "evil-localhost",
        "127.1",
        "2130706433",
        "0x7f.0.0.1",
        "128.0.0.1",
    ],
)
def test_a_host_that_looks_like_this_machine_is_refused(host):
    assert answer({"HTTP_HOST": host}) == "403"
    assert answer({"HTTP_HOST": "127.0.0.1", "HTTP_ORIGIN": f"http://{host}"}) == "403"


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8080", "127.0.0.2", "127.255.255.254:1", "localhost", "LOCALHOST:1", "[::1]:80"]
)
def test_every_loopback_address_is_served(host):
    assert answer({"HTTP_HOST": host}) == "200"
    assert answer({"HTTP_HOST": host, "HTTP_ORIGIN": f"http://{host}"}) == "200"
    assert answer({"HTTP_HOST": host, "HTTP_ORIGIN": "null"}) == "403"
    assert answer({"HTTP_HOST": host, "HTTP_ORIGIN": "http://127.0.0.1:9"}) == "403"


def test_a_study_without_parameters_has_empty_importances(serve, make_study, tmp_path, quiet):
    make_study(tmp_path, "demo.confirm", [])
    study = opened("demo.confirm", tmp_path)
    study.add_trials([optuna.trial.create_trial(value=0.5)] * 2)
    dashboard = serve(["demo.confirm"], tmp_path)
    number = dashboard.url.rpartition("/")[2]
    assert api(dashboard, f"studies/{number}/param_importances") == {"param_importances": [[]]}
    assert "not found" in api(dashboard, "studies/99/param_importances")["reason"]


def test_several_folders_are_one_dashboard(serve, make_study, tmp_path, quiet):
    for name in ("one", "two"):
        make_study(tmp_path, name, [TrialState.COMPLETE] * 3)
    make_study(tmp_path, "one", [TrialState.COMPLETE] * 2, folder="again")
    with_folders(tmp_path, "two")
    dashboard = serve(["one", "two", "again"], tmp_path)
    assert dashboard.url.endswith("/dashboard/")
    listed = {study["study_name"]: study["study_id"] for study in api(dashboard, "studies")["study_summaries"]}
    assert sorted(listed) == [f"{tmp_path}/again/one", f"{tmp_path}/one/one", "two"]
    shown = {name: api(dashboard, f"studies/{study_id}") for name, study_id in listed.items()}
    assert {name: len(detail["trials"]) for name, detail in shown.items()} == {
        f"{tmp_path}/again/one": 2,
        f"{tmp_path}/one/one": 3,
        "two": 3,
    }
    ids = [trial["trial_id"] for detail in shown.values() for trial in detail["trials"]]
    assert len(set(ids)) == len(ids) == 8
    assert [bool(trial["artifacts"]) for trial in shown["two"]["trials"]] == [True, True, True]
    assert not any(trial["artifacts"] for trial in shown[f"{tmp_path}/one/one"]["trials"])


def test_note_on_a_trial_of_several_folders_lands_with_its_trial(serve, make_study, tmp_path, quiet):
    for name in ("one", "two"):
        make_study(tmp_path, name, [TrialState.COMPLETE] * 3)
    dashboard = serve(["one", "two"], tmp_path)
    (study_id,) = (s["study_id"] for s in api(dashboard, "studies")["study_summaries"] if s["study_name"] == "two")
    trial = api(dashboard, f"studies/{study_id}")["trials"][1]
    assert write_note(dashboard, f"{study_id}/{trial['trial_id']}", 1, "look")[0] == 204
    assert api(dashboard, f"studies/{study_id}")["trials"][1]["note"] == {"version": 1, "body": "look"}
    alone = serve(["two"], tmp_path)
    assert [trial["note"]["body"] for trial in detail(alone)["trials"]] == ["", "look", ""]


def test_artifacts_are_the_files_in_the_folders(serve, results, quiet):
    dashboard = serve(["demo"], results)
    study_id = int(dashboard.url.rpartition("/")[2])
    trials = api(dashboard, f"studies/{study_id}")["trials"]
    images = ["curves.svg", "confusion.svg"]
    assert [[artifact["filename"] for artifact in trial["artifacts"]] for trial in trials[:4]] == [
        [*images, "config.yaml", "epochs.csv", "best.safetensors"],
        [*images, "config.yaml", "epochs.csv"],
        ["config.yaml", "failure.txt"],
        [],
    ]
    base = f"http://{urlsplit(dashboard.url).netloc}/artifacts/{study_id}/{trials[0]['trial_id']}"
    contents = {
        artifact["filename"]: ask(f"{base}/{artifact['artifact_id']}")[1] for artifact in trials[0]["artifacts"]
    }
    for name in ("config.yaml", "epochs.csv", "best.safetensors"):
        assert contents[name] == (results / "demo/trials/0000" / name).read_bytes()
    assert b"best epoch 3" in contents["curves.svg"]
    assert b"1 of 2 correct" in contents["confusion.svg"]
    other = trials[2]["artifacts"][0]["artifact_id"]
    assert status(f"{base}/{other}") == 404  # it is an artifact of another trial


def test_a_checkpoint_that_was_displaced_is_listed_no_more(serve, make_study, tmp_path, quiet, at_once):
    dashboard = serve(["demo"], with_folders(make_study(tmp_path, "demo", [TrialState.COMPLETE] * 3)))
    study_id = int(dashboard.url.rpartition("/")[2])
    trial = api(dashboard, f"studies/{study_id}")["trials"][0]
    ids = {artifact["filename"]: artifact["artifact_id"] for artifact in trial["artifacts"]}
    (tmp_path / "demo/trials/0000/best.safetensors").unlink()
    listed = dashboard.storage.get_trial_system_attrs(trial["trial_id"]).values()
    assert {json.loads(value)["artifact_id"] for value in listed} == set(ids.values()) - {ids["best.safetensors"]}
    base = f"http://{urlsplit(dashboard.url).netloc}/artifacts/{study_id}/{trial['trial_id']}"
    assert status(f"{base}/{ids['best.safetensors']}") == 404
    assert status(f"{base}/{ids['curves.svg']}") == 200


@pytest.mark.parametrize("name", ["0-0", "0-0-0-0", "1-0-0", "0-0-63", "../../study.db", "0-0-0/../x", "", "0--1-0"])
def test_no_artifact_leads_elsewhere(results, name):
    storage = MultiStorage([find_study("demo", results)])
    optuna.load_study(study_name="demo", storage=storage).get_trials()
    with pytest.raises(ArtifactNotFound):
        storage.artifacts.open_reader(name)


def test_confusion_is_counted_without_predictions_on_the_test_set(make_study, tmp_path):
    make_study(tmp_path, "demo", [TrialState.COMPLETE])
    with_folders(tmp_path)
    path = tmp_path / "demo/trials/0000/predictions.npz"
    with np.load(path) as stored:
        validation = {name: stored[name] for name in stored.files if name.startswith("validation")}
    np.savez(path, **validation)
    artifacts = TrialArtifacts()
    attributes = artifacts.attributes(TrialFolder(path.parent, 0, "accuracy", ()))
    listed = {listing["filename"]: listing for listing in map(json.loads, attributes.values())}
    assert b"2 validation images" in artifacts.open_reader(listed["confusion.svg"]["artifact_id"]).read()
    assert not any("predictions" in name for name in listed)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_read_only_refuses_changes_with_a_reason(serve, results, quiet, method):
    dashboard = serve(["demo"], results, read_only=True)
    url = f"http://{urlsplit(dashboard.url).netloc}/api/studies/1"
    answer, body = ask(url, method, {})
    assert answer == 403
    assert "read-only" in json.loads(body)["reason"]
    assert ask(url)[0] == 200


def test_read_only_shows_everything_and_writes_nothing(serve, make_study, tmp_path):
    make_study(tmp_path, "kept", STATES)
    before = dump(tmp_path / "kept/study.db")
    dashboard = serve(["kept"], tmp_path, read_only=True)
    dashboard.findings.refresh()
    assert len(figures(dashboard)) > 3
    assert note(dashboard).startswith(NOTE_HEADING)
    with pytest.raises(StudyError, match="read-only"):
        optuna.load_study(study_name="kept", storage=dashboard.storage).set_user_attr("a", 1)
    assert dump(tmp_path / "kept/study.db") == before


def test_a_dashboard_that_was_closed_before_it_served_ends_at_once(results, quiet):
    dashboard = open_dashboard(["demo"], results, port=0)
    dashboard.close()
    dashboard.serve()


def dump(path):
    connection = sqlite3.connect(path)
    lines = list(connection.iterdump())
    connection.close()
    return lines


def test_studies_and_files_are_not_made_renamed_or_deleted_in_the_dashboard(serve, results, quiet):
    dashboard = serve(["demo"], results)
    host = f"http://{urlsplit(dashboard.url).netloc}"
    for method, path in (
        ("POST", "/api/studies"),
        ("POST", "/api/studies/1/rename"),
        ("POST", "/api/artifacts/1"),
        ("DELETE", "/api/artifacts/1/1/0"),
    ):
        answer, body = ask(host + path, method, {"study_name": "x", "directions": ["maximize"]})
        assert answer == 403
        assert json.loads(body)["reason"]


@pytest.fixture
def password_file(tmp_path):
    path = tmp_path / "password"
    path.write_text("open sesame\n")
    path.chmod(0o600)
    return path


def basic(password):
    return "Basic " + base64.b64encode(f"me:{password}".encode()).decode()


def test_a_password_is_required(serve, results, quiet, password_file):
    dashboard = serve(["demo"], results, password_file=password_file)
    assert status(dashboard.url) == 401
    for wrong in (basic("open"), basic(""), "Basic ???", "Bearer x", basic("open sesame\n"), "Basic"):
        assert status(dashboard.url, Authorization=wrong) == 401
    assert status(dashboard.url, Authorization=basic("open sesame")) == 200


def test_wrong_passwords_make_their_address_wait_and_no_other():
    now = [0.0]
    wrong = WrongPasswords(lambda: now[0])
    waits = []
    for _ in range(25):
        wrong.add("attacker")
        waits.append(wrong.seconds_left("attacker"))
        now[0] += waits[-1]
    assert waits[:12] == [0] * 9 + [1, 2, 4]
    assert waits[-1] == 300
    assert wrong.seconds_left("somebody") == 0
    assert wrong.seconds_left("attacker") == 0  # its time is over
    wrong.add("attacker")
    wrong.forget("attacker")
    wrong.add("attacker")
    assert wrong.seconds_left("attacker") == 0


def test_many_addresses_take_no_more_memory():
    wrong = WrongPasswords(lambda: 0.0)
    for number in range(3000):
        wrong.add(str(number))
    assert len(wrong._wrong) == 1000


def test_whoever_waits_is_refused_even_with_the_right_password():
    guarded, codes = with_password(lambda environ, start_response: start_response("200 OK", []) or [b""], b"right"), []

    def request(**headers):
        environ = {"REQUEST_METHOD": "GET", "HTTP_HOST": "x", "REMOTE_ADDR": "1.2.3.4", **headers}
        list(guarded(environ, lambda code, headers: codes.append(code[:3])))
        return codes[-1]

    assert {request(HTTP_AUTHORIZATION=basic("wrong")) for _ in range(10)} == {"401"}
    assert request(HTTP_AUTHORIZATION=basic("right")) == "429"
    assert request() == "401"  # without a password: a browser asks for it
    assert request(HTTP_AUTHORIZATION=basic("right"), REMOTE_ADDR="1.2.3.5") == "200"


def test_idle_connections_do_not_block_it(serve, results, quiet, monkeypatch):
    monkeypatch.setattr("study.dashboard.server._IDLE_SECONDS", 3000)  # they stay
    dashboard = serve(["demo"], results)
    address = urlsplit(dashboard.url)
    idle = [socket.create_connection((address.hostname, address.port)) for _ in range(120)]
    try:
        for connection in idle[:60]:
            connection.sendall(b"GET / HTTP/1.1\r\nHost:")  # and never the rest
        assert status(dashboard.url) == 200
    finally:
        for connection in idle:
            connection.close()


def test_with_a_password_changes_must_come_from_its_own_pages(serve, results, quiet, password_file):
    dashboard = serve(["demo"], results, password_file=password_file)
    url = f"http://{urlsplit(dashboard.url).netloc}/api/studies/77"
    headers = {"Authorization": basic("open sesame"), "Host": "studies.example"}
    assert status(url, "DELETE", **headers, Origin="https://evil.example") == 403
    assert status(url, "DELETE", **headers, Origin="https://studies.example") in {404, 500}  # there is no study 77


def test_unusable_password_files_are_refused(tmp_path, password_file):
    assert read_password(password_file) == b"open sesame"
    password_file.chmod(0o644)
    with pytest.raises(UsageError, match="chmod 600"):
        read_password(password_file)
    (tmp_path / "empty").touch(mode=0o600)
    with pytest.raises(UsageError, match="is empty"):
        read_password(tmp_path / "empty")
    with pytest.raises(UsageError, match="cannot be read"):
        read_password(tmp_path / "none")


def test_other_addresses_need_a_password(results):
    result = CliRunner().invoke(cli, ["dashboard", "demo", "--results", str(results), "--host", "0.0.0.0"])  # noqa: S104
    assert isinstance(result.exception, UsageError)
    assert str(result.exception) == "--host 0.0.0.0 lets other machines in: give a password with --password-file FILE"


@pytest.mark.parametrize(
    ("host", "inside"),
    [("127.0.0.1", True), ("127.1.2.3", True), ("::1", True), ("localhost", True), ("10.0.0.1", False), ("x.y", False)],
)
def test_loopback_addresses_are_recognized(host, inside):
    assert is_loopback(host) is inside


def test_port_in_use_is_one_line(serve, results, quiet):
    port = urlsplit(serve(["demo"], results).url).port
    with pytest.raises(StudyError, match="choose another --port") as caught:
        open_dashboard(["demo"], results, port=port)
    reason = os.strerror(errno.EADDRINUSE)
    assert str(caught.value) == f"cannot listen at 127.0.0.1:{port} ({reason}): choose another --port or --host"


def test_unknown_study_is_named_before_anything_listens(results):
    with pytest.raises(StudyError, match="did you mean 'demo'"):
        open_dashboard(["demo", "dmo"], results)


def opened(name, results):
    return find_study(name, results).open()


def test_figures_and_summary_are_shown_and_kept_out_of_the_storage(serve, make_study, tmp_path):
    make_study(tmp_path, "demo", STATES)
    before = dump(tmp_path / "demo/study.db")
    dashboard = serve(["demo"], tmp_path)
    dashboard.findings.refresh()
    assert len(figures(dashboard)) > 3
    assert all(json.loads(figure)["layout"]["title"]["text"] for figure in figures(dashboard).values())
    assert note(dashboard).startswith(NOTE_HEADING)
    assert "Which epoch should be kept?" in note(dashboard)
    assert "For research and education only" in note(dashboard)
    assert dump(tmp_path / "demo/study.db") == before


@pytest.mark.parametrize("place", ["folder", "storage"])
def test_the_note_names_a_command_that_finds_the_study(serve, make_study, tmp_path, place):
    make_study(tmp_path / "my results", "demo", STATES[:4])
    storage = None
    if place == "storage":
        storage = str(tmp_path / "my study.journal")
        optuna.copy_study(
            from_study_name="demo",
            from_storage=f"sqlite:///{tmp_path / 'my results' / 'demo' / 'study.db'}",
            to_storage=open_storage(storage),
        )
    dashboard = serve(["demo"], tmp_path / "my results", storage=storage)
    dashboard.findings.refresh()
    (words,) = re.findall("The whole report: `drft-study report (.*)`", note(dashboard))
    command = report.command.make_context("report", shlex.split(words))
    values = {name: command.params[name] for name in ("study", "results", "storage")}
    assert find_study(**values).open().study_name == "demo"


def test_a_study_in_a_journal_is_served_with_its_findings(serve, results, tmp_path):
    path = tmp_path / "study.journal"
    optuna.copy_study(
        from_study_name="demo",
        from_storage=f"sqlite:///{results / 'demo' / 'study.db'}",
        to_storage=open_storage(path),
    )
    dashboard = serve(["demo"], results, storage=str(path))
    dashboard.findings.refresh()
    shown = detail(dashboard)
    assert shown["name"] == "demo"
    assert shown["note"]["body"].startswith(NOTE_HEADING)
    assert shown["trials"][0]["artifacts"]


def test_findings_follow_a_study_that_runs(serve, make_study, tmp_path, at_once, monkeypatch):
    make_study(tmp_path, "live", STATES)
    dashboard = serve(["live"], tmp_path, refresh=3600)
    dashboard.findings.refresh()
    first = figures(dashboard)
    with monkeypatch.context() as patch:
        patch.setattr("study.dashboard.notes.summarize", lambda results: pytest.fail("no trial has finished"))
        dashboard.findings.refresh()
    study = opened("live", tmp_path)
    study.add_trials(study.get_trials()[:4])
    dashboard.findings.refresh()
    assert figures(dashboard) != first


def test_keeping_up_ends_when_stopped(results):
    findings = StudyNotes(MultiStorage([find_study("demo", results)]), {}, pytest.fail)
    stop = threading.Event()
    keeper = threading.Thread(target=findings.keep_up, args=(3600, stop))
    keeper.start()
    stop.set()
    keeper.join(60)
    assert not keeper.is_alive()


def test_note_of_a_person_is_left_alone(serve, make_study, tmp_path):
    make_study(tmp_path, "noted", [TrialState.COMPLETE])
    save_note(opened("noted", tmp_path), "look at trial 7")
    dashboard = serve(["noted"], tmp_path)
    dashboard.findings.refresh()
    assert note(dashboard) == get_note(opened("noted", tmp_path)) == "look at trial 7"


def test_a_note_in_the_dashboard_is_written_to_the_storage(serve, make_study, tmp_path):
    make_study(tmp_path, "noted", STATES)
    dashboard = serve(["noted"], tmp_path)
    dashboard.findings.refresh()
    shown, number = detail(dashboard)["note"], dashboard.url.rpartition("/")[2]
    assert write_note(dashboard, number, shown["version"] + 1, "mine")[0] == 204
    assert get_note(opened("noted", tmp_path)) == note(dashboard) == "mine"
    assert write_note(dashboard, number, shown["version"] + 1, "yours")[0] == 409  # of an older version
    dashboard.findings.refresh()
    assert get_note(opened("noted", tmp_path)) == note(dashboard) == "mine"


def test_a_note_of_another_program_replaces_the_longer_one_of_ours(serve, make_study, tmp_path, at_once):
    make_study(tmp_path, "noted", STATES)
    dashboard = serve(["noted"], tmp_path, refresh=3600)
    dashboard.findings.refresh()
    assert len(note(dashboard)) > len("look")
    save_note(opened("noted", tmp_path), "look")
    assert note(dashboard) == "look"


def test_new_and_changed_trials_are_shown_as_they_are_stored(make_study, tmp_path, at_once):
    make_study(tmp_path, "live", [TrialState.COMPLETE] * 2)
    shown = optuna.load_study(study_name="live", storage=MultiStorage([find_study("live", tmp_path)]))
    study = opened("live", tmp_path)
    assert_same_trials(shown, study)
    trial = study.ask({"depth": optuna.distributions.IntDistribution(0, 5)})
    trial.report(0.5, 1)
    assert_same_trials(shown, study)
    trial.report(0.6, 2)
    trial.set_user_attr("ending", "completed")
    study.tell(trial, 0.6)
    assert_same_trials(shown, study)
    assert shown.best_trial.number == study.best_trial.number


def assert_same_trials(shown, study):
    fields = ("number", "state", "values", "params", "distributions", "user_attrs", "intermediate_values",
              "datetime_start", "datetime_complete")  # fmt: skip
    first, second = ([{name: getattr(t, name) for name in fields} for t in s.get_trials()] for s in (shown, study))
    assert first == second


def test_requests_soon_after_another_read_no_storage(results, monkeypatch):
    storage = MultiStorage([find_study("demo", results)])
    study = optuna.load_study(study_name="demo", storage=storage)
    trials = study.get_trials()
    monkeypatch.setattr(optuna.storages.RDBStorage, "get_all_studies", lambda self: pytest.fail("read again"))
    monkeypatch.setattr(optuna.Study, "get_trials", lambda self, *_, **__: pytest.fail("read again"))
    assert storage.get_all_trials(storage.get_study_id_from_name("demo")) == trials
    assert storage.get_best_trial(storage.get_study_id_from_name("demo")) in trials


def test_a_study_deleted_in_the_dashboard_is_deleted(serve, make_study, tmp_path, quiet):
    make_study(tmp_path, "old", [TrialState.COMPLETE])
    dashboard = serve(["old"], tmp_path)
    assert ask(dashboard.url.replace("/dashboard/", "/api/"), "DELETE")[0] == 204
    assert api(dashboard, "studies")["study_summaries"] == []
    assert optuna.get_all_study_names(f"sqlite:///{tmp_path / 'old/study.db'}") == []


def test_studies_made_and_deleted_by_others_come_and_go(make_study, tmp_path, at_once):
    for name in ("one", "two"):
        make_study(tmp_path, name, [TrialState.COMPLETE])
    storage = MultiStorage([find_study(name, tmp_path) for name in ("one", "two")])
    assert names(storage) == ["one", "two"]
    for name in ("one", "two"):
        make_study(tmp_path, "same", [TrialState.COMPLETE], folder=name)
    assert sorted(names(storage)) == sorted(["one", "same", "two", f"{tmp_path}/two/same"])
    optuna.delete_study(study_name="one", storage=f"sqlite:///{tmp_path / 'one/study.db'}")
    assert sorted(names(storage)) == sorted(["same", "two", f"{tmp_path}/two/same"])


def names(storage):
    return optuna.get_all_study_names(storage)


def test_notes_that_a_copy_of_a_study_has_of_other_trials_are_not_shown(make_study, tmp_path, serve, quiet):
    make_study(tmp_path, "one", [TrialState.COMPLETE] * 2)
    study = opened("one", tmp_path)
    save_note(optuna.trial.Trial(study, 2), "of trial 1")
    for folder in ("two", "three"):  # in the second, the ids of the copied trials are 3 and 4
        (tmp_path / folder).mkdir()
        url = f"sqlite:///{tmp_path / folder / 'study.db'}"
        if folder == "three":
            optuna.copy_study(from_study_name="one", from_storage=study_url("one", tmp_path), to_storage=url)
        optuna.copy_study(
            from_study_name="one", from_storage=study_url("one", tmp_path), to_storage=url, to_study_name=folder
        )
    shown = {name: [t["note"]["body"] for t in detail(serve([name], tmp_path))["trials"]] for name in ("two", "three")}
    assert shown == {"two": ["", "of trial 1"], "three": ["", ""]}


def study_url(name, results):
    return f"sqlite:///{results / name / 'study.db'}"


def test_an_unknown_form_of_notes_is_noticed(serve, make_study, tmp_path, quiet, monkeypatch):
    assert check_renumber_trial() is None
    monkeypatch.setattr("study.dashboard.multi_storage.check_renumber_trial", lambda: "unknown keys")
    make_study(tmp_path, "noted", [TrialState.COMPLETE])
    study = opened("noted", tmp_path)
    save_note(study, "of the study")
    save_note(optuna.trial.Trial(study, 1), "of a trial")
    notices = []
    dashboard = serve(["noted"], tmp_path, notify=notices.append)
    assert notices == ["notes of trials are not shown, and no notes are written: unknown keys"]
    assert note(dashboard) == "of the study"
    assert detail(dashboard)["trials"][0]["note"]["body"] == ""
    before = dump(tmp_path / "noted/study.db")
    assert write_note(dashboard, dashboard.url.rpartition("/")[2], 2, "lost")[0] == 500
    assert dump(tmp_path / "noted/study.db") == before


def test_findings_that_cannot_be_shown_are_reported_once(make_study, tmp_path, monkeypatch):
    def refuse(*_args, **_keywords):
        raise optuna.exceptions.StorageInternalError("attempt to write a readonly database")

    make_study(tmp_path, "shut", STATES)
    monkeypatch.setattr("optuna_dashboard.save_plotly_graph_object", refuse)
    notices = []
    dashboard = open_dashboard(["shut"], tmp_path, port=0, notify=notices.append)
    dashboard.findings.refresh()
    dashboard.findings.refresh()
    assert notices == ["the findings of shut cannot be shown: attempt to write a readonly database"]
    dashboard.close()
    dashboard.serve()
