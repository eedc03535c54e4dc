"""The dashboards as Grafana reads them: `python -m images.observe.dashboards` writes them into the folder of this name.

A panel is its title, its unit, and its query with the legend of its lines.
"""

from pathlib import Path

from grafana_foundation_sdk.builders.dashboard import Dashboard
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.builders.timeseries import Panel
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import DataSourceRef

FOLDER = Path(__file__).parent / "dashboards"
PROMETHEUS = DataSourceRef(type_val="prometheus", uid="prometheus")
WIDTH, HEIGHT = 8, 8


def _quantile(share: float, histogram: str, by: str) -> str:
    return f"histogram_quantile({share}, sum by (le, {by}) (rate({histogram}_bucket[5m])))"


def _per_search(counter: str) -> str:
    """The share of a release's answered searches that a counter counts."""
    return f"{_by_release(counter)} / {_by_release('ratchet_searches_total')}"


def _failed() -> str:
    """The share that a release failed of the searches that it answered or failed: those that it refused are the callers'."""
    failed = _by_release("ratchet_searches_failed_total")
    return f"{failed} / ({failed} + {_by_release('ratchet_searches_total')})"


def _by_release(counter: str) -> str:
    """What a counter grows by, of all servers."""
    return f"sum by (release) (rate({counter}[15m]))"


def _rate(counter: str) -> str:
    """The same of searches in shadow."""
    return _by_release(f"ratchet_shadow_{counter}_total")


def _ranked_in_shadow() -> str:
    """Searches that both releases ranked."""
    return f"{_rate('searches')} - {_rate('failed')} - {_rate('refused')}"


SEARCH = [
    ("Requests by status", "reqps", "sum by (status) (rate(ratchet_requests_total[5m]))", "{{status}}"),
    ("Median of requests", "s", _quantile(0.5, "ratchet_request_seconds", "route"), "{{route}}"),
    ("99th percentile of requests", "s", _quantile(0.99, "ratchet_request_seconds", "route"), "{{route}}"),
    (
        "99th percentile of the wait for a thread",
        "s",
        "histogram_quantile(0.99, sum by (le) (rate(ratchet_queue_seconds_bucket[5m])))",
        "",
    ),
    ("Searches that wait", "none", "ratchet_waiting_searches", "{{instance}}"),
    (
        "Searches of a batch (mean)",
        "none",
        "sum(rate(ratchet_batch_searches_sum[5m])) / sum(rate(ratchet_batch_searches_count[5m]))",
        "",
    ),
    ("99th percentile of stages, by batch", "s", _quantile(0.99, "ratchet_stage_seconds", "stage"), "{{stage}}"),
    ("Ready", "bool", "ratchet_ready", "{{instance}}"),
    ("Journal entry", "none", "ratchet_journal_entry", "{{instance}}"),
    ("Time since the journal was read", "s", "ratchet_journal_age_seconds", "{{instance}}"),
    ("Releases in memory", "none", "sum by (release, role) (ratchet_release_info)", "{{role}} {{release}}"),
    ("Searches by release", "reqps", "sum by (release) (rate(ratchet_searches_total[5m]))", "{{release}}"),
    ("Searches with a click", "percentunit", _per_search("ratchet_searches_clicked_total"), "{{release}}"),
    ("Searches without results", "percentunit", _per_search("ratchet_searches_without_results_total"), "{{release}}"),
    ("Searches that a release failed", "percentunit", _failed(), "{{release}}"),
    ("Overlap with the champion in shadow", "percentunit", f"{_rate('overlap')} / ({_ranked_in_shadow()})", "{{release}}"),
    ("Time in shadow, over the champion's", "none", f"{_rate('seconds')} / {_rate('champion_seconds')}", "{{release}}"),
    ("Searches not wholly reranked", "percentunit", _per_search("ratchet_rerank_late_total"), "{{release}}"),
    ("Searches whose features came too late", "percentunit", _per_search("ratchet_blend_late_total"), "{{release}}"),
    ("Concentration of exposure (Gini)", "none", "max by (release) (ratchet_exposure_gini)", "{{release}}"),
    ("Logs that are not shipped", "bytes", "ratchet_log_bytes", "{{instance}}"),
    ("Age of the closed log that waits longest", "s", "ratchet_log_oldest_seconds", "{{instance}}"),
    ("Memory", "bytes", "process_resident_memory_bytes{job='ratchet'}", "{{instance}}"),
]

BATCH = [
    ("Parts of Airflow that are alive", "bool", "ratchet_airflow_healthy", "{{part}}"),
    ("Time since the last heartbeat", "s", "ratchet_airflow_heartbeat_age_seconds", "{{part}}"),
    ("Tasks that have not ended", "none", "ratchet_tasks", "{{state}}"),
    ("Wait of the task that was queued first", "s", "ratchet_tasks_queued_oldest_seconds", ""),
    ("Dag runs that wait or run", "none", "ratchet_dag_runs_open", "{{dag}} {{state}}"),
    ("Dag runs that ended in the last 24 hours", "none", "sum by (state) (ratchet_dag_runs_ended)", "{{state}}"),
    ("Dag runs that failed in the last 24 hours", "none", "ratchet_dag_runs_ended{state='failed'}", "{{dag}}"),
    ("DAGs whose last dag run failed", "bool", "ratchet_dag_last_run_failed", "{{dag}}"),
    ("Duration of the last dag run", "s", "ratchet_dag_last_run_seconds", "{{dag}}"),
    ("Steps done in the last 24 hours", "none", "sum by (step) (ratchet_step_runs)", "{{step}}"),
    ("Seconds of these steps", "s", "sum by (step) (ratchet_step_wall_seconds)", "{{step}}"),
    ("CPU seconds of these steps", "s", "sum by (step) (ratchet_step_cpu_seconds)", "{{step}}"),
    ("GPU seconds of these steps", "s", "sum by (step) (ratchet_step_gpu_seconds)", "{{step}}"),
    ("Peak memory of these steps", "bytes", "max by (step) (ratchet_step_peak_memory_bytes)", "{{step}}"),
]


def dashboard(name: str, title: str, panels: list[tuple[str, str, str, str]]) -> str:
    """A dashboard as JSON."""
    made = Dashboard(title).uid(name).tags(["ratchet"]).refresh("30s").time("now-3h", "now").timezone("utc").readonly()
    for heading, unit, query, legend in panels:
        target = Dataquery().expr(query).legend_format(legend).datasource(PROMETHEUS).ref_id("A")
        panel = Panel().title(heading).unit(unit).min(0).span(WIDTH).height(HEIGHT).datasource(PROMETHEUS)
        made = made.with_panel(panel.with_target(target))
    return JSONEncoder(sort_keys=True, indent=1).encode(made.build()) + "\n"


FILES = {
    "search.json": dashboard("ratchet-search", "Search servers", SEARCH),
    "batch.json": dashboard("ratchet-batch", "Airflow and steps", BATCH),
}

if __name__ == "__main__":
    for file, text in FILES.items():
        (FOLDER / file).write_text(text)
