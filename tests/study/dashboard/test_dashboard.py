import base64
import json
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
from optuna_dashboard._custom_plot_data import get_plotly_graph_objects

from drft.errors import StudyError, UsageError
from study.cli import cli
from study.dashboard import open_dashboard
from study.dashboard.access import is_loopback, only_from_here, read_password
from study.dashboard.artifacts import TrialArtifacts
from study.dashboard.notes import NOTE_HEADING, StudyNotes, StudySource
from study.results.locate import find_study
from study.results.study_folder import StudyFolder
from study.storage.open import open_storage
from tests.helpers.fake_training import fake_record, fake_result, scripted

STATES = [TrialState.COMPLETE] * 12 + [TrialState.PRUNED]


def with_folders(results, name="demo"):
    """Give the first trials the files that a run leaves: 0 with a checkpoint, 1 without, 2 as failed."""
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
    """No findings are made beside the test."""
    monkeypatch.setattr(StudyNotes, "refresh", lambda self: None)


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


def figures_of(study):
    return get_plotly_graph_objects(study._storage.get_study_system_attrs(study._study_id))


def test_dashboard_serves_the_study_on_this_machine_only(serve, results, quiet):
    dashboard = serve(["demo"], results)
    assert dashboard.url.startswith("http://127.0.0.1:")
    assert status(dashboard.url) == 200
    assert status(dashboard.url, Host="evil.example") == 403
    assert status(dashboard.url, Origin="http://evil.example") == 403
    assert status(dashboard.url, Origin=f"http://{urlsplit(dashboard.url).netloc}") == 200
    assert api(dashboard, f"studies/{dashboard.url.rpartition('/')[2]}")["name"] == "demo"


@pytest.mark.parametrize("host", ["", "evil.example", "127.0.0.1.evil.example:80"])
def test_guard_lets_nothing_through_without_a_local_host(host):
    called = []
    guarded = only_from_here(lambda environ, start_response: called.append(environ) or [b""])
    body = guarded({"HTTP_HOST": host}, lambda code, headers: called.append(code))
    assert called == ["403 Forbidden"]
    assert b"own machine" in b"".join(body)


def test_a_study_without_parameters_has_nothing_that_is_important(serve, make_study, tmp_path, quiet):
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
    url = f"http://{urlsplit(dashboard.url).netloc}/api/studies/{study_id}/{trial['trial_id']}/note"
    json_type = {"Content-Type": "application/json"}
    assert ask(url, "PUT", {"version": 1, "body": "look"}, **json_type)[0] == 204
    assert api(dashboard, f"studies/{study_id}")["trials"][1]["note"] == {"version": 1, "body": "look"}
    alone = serve(["two"], tmp_path)
    noted = api(alone, f"studies/{alone.url.rpartition('/')[2]}")["trials"]
    assert [trial["note"]["body"] for trial in noted] == ["", "look", ""]


def test_artifacts_are_what_the_folders_hold(serve, results, quiet):
    dashboard = serve(["demo"], results)
    study_id = int(dashboard.url.rpartition("/")[2])
    trials = api(dashboard, f"studies/{study_id}")["trials"]
    images = ["curves.svg", "confusion.svg"]
    assert [[piece["filename"] for piece in trial["artifacts"]] for trial in trials[:4]] == [
        [*images, "config.yaml", "epochs.csv", "best.safetensors"],
        [*images, "config.yaml", "epochs.csv"],
        ["config.yaml", "failure.txt"],
        [],
    ]
    base = f"http://{urlsplit(dashboard.url).netloc}/artifacts/{study_id}/{trials[0]['trial_id']}"
    got = {piece["filename"]: ask(f"{base}/{piece['artifact_id']}")[1] for piece in trials[0]["artifacts"]}
    for name in ("config.yaml", "epochs.csv", "best.safetensors"):
        assert got[name] == (results / "demo/trials/0000" / name).read_bytes()
    assert b"best step 3" in got["curves.svg"]
    assert b"1 of 2 right" in got["confusion.svg"]
    assert status(f"{base}/0-1-4") == 404  # it has no checkpoint


