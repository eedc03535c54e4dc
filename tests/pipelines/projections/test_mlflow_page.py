"""MLflow's own page shows what the journal says; the screenshot is kept in build/."""

import pytest

from tests.conftest import PROJECT, call
from tests.images.serve.browser import browser  # noqa: F401
from tests.services import mlflow

WITHIN_MS = 60_000


@pytest.fixture
def page_uri(tmp_path, monkeypatch):
    with mlflow(tmp_path / "mlflow") as uri:
        monkeypatch.setenv("RATCHET_MLFLOW_URI", uri)
        yield uri


def test_the_page_shows_each_release_under_its_alias(releases, page_uri, browser):  # noqa: F811
    releases.deployed(releases.a, why="the first one")
    releases.deployed(releases.b)
    releases.promoted(releases.c)
    call("reconcile")
    page = browser.new_page(viewport={"width": 1400, "height": 1300})
    page.goto(f"{page_uri}/#/models/release")
    page.get_by_role("button", name="Close").click(timeout=WITHIN_MS)  # its assistant, which takes a quarter of the page
    for alias, release in {"champion": releases.b, "challenger": releases.c, "previous": releases.a}.items():
        row = page.get_by_role("row").filter(has_text=f"@ {alias}").first
        row.wait_for(timeout=WITHIN_MS)
        assert release in row.inner_text()
    picture = PROJECT / "build" / "mlflow-release.png"
    picture.parent.mkdir(exist_ok=True)
    page.screenshot(path=picture)
    assert picture.stat().st_size > 10_000
    page.goto(f"{page_uri}/#/models/release/versions/1")
    page.get_by_text(releases.a).first.wait_for(timeout=WITHIN_MS)
    page.get_by_text("Outputs (5)").wait_for(timeout=WITHIN_MS)
    page.close()
