"""Airflow's log server, which every worker and triggerer starts on all addresses: what it tells whom."""

import httpx
import pytest

from tests import airflow_home


@pytest.mark.parametrize("headers", [{}, {"Authorization": "x"}, {"Authorization": "eyJhbGciOiJub25lIn0.e30."}])
@pytest.mark.parametrize(
    "path", ["/log/dag_id=a/attempt=1.log", "/log/../airflow.cfg", "/log/%2e%2e/airflow.cfg", "/log/", "/"]
)
def test_without_a_token_nothing_is_told(headers, path):
    assert airflow_home.HOME
    from airflow.utils.serve_logs.log_server import create_app

    async def ask():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(create_app()), base_url="http://x") as client:
            return await client.get(path, headers=headers)

    import asyncio

    assert asyncio.run(ask()).status_code in (403, 404)