@pytest.mark.parametrize("name", ["0-0", "0-0-0-0", "1-0-0", "0-0-63", "../../study.db", "0-0-0/../x", "", "0--1-0"])
def test_no_artifact_leads_elsewhere(results, name):
    with pytest.raises(ArtifactNotFound):
        TrialArtifacts([find_study("demo", results)]).open_reader(name)


def test_confusion_is_counted_without_the_sealed_predictions(make_study, tmp_path):
    make_study(tmp_path, "sealed", [TrialState.COMPLETE])
    with_folders(tmp_path, "sealed")
    path = tmp_path / "sealed/trials/0000/predictions.npz"
    with np.load(path) as stored:
        kept = {name: stored[name] for name in stored.files if name.startswith("validation")}
    np.savez(path, **kept)
    store = TrialArtifacts([find_study("sealed", tmp_path)])
    assert b"2 validation images" in store.open_reader("0-0-1").read()
    assert not any("predictions" in piece["filename"] for piece in store.listed(0, 0))


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_read_only_refuses_changes_with_a_reason(serve, results, quiet, method):
    dashboard = serve(["demo"], results, read_only=True)
    url = f"http://{urlsplit(dashboard.url).netloc}/api/studies/1"
    answer, body = ask(url, method, {})
    assert answer == 403
    assert "read-only" in json.loads(body)["reason"]
    assert ask(url)[0] == 200


def test_read_only_shows_everything_and_writes_nothing(make_study, tmp_path):
    make_study(tmp_path, "kept", STATES)
    before = dump(tmp_path / "kept/study.db")
    dashboard = open_dashboard(["kept"], tmp_path, port=0, read_only=True)
    dashboard.findings.refresh()
    ((_, study),) = dashboard.findings._studies
    assert len(figures_of(study)) > 3
    assert get_note(study).startswith(NOTE_HEADING)
    with pytest.raises(StudyError, match="read-only"):
        study.set_user_attr("a", 1)
    assert dump(tmp_path / "kept/study.db") == before
    dashboard.close()
    dashboard.serve()


def dump(path):
    connection = sqlite3.connect(path)
    lines = list(connection.iterdump())
    connection.close()
    return lines


def test_studies_are_not_made_or_renamed_in_the_dashboard(serve, results, quiet):
    dashboard = serve(["demo"], results)
    host = f"http://{urlsplit(dashboard.url).netloc}"
    for path in ("/api/studies", "/api/studies/1/rename", "/api/artifacts/1"):
        answer, body = ask(host + path, "POST", {"study_name": "x", "directions": ["maximize"]})
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


def test_password_is_asked_for(serve, results, quiet, password_file):
    dashboard = serve(["demo"], results, password_file=password_file)
    assert status(dashboard.url) == 401
    for wrong in (basic("open"), basic(""), "Basic ???", "Bearer x", basic("open sesame\n"), "Basic"):
        assert status(dashboard.url, Authorization=wrong) == 401
    assert status(dashboard.url, Authorization=basic("open sesame")) == 200


def test_with_a_password_changes_come_from_its_own_pages(serve, results, quiet, password_file):
    dashboard = serve(["demo"], results, password_file=password_file)
    url = f"http://{urlsplit(dashboard.url).netloc}/api/studies/77"
    told = {"Authorization": basic("open sesame"), "Host": "studies.example"}
    assert status(url, "DELETE", **told, Origin="https://evil.example") == 403
    assert status(url, "DELETE", **told, Origin="https://studies.example") in {404, 500}  # there is no study 77


def test_password_files_that_will_not_do(tmp_path, password_file):
    assert read_password(password_file) == b"open sesame"
    password_file.chmod(0o644)
    with pytest.raises(UsageError, match="chmod 600"):
        read_password(password_file)
    (tmp_path / "empty").touch(mode=0o600)
    with pytest.raises(UsageError, match="is empty"):
        read_password(tmp_path / "empty")
    with pytest.raises(UsageError, match="cannot be read"):
        read_password(tmp_path / "none")


