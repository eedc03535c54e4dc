"""Airflow imports this once in each of its processes. Those that parse DAGs and run tasks fork a child for each.

Every DAG imports the clients of Kubernetes, which takes a second; a child finds them imported. Only what comes from
packages: a child must see the present code of steps and operators. Where they are missing, the DAGs say so.
"""

from contextlib import suppress

with suppress(ImportError):
    import kubernetes.client  # noqa: F401
    import kubernetes_asyncio.client  # noqa: F401
