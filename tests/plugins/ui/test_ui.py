"""The pages inside Airflow: closed to strangers, and what others wrote is text, never markup."""

import doctest
from pathlib import Path
from types import SimpleNamespace as Record

import pytest

from pipelines.access.keys import KeyLog
from pipelines.store.artifacts import produce
from pipelines.store.journal import Journal, Routing
from pipelines.store.objects import open_store
from pipelines.store.recipes import Recipe
from tests import airflow_home
from tests.conftest import PROJECT
from tests.images.serve.browser import browser

__all__ = ["browser"]
HOSTILE = '<script>alert("x")</script>'
PAGES = ["/ratchet/releases", "/ratchet/drift"]
PATHS = [
    *PAGES, "/ratchet/reports/verdict/0123", "/ratchet/artifacts/release/0123",
    "/ratchet/reports/drift/0123/evidently.html", "/ratchet/none",
]  # fmt: skip


@pytest.fixture(scope="module")
def api():
    """Airflow's own API server with the plugin loaded, and a viewer's headers."""
    from airflow.api_fastapi.app import create_app
    from airflow.api_fastapi.auth.managers.simple.services.login import SimpleAuthManagerLogin
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
    from airflow.utils.db import initdb
    from fastapi.testclient import TestClient

    assert airflow_home.HOME
    assert SimpleAuthManagerLogin
    initdb()
    app = create_app(apps="core")
    token = app.state.auth_manager.generate_jwt(SimpleAuthManagerUser(username="victor", role="viewer"))
    with TestClient(app, base_url="http://testserver") as client:
        yield client, {"Authorization": f"Bearer {token}"}


@pytest.mark.parametrize("path", [*PATHS[:-1], "/ratchet/metrics"])
def test_anonymous_is_refused(api, home, path):
    client, _ = api
    assert client.get(path).status_code == 401
    assert client.get(path, headers={"Authorization": "Bearer forged"}).status_code in (401, 403)


def test_metrics_are_for_keys_and_pages_for_accounts(api, home):
    client, viewer = api
    key = {"Authorization": f"Bearer {KeyLog(open_store()).make('prometheus', ('metrics',), 1, 'a test')[1]}"}
    assert client.get("/ratchet/metrics", headers=key).status_code == 200
    assert client.get("/ratchet/metrics", headers=viewer).status_code == 401
    assert client.get("/ratchet/releases", headers=key).status_code in (401, 403)


@pytest.mark.parametrize("path", ["/ratchet/docs", "/ratchet/redoc", "/ratchet/openapi.json"])
def test_frameworks_own_pages_are_off(api, home, path):
    assert api[0].get(path).status_code == 404


@pytest.mark.parametrize(("path", "words"), zip(PAGES, ("No release was promoted yet", "No day was judged yet"), strict=True))
def test_an_empty_store_has_a_page(api, home, path, words):
    client, viewer = api
    page = client.get(path, headers=viewer)
    assert page.status_code == 200
    assert words in page.text


@pytest.mark.parametrize("path", PATHS[len(PAGES) :])
def test_what_is_not_there_is_404(api, home, path):
    client, viewer = api
    assert client.get(path, headers=viewer).status_code == 404
    assert client.get("/ratchet/reports/blobs/..%2f..%2fpasswd", headers=viewer).status_code == 404
    assert client.get("/ratchet/artifacts/verdict/no-such-id", headers=viewer).status_code == 404


def judged(sentence):
    """A verdict with a report, as the gate writes it."""
    release = Recipe(kind="release", step="assemble", version=1, inputs={}, params={"label": sentence})
    made = produce(open_store(), release, lambda folder: {"documents": 1})

    def build(folder):
        (folder / "report.html").write_text("<!doctype html><h1>the report</h1>")
        return {"outcome": "rejected", "sentence": sentence, "release": made.id, "champion": ""}

    return produce(open_store(), Recipe(kind="verdict", step="gate", version=1, inputs={"release": made.id}, params={}), build)