def test_other_machines_are_let_in_with_a_password_alone(results):
    told = CliRunner().invoke(cli, ["dashboard", "demo", "--results", str(results), "--host", "0.0.0.0"])  # noqa: S104
    assert isinstance(told.exception, UsageError)
    assert str(told.exception) == "--host 0.0.0.0 lets other machines in: give a password with --password-file FILE"


@pytest.mark.parametrize(
    ("host", "inside"),
    [("127.0.0.1", True), ("127.1.2.3", True), ("::1", True), ("localhost", True), ("10.0.0.1", False), ("x.y", False)],
)
def test_loopback_addresses_are_known(host, inside):
    assert is_loopback(host) is inside


def test_port_in_use_is_one_line(serve, results, quiet):
    port = urlsplit(serve(["demo"], results).url).port
    with pytest.raises(StudyError, match="choose another --port") as caught:
        open_dashboard(["demo"], results, port=port)
    assert len(str(caught.value).splitlines()) == 1


def test_unknown_study_is_named_before_anything_listens(results):
    with pytest.raises(StudyError, match="did you mean 'demo'"):
        open_dashboard(["demo", "dmo"], results)


def opened(name, results):
    return find_study(name, results).open()


def findings(name, results, told=None):
    study = opened(name, results)
    return StudyNotes([(StudySource(name, results, None), study)], [].append if told is None else told.append), study


def test_figures_and_summary_are_saved_into_the_study(results):
    found, study = findings("demo", results)
    found.refresh()
    figures = figures_of(study)
    assert len(figures) > 3
    assert all(json.loads(figure)["layout"]["title"]["text"] for figure in figures.values())
    note = get_note(opened("demo", results))
    assert note.startswith(NOTE_HEADING)
    assert "Which epoch should be kept?" in note
    assert "For research and education only" in note


def test_a_study_in_a_journal_is_served_with_its_findings(serve, results, tmp_path):
    path = tmp_path / "study.journal"
    optuna.copy_study(
        from_study_name="demo",
        from_storage=f"sqlite:///{results / 'demo' / 'study.db'}",
        to_storage=open_storage(path),
    )
    dashboard = serve(["demo"], results, storage=str(path))
    dashboard.findings.refresh()
    told = api(dashboard, f"studies/{dashboard.url.rpartition('/')[2]}")
    assert told["name"] == "demo"
    assert told["note"]["body"].startswith(NOTE_HEADING)
    assert told["trials"][0]["artifacts"]


def test_findings_follow_a_study_that_runs(make_study, tmp_path):
    make_study(tmp_path, "live", STATES)
    found, study = findings("live", tmp_path)
    found.refresh()
    first, figures = dump(tmp_path / "live/study.db"), figures_of(study)
    found.refresh()
    assert dump(tmp_path / "live/study.db") == first  # nothing has finished: nothing is written
    study.add_trials(study.get_trials()[:4])
    found.refresh()
    assert figures_of(study) != figures


def test_keeping_up_ends_when_told(results):
    found, _ = findings("demo", results)
    stop = threading.Event()
    keeper = threading.Thread(target=found.keep_up, args=(3600, stop))
    keeper.start()
    stop.set()
    keeper.join(60)
    assert not keeper.is_alive()


def test_note_of_a_person_is_left_alone(make_study, tmp_path):
    make_study(tmp_path, "noted", [TrialState.COMPLETE])
    save_note(opened("noted", tmp_path), "look at trial 7")
    findings("noted", tmp_path)[0].refresh()
    assert get_note(opened("noted", tmp_path)) == "look at trial 7"


def test_findings_that_cannot_be_saved_are_told_once(make_study, tmp_path, monkeypatch):
    def refuse(*_args, **_keywords):
        raise optuna.exceptions.StorageInternalError("attempt to write a readonly database")

    make_study(tmp_path, "shut", STATES)
    monkeypatch.setattr("optuna_dashboard.save_plotly_graph_object", refuse)
    told = []
    found, _ = findings("shut", tmp_path, told)
    found.refresh()
    found.refresh()
    assert told == ["the findings of shut cannot be saved: attempt to write a readonly database"]
