import json
import threading
from http.client import HTTPConnection
from urllib.parse import urlsplit

import optuna
import pytest
from optuna.trial import TrialState
from optuna_dashboard import get_note, save_note
from optuna_dashboard._custom_plot_data import get_plotly_graph_objects

from drft.errors import StudyError
from study.dashboard import NOTE_HEADING, only_from_here, open_dashboard, save_findings
from study.results import find_study
from study.storage import open_storage


@pytest.fixture(scope="module")
def results(make_study, tmp_path_factory):
    return make_study(tmp_path_factory.mktemp("dashboard"), "demo", [TrialState.COMPLETE] * 22 + [TrialState.PRUNED])


@pytest.fixture
def served(results):
    dashboard = open_dashboard("demo", results, port=0)
    thread = threading.Thread(target=dashboard.serve)
    thread.start()
    yield dashboard
    dashboard.server.shutdown()
    thread.join()


def get(url, **headers):
    parts = urlsplit(url)
    connection = HTTPConnection(parts.netloc, timeout=30)
    connection.request("GET", parts.path, headers=headers)
    answer = connection.getresponse()
    return answer.status, answer.read()


def status(url, **headers):
    return get(url, **headers)[0]


def test_dashboard_serves_the_study_on_this_machine_only(served):
    assert served.url.startswith("http://127.0.0.1:")
    assert status(served.url) == 200
    _, told = get(served.url.replace("/dashboard/", "/api/"))
    assert json.loads(told)["name"] == "demo"


def test_requests_of_other_web_pages_are_refused(served):
    assert status(served.url, Host="evil.example") == 403
    assert status(served.url, Origin="http://evil.example") == 403
    assert status(served.url, Origin=f"http://127.0.0.1:{served.server.server_port}") == 200


@pytest.mark.parametrize("host", ["", "evil.example", "127.0.0.1.evil.example:80"])
def test_guard_lets_nothing_through_without_a_local_host(host):
    called = []
    guarded = only_from_here(lambda environ, start_response: called.append(environ) or [b""])
    body = guarded({"HTTP_HOST": host}, lambda code, headers: called.append(code))
    assert called == ["403 Forbidden"]
    assert b"own machine" in b"".join(body)


def test_port_in_use_is_one_line(served, results):
    with pytest.raises(StudyError, match="choose another --port") as caught:
        open_dashboard("demo", results, port=served.server.server_port)
    assert len(str(caught.value).splitlines()) == 1


def test_unknown_study_is_named_before_anything_listens(results):
    with pytest.raises(StudyError, match="did you mean 'demo'"):
        open_dashboard("dmo", results)


def test_figures_and_summary_are_saved_into_the_study(results):
    save_findings("demo", results)
    save_findings("demo", results)  # again: they replace the earlier ones
    study = find_study("demo", results).open()
    figures = get_plotly_graph_objects(study._storage.get_study_system_attrs(study._study_id))
    assert len(figures) == 8
    assert all(json.loads(figure)["layout"]["title"]["text"] for figure in figures.values())
    note = get_note(study)
    assert note.startswith(NOTE_HEADING)
    assert "Which epoch should be kept?" in note
    assert "For research and education only" in note


def test_a_study_in_a_journal_is_served_with_its_findings(results, tmp_path):
    path = tmp_path / "study.journal"
    optuna.copy_study(
        from_study_name="demo",
        from_storage=f"sqlite:///{results / 'demo' / 'study.db'}",
        to_storage=open_storage(path),
    )
    save_findings("demo", results, str(path))
    dashboard = open_dashboard("demo", results, str(path), port=0)
    thread = threading.Thread(target=dashboard.serve)
    thread.start()
    try:
        code, told = get(dashboard.url.replace("/dashboard/", "/api/"))
    finally:
        dashboard.server.shutdown()
        thread.join()
    assert (code, json.loads(told)["name"]) == (200, "demo")
    assert json.loads(told)["note"]["body"].startswith(NOTE_HEADING)


def test_note_of_a_person_is_left_alone(make_study, tmp_path):
    make_study(tmp_path, "noted", [TrialState.COMPLETE])
    study = find_study("noted", tmp_path).open()
    save_note(study, "look at trial 7")
    save_findings("noted", tmp_path)
    assert get_note(find_study("noted", tmp_path).open()) == "look at trial 7"


def test_findings_that_cannot_be_saved_are_one_line(results, monkeypatch):
    def refuse(*_args, **_keywords):
        raise optuna.exceptions.StorageInternalError("attempt to write a readonly database")

    monkeypatch.setattr("optuna_dashboard.save_plotly_graph_object", refuse)
    with pytest.raises(StudyError, match=r"cannot save figures into .*readonly"):
        save_findings("demo", results)