def test_hostile_text_stays_text(api, home):
    client, viewer = api
    verdict = judged(HOSTILE)
    release = verdict.inputs["release"]
    Journal(open_store()).append("promote", release, HOSTILE, Routing(challenger=release), verdict.id, who=HOSTILE)
    for path in ("/ratchet/releases", f"/ratchet/artifacts/verdict/{verdict.id}", f"/ratchet/artifacts/release/{release}"):
        page = client.get(path, headers=viewer)
        assert page.status_code == 200
        assert "<script" not in page.text
        assert "&lt;script&gt;" in page.text
        assert "default-src 'none'" in page.headers["content-security-policy"]


def test_a_report_is_served_as_it_was_written(api, home):
    client, viewer = api
    page = client.get(f"/ratchet/reports/verdict/{judged('no').id}", headers=viewer)
    assert page.text == "<!doctype html><h1>the report</h1>"
    assert "script-src" not in page.headers["content-security-policy"]
    assert page.headers["x-content-type-options"] == "nosniff"


def test_evidentlys_page_runs_its_scripts_in_a_sandbox_alone(api, home):
    client, viewer = api

    def build(folder):
        (folder / "evidently.html").write_text("<!doctype html><script>1</script>")
        return {}

    made = produce(open_store(), Recipe(kind="drift", step="judge_drift", version=1, inputs={}, params={}), build)
    page = client.get(f"/ratchet/reports/drift/{made.id}/evidently.html", headers=viewer)
    assert (page.status_code, page.text) == (200, "<!doctype html><script>1</script>")
    policy = page.headers["content-security-policy"]
    assert policy.startswith("sandbox allow-scripts; default-src 'none';")
    assert "allow-same-origin" not in policy, "its scripts are of no origin, so they have no cookie and no storage of this site"
    assert "connect-src" not in policy, "they fetch nothing"


def test_a_strangers_journal_entry_is_told_not_shown(api, home):
    client, viewer = api
    open_store().create("journal/00000001.json", b"{}")
    page = client.get("/ratchet/releases", headers=viewer)
    assert page.status_code == 500
    assert "given file://" in page.text
    assert "Traceback" not in page.text


def test_the_links_of_an_outcome_have_its_colour(api, home, browser):
    client, viewer = api
    verdict = judged("worse")
    Journal(open_store()).append("deploy", verdict.inputs["release"], "why", Routing(champion=verdict.inputs["release"]))
    page = browser.new_page()
    page.set_content(client.get("/ratchet/releases", headers=viewer).text)
    colours = {
        name: page.locator(f".{name} a").first.evaluate("link => getComputedStyle(link).color")
        for name in ("champion", "rejected")
    }
    page.close()
    assert colours == {"champion": "rgb(46, 125, 79)", "rejected": "rgb(179, 55, 47)"}


def test_what_is_no_release_is_not_linked_as_one(api, home):
    client, viewer = api
    journal = Journal(open_store())
    journal.append("promote", "abcd", "why", Routing(challenger="abcd"))
    journal.append("waive", "abcd", "why")
    for action, subject in (("waive", "rule baseline"), ("repair", "re-embed"), ("erase", "u3f2a")):
        journal.append(action, subject, "why", verdict="dcba" if action == "repair" else None)
    page = client.get("/ratchet/releases", headers=viewer).text
    assert 'href="/ratchet/reports/degradation/dcba"' in page
    assert page.count('href="/ratchet/artifacts/release/abcd"') == page.count("/ratchet/artifacts/release/") == 3
    for subject in ("rule baseline", "re-embed", "u3f2a"):
        assert f"<td>{subject}</td>" in page


def test_a_split_is_told_beside_the_challenger(api, home):
    journal, both = Journal(open_store()), {"champion": "a" * 20, "challenger": "b" * 20}
    journal.append("promote", "b" * 20, "why", Routing(**both))
    client, viewer = api
    assert "of the users" not in client.get("/ratchet/releases", headers=viewer).text
    journal.append("weight", "b" * 20, "why", Routing(**both, split={"name": "titles", "share": 0.125}))
    assert "answers 12.5 % of the users, as experiment titles" in client.get("/ratchet/releases", headers=viewer).text
    journal.append("stage", "b" * 20, "why", Routing(**both, shadow=0.25))
    page = client.get("/ratchet/releases", headers=viewer).text
    assert "ranks 25 % of the searches unseen" in page
    assert "of the users" not in page


