"""Which artifact was made from which, as OpenLineage events: one for each commit, under the Airflow task that asked for it.

Without a transport of one's own (OPENLINEAGE_URL, OPENLINEAGE_CONFIG, OPENLINEAGE__TRANSPORT__TYPE) each event becomes a file
in the store's folder `lineage`; OPENLINEAGE_DISABLED=true turns them off. The model: OpenLineage's specification, RunEvent.
"""

import logging
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pipelines.logs import log
from pipelines.settings import settings

if TYPE_CHECKING:
    from pipelines.store.objects import Store
    from pipelines.store.recipes import Manifest

NAMESPACE = "ratchet"
PRODUCER = "urn:ratchet"
NAMED = "ratchet:lineage:"


def emit(store: "Store", manifest: "Manifest") -> None:
    """Tell of a committed artifact. Lineage that can't be told is a warning: the artifact is there all the same."""
    try:
        import openlineage.client  # noqa: F401
    except ImportError:  # an environment without the extra `steps`, which commits nothing
        return
    try:
        _client(store, manifest).emit(_event(store, manifest))
    except Exception as error:  # noqa: BLE001  # whatever a transport raises
        log().warning("lineage was not told", artifact=manifest.id, reason=str(error)[:200])


def _client(store: "Store", manifest: "Manifest") -> Any:
    """With the transport that the environment asks for, else into the store: the console is the step's result's."""
    from openlineage.client import OpenLineageClient

    logging.getLogger("openlineage").setLevel(logging.ERROR)
    asked = OpenLineageClient()
    if asked.transport.kind != "console":
        return asked
    return OpenLineageClient(config={"transport": _into_store(store, manifest)})


def _into_store(store: "Store", manifest: "Manifest") -> dict[str, Any]:
    """The file transport, with a file for each event."""
    path = f"lineage/{manifest.recipe.kind}-{manifest.id}"
    if store.local is not None:
        (store.local / "lineage").mkdir(exist_ok=True)
        return {"type": "file", "log_file_path": str(store.local / path)}
    options = {"protocol": "s3", "config": {"endpoint": store.endpoint} if store.endpoint else {}}
    options["client_options"] = {"allow_http": store.endpoint.startswith("http://")}
    return {
        "type": "file", "log_file_path": f"{store.uri}/{path}", "filesystem": "obstore.fsspec.FsspecStore", "fs_kwargs": options
    }  # fmt: skip


def _event(store: "Store", manifest: "Manifest") -> Any:
    from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState

    recipe = manifest.recipe
    named = uuid.uuid5(uuid.NAMESPACE_URL, f"{NAMED}{manifest.id}:{manifest.provenance['at']}")
    return RunEvent(
        eventType=RunState.COMPLETE,
        eventTime=datetime.now(UTC).isoformat(),
        run=Run(runId=str(named), facets=_parent()),
        job=Job(namespace=NAMESPACE, name=recipe.step),
        inputs=[InputDataset(namespace=store.uri, name=one, facets=_said(role)) for role, one in recipe.inputs.items() if one],
        outputs=[OutputDataset(namespace=store.uri, name=manifest.id, facets=_said(recipe.kind))],
        producer=PRODUCER,
    )


def _said(what: str) -> dict[str, Any]:
    """A dataset is named by its id alone, which is the same wherever it is an input; what it is there stands beside it."""
    from openlineage.client.facet_v2 import documentation_dataset

    return {"documentation": documentation_dataset.DocumentationDatasetFacet(description=what)}


def _parent() -> dict[str, Any]:
    """The facet of the run that asked for this one, if there is one: `namespace/job/run`."""
    from openlineage.client.facet_v2 import parent_run

    parts = settings().lineage_parent.split("/")
    if len(parts) != 3:
        return {}
    namespace, job, run = parts
    facet = parent_run.ParentRunFacet(run=parent_run.Run(runId=run), job=parent_run.Job(namespace=namespace, name=job))
    return {"parent": facet}
