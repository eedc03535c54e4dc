"""The form that starts a DAG by hand, and its values as templates for a step's params."""

from typing import Any, get_origin

from airflow.sdk import Asset, Param

from pipelines.contract import Params, Tuning
from pipelines.settings import environment_gate_file, settings

Model = type[Params] | type[Tuning]
ENVIRONMENT = "{{ params.environment or '' }}"
"""A template for the form's environment, which `environment_field` asks for."""
BY_TASKS = (
    *("release", "evaluation", "anchor", "robustness", "other_robustness", "latency"),
    *("lexical", "known_queries", "recommender", "stages", "blend"),
)
"""Params of evaluate_release that earlier tasks give, so that its form does not ask for them."""


def form(*models: Model, omit: tuple[str, ...] = ()) -> dict[str, Param]:
    """One form field for each field of the models: its type, bounds, choices, description and default.

    A required field may stay empty, since a dag run that an asset starts has nobody to fill the form. Of a name that several
    models have, the last model's field is shown. A gate file is, unless the form says another, that of RATCHET_ENVIRONMENT.

    >>> from pipelines.steps.refresh_embeddings.plan import PlanTuning
    >>> form(PlanTuning)["shards"].schema["maximum"]
    1000
    """
    fields = {name: schema for model in models for name, schema in model.model_json_schema()["properties"].items()}
    judged_by = fields.get("gate_file", {})
    if judged_by.get("default") and (rules := environment_gate_file()):  # no default: the step looks itself
        fields["gate_file"] = judged_by | {"default": rules, "enum": [*dict.fromkeys([*judged_by["enum"], rules])]}
    return {name: _param(schema) for name, schema in fields.items() if name not in omit}


def environment_field() -> dict[str, Param]:
    """The field of a form that chooses one of RATCHET_ENVIRONMENTS; empty: this store."""
    told = "Environment whose store, server and MLflow model are meant, one of RATCHET_ENVIRONMENTS; empty: this store"
    return {"environment": Param("", type="string", enum=["", *settings().environments], title="Environment", description=told)}


def _param(schema: dict[str, Any]) -> Param:
    rest = {key: value for key, value in schema.items() if key not in ("default", "const", "anyOf")}
    if "const" in schema:
        rest["enum"] = [schema["const"]]
    elif "anyOf" in schema:  # an optional value
        rest |= {key: value for choice in schema["anyOf"] for key, value in choice.items()}
        rest["type"] = [choice["type"] for choice in schema["anyOf"]]
    elif rest.get("type") in ("string", "array") and "enum" not in rest:
        rest["type"] = [rest["type"], "null"]
    return Param(schema.get("default", ""), **rest)


def answers(*models: Model, omit: tuple[str, ...] = ()) -> dict[str, str]:
    """The form's values as templates, one for each field of the models; an empty value keeps the step's default."""
    fields = {name: field for model in models for name, field in model.model_fields.items() if name not in omit}
    return {name: _value_template(name, get_origin(field.annotation) is list) for name, field in fields.items()}


def _value_template(name: str, is_list: bool) -> str:
    """The items of a list are lines, as the form's field has them."""
    value = f"(params.{name} or []) | join('\n')" if is_list else f"params.{name}"
    return "{{ '' if params.%s is none else %s }}" % (name, value)  # noqa: UP031  # braces are Jinja's here


def answer_or_event(name: str, judged_by: str = "") -> str:
    """A template for the form's value, otherwise the id in the newest triggering asset event.

    The events of one dag run have no guaranteed order, so the newest is chosen by its timestamp.

    Args:
        name: of the form's field.
        judged_by: a task whose result of that name comes first, where it ran: what it judged is meant, whatever came since.
    """
    judged = f"ti.xcom_pull(task_ids='{judged_by}', key='{name}') or " if judged_by else ""
    newest = "triggering_asset_events.values() | sum(start=[]) | sort(attribute='timestamp') | last"
    event = f"(({newest}).extra['id'] if triggering_asset_events else '')"
    return "{{ %sparams.%s or %s }}" % (judged, name, event)  # noqa: UP031


def answer_if_event(name: str, asset: Asset, value: str) -> str:
    """A template for the form's value, otherwise `value` where the asset is among those that started the dag run."""
    among = "triggering_asset_events and '%s' in (triggering_asset_events | map(attribute='name'))" % asset.name  # noqa: UP031
    return "{{ params.%s or ('%s' if %s else '') }}" % (name, value, among)  # noqa: UP031


CANARY = "{{ 'yes' if params.mode == 'canary' else '' }}"
"""A template that is empty unless the form's mode, which `mode_field` asks for, is canary."""


def mode_field() -> dict[str, Param]:
    """The field of a form that chooses how a release takes the traffic; of a dag run that an asset starts, the settings do."""
    told = "direct: all users at once, for a first release; canary: growing shares of the users, while no guardrail is broken"
    return {"mode": Param(settings().deploy_mode, type="string", enum=["direct", "canary"], title="Mode", description=told)}