def test_a_repair_links_what_called_for_it(api, home):
    client, viewer = api
    drift = produce(open_store(), Recipe(kind="drift", step="judge_drift", version=1, inputs={}, params={}), lambda folder: {})
    journal = Journal(open_store())
    journal.append("repair", "re-embed", "why", verdict=drift.id)
    journal.append("repair", "rebuild", "why", verdict="dcba")
    page = client.get("/ratchet/releases", headers=viewer).text
    assert f'<a href="/ratchet/reports/drift/{drift.id}">drifted</a>' in page
    assert '<a href="/ratchet/reports/degradation/dcba">degraded</a>' in page
    assert f"degradation/{drift.id}" not in page


def test_a_damaged_verdict_is_named_and_hides_no_other(api, home):
    client, viewer = api
    sound, torn = judged("a sound one"), judged("a torn one")
    Journal(open_store()).append("promote", "r1", "why", Routing(challenger="r1"), torn.id)
    manifest = home / "store" / "verdict" / torn.id / "manifest.json"
    manifest.write_bytes(manifest.read_bytes()[:100])
    page = client.get("/ratchet/releases", headers=viewer)
    assert page.status_code == 200
    assert "a sound one" in page.text
    assert sound.inputs["release"] in page.text
    assert f"Damaged and left out: given file://{home}/store/verdict/{torn.id}/manifest.json" in page.text
    assert "Traceback" not in page.text


def judged_day(day, outcome, sentence):
    """A drift, as judge_drift leaves it."""
    facts = {
        "day": day,
        "outcome": outcome,
        "sentence": sentence,
        "series": "daily",
        "repairs": ["page"] if outcome == "act" else [],
    }
    recipe = Recipe(kind="drift", step="judge_drift", version=1, inputs={}, params=facts)
    return produce(open_store(), recipe, lambda folder: facts)


def test_reports_of_drift_lead_from_the_last_day_to_the_first(api, home):
    client, viewer = api
    told = {"2026-01-01": ("quiet", HOSTILE), "2026-01-02": ("act", "words"), "2026-01-03": ("quiet", "")}
    quiet, act, torn = (judged_day(day, *said) for day, said in told.items())
    manifest = home / "store" / "drift" / torn.id / "manifest.json"
    manifest.write_bytes(manifest.read_bytes()[:100])
    page = client.get("/ratchet/drift", headers=viewer).text
    rows = [
        f'<td class="{tone}"><a href="/ratchet/reports/drift/{one.id}">' for one, tone in ((act, "rejected"), (quiet, "passed"))
    ]
    assert 0 < page.find(rows[0]) < page.find(rows[1])
    assert "<td>words</td><td>page</td>" in page
    assert "<script" not in page
    assert "Series daily" in page
    assert f"Damaged and left out: given file://{home}/store/drift/{torn.id}/manifest.json" in page


def test_airflow_loads_the_plugins_file_alone(api):
    """By Airflow's own reading of .airflowignore: it would import a second copy of every other module."""
    from airflow._shared.module_loading import find_path_from_directory

    found = [Path(path) for path in find_path_from_directory(str(PROJECT / "plugins"), ".airflowignore", "glob")]
    assert [str(path.relative_to(PROJECT)) for path in found if path.suffix == ".py"] == ["plugins/ui/plugin.py"]


def test_a_listener_that_fails_does_not_reach_the_scheduler():
    from ui import notes

    dag_run = Record(dag_id="d", run_id="r", note=None)
    notes.on_dag_run_success(dag_run, "")
    assert dag_run.note is None


@pytest.mark.parametrize("module", ["ui.notes", "operators.form", "operators.pod_outcome", "operators.step"])
def test_doctests(module):
    import importlib

    result = doctest.testmod(importlib.import_module(module))
    assert result.attempted > 0
    assert result.failed == 0
