"""Lineage as OpenLineage events: one for each committed artifact, with the Airflow task as its parent run.

Unless a transport is configured (OPENLINEAGE_URL, OPENLINEAGE_CONFIG, OPENLINEAGE__TRANSPORT__TYPE) each event is a file
in the store's folder `lineage`; OPENLINEAGE_DISABLED=true turns events off. The model: OpenLineage's specification, RunEvent.
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
    """Emit the event of a committed artifact. A transport that fails is a warning, since the artifact is committed."""
    try:
        import openlineage.client  # noqa: F401
    except ImportError:  # an environment without the extra `steps`, which commits nothing
        return
    try:
        _client(store, manifest).emit(_event(store, manifest))
    except Exception as error:  # noqa: BLE001  # whatever a transport raises
        log().warning("lineage was not told", artifact=manifest.id, reason=str(error)[:200])


def _client(store: "Store", manifest: "Manifest") -> Any:
    """A client with the configured transport, else with one that writes into the store: stdout is for the step's result."""
    from openlineage.client import OpenLineageClient

    logging.getLogger("openlineage").setLevel(logging.ERROR)
    configured = OpenLineageClient()
    if configured.transport.kind != "console":
        return configured
    return OpenLineageClient(config={"transport": _into_store(store, manifest)})


def _into_store(store: "Store", manifest: "Manifest") -> dict[str, Any]:
    """The configuration of the file transport, with one file for each event."""
    path = f"lineage/{manifest.recipe.kind}-{manifest.id}"
    if store.local is not None:
        (store.local / "lineage").mkdir(exist_ok=True)
        return {"type": "file", "log_file_path": str(store.local / path)}
    options = {"protocol": "s3", "config": {"endpoint": store.endpoint} if store.endpoint else {}}
    options["client_options"] = {"allow_http": store.endpoint.startswith("http://")}
    return {
        "type": "file",
        "log_file_path": f"{store.uri}/{path}",
        "filesystem": "obstore.fsspec.FsspecStore",
        "fs_kwargs": options,
    }


def _event(store: "Store", manifest: "Manifest") -> Any:
    from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState

    recipe = manifest.recipe
    run_id = uuid.uuid5(uuid.NAMESPACE_URL, f"{NAMED}{manifest.id}:{manifest.provenance['at']}")
    return RunEvent(
        eventType=RunState.COMPLETE,
        eventTime=datetime.now(UTC).isoformat(),
        run=Run(runId=str(run_id), facets=_parent_facet()),
        job=Job(namespace=NAMESPACE, name=recipe.step),
        inputs=[
            InputDataset(namespace=store.uri, name=artifact, facets=_documentation(role))
            for role, artifact in recipe.inputs.items()
            if artifact
        ],
        outputs=[OutputDataset(namespace=store.uri, name=manifest.id, facets=_documentation(recipe.kind))],
        producer=PRODUCER,
    )


def _documentation(role: str) -> dict[str, Any]:
    """The facet with the role of a dataset, whose name is its artifact's id alone, so that it is the same in every event."""
    from openlineage.client.facet_v2 import documentation_dataset

    return {"documentation": documentation_dataset.DocumentationDatasetFacet(description=role)}


def _parent_facet() -> dict[str, Any]:
    """The facet of the parent run, if the settings name one as `namespace/job/run`."""
    from openlineage.client.facet_v2 import parent_run

    parts = settings().lineage_parent.split("/")
    if len(parts) != 3:
        return {}
    namespace, job, run = parts
    facet = parent_run.ParentRunFacet(run=parent_run.Run(runId=run), job=parent_run.Job(namespace=namespace, name=job))
    return {"parent": facet}
