from tests.releases import _releases_once, releases  # noqa: F401
