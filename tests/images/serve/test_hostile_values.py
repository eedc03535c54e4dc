"""Values that callers should not send: none makes a search of another fail, and none is answered with a defect."""

import json
import math
from collections import Counter
from urllib.parse import quote, urlencode

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.images.serve.test_interface import refusal, shared

__all__ = ["shared"]
HALF = "\ud800"
"""Half of a character, which JSON may hold and UTF-8 may not."""
CLICK = {"type": "click", "request_id": "a", "document": "b", "position": 1}
LISTS = [
    {"q": HALF}, {"q": f"beach {HALF}"}, {"like": [HALF]}, {"q": "a", "filter": [f"segment={HALF}"]},
    {"q": "a", "filter": [f"{HALF}=a"]}, {"q": "a", "segment": [f"country={HALF}"]}, {"q": "a", "exclude": [HALF]},
    {"q": "a", "user": HALF}, {"q": "a", "experiment": HALF, "variant": "b"}, {"q": "a", "experiment": "a", "variant": HALF},
    {"q": "a", "release": HALF}, {"q": "a", "traffic": HALF}, {"q": "a", "k": HALF}, {"q": "a", HALF: 1},
]  # fmt: skip
BODIES = [
    *(("/v1/search/batch", {"searches": [{"q": "moon"}, fields]}) for fields in LISTS),
    *(("/v1/recommend/batch", {"recommendations": [fields]}) for fields in ({"item": [HALF]}, {"item": ["a"], "user": HALF})),
    *(("/v1/embed", {"texts": ["a"], **fields}) for fields in ({"texts": [HALF]}, {"user": HALF}, {"role": HALF})),
    *(("/v1/rerank", {"query": "a", **fields}) for fields in ({"query": HALF, "texts": ["a"]}, {"texts": [HALF]})),
    ("/v1/rerank", {"query": "a", "documents": [HALF]}),
    *(("/v1/clicks", {**CLICK, name: HALF}) for name in CLICK),
    *(("/v1/events", {"events": [{**CLICK, name: HALF}]}) for name in (*CLICK, HALF)),
    ("/v1/events", {HALF: []}),
]


def as_json(body):
    """It may hold what httpx's own JSON refuses: half a character, infinity."""
    return {"content": json.dumps(body), "headers": {"content-type": "application/json"}}


@pytest.mark.parametrize(("path", "body"), BODIES, ids=ascii)
def test_half_a_character_is_refused_wherever_it_stands(shared, path, body):
    assert "sent as application/json" not in refusal(shared.client.post(path, **as_json(body)), 422)


TEXTS = st.sampled_from(["beach", "moon", "segment=Maritime", "country=DE", "champion", "a" * 600, "", " "]) | st.text(
    st.characters() | st.sampled_from("\x00\n\x7f\x85\u2028\ufeff\ufffe\ud800\udfff"), max_size=8
).flatmap(lambda text: st.sampled_from([text, f"segment={text}", f"country={text}"]))
ODD = st.sampled_from([
    None, True, [], {}, [[]], "\x00", HALF, {HALF: HALF}, -1, 0, 2**63, 10**4000, 1e308, math.inf, -math.inf, math.nan, "1e400",
])  # fmt: skip


def values_of(schema, document):
    """Values that a schema of the document allows, mixed with others."""
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    some = schema.get("anyOf") or schema.get("oneOf")
    if some:
        return st.one_of(*(values_of(one, document) for one in some), ODD)
    if "const" in schema or "enum" in schema:
        fitting = st.sampled_from(schema.get("enum") or [schema["const"]])
    elif schema.get("type") == "object":
        fields = {name: values_of(field, document) for name, field in schema["properties"].items()}
        required = {name: fields.pop(name) for name in schema.get("required", [])}
        fitting = st.fixed_dictionaries(required, optional=fields)
    elif schema.get("type") == "array":
        fitting = st.lists(values_of(schema["items"], document), min_size=1, max_size=3)
    else:
        fitting = {"integer": st.integers(1, 100), "number": st.floats(0, 100), "boolean": st.booleans()}.get(
            str(schema.get("type")), TEXTS
        )
    return st.sampled_from(range(8)).flatmap(lambda turn: fitting if turn else ODD)


def changed(example):
    """An example, in which some values are others."""
    if isinstance(example, dict):
        return st.fixed_dictionaries({name: changed(value) for name, value in example.items()})
    if isinstance(example, list):
        return st.tuples(*map(changed, example)).map(list)
    return st.sampled_from(range(6)).flatmap(lambda turn: st.just(example) if turn else TEXTS | ODD)


def requests_of(operation, document):
    """Path parameters, query and body: an operation's example, changed, or with fields that its schema allows."""
    parameters = operation.get("parameters", [])
    allowed = {one["name"]: values_of(one["schema"], document) for one in parameters}
    example = {one["name"]: changed(one["example"]) for one in parameters if "example" in one}
    in_path = {one["name"] for one in parameters if one["in"] == "path"}
    body = operation.get("requestBody", {}).get("content", {}).get("application/json")
    few = st.sets(st.sampled_from(sorted(allowed)), max_size=2) if allowed else st.just(set())
    return st.tuples(
        st.fixed_dictionaries({name: example.get(name, allowed[name]) for name in in_path}),
        few.flatmap(lambda names: st.fixed_dictionaries({**example, **{name: allowed[name] for name in names}})).map(
            lambda query: {name: value for name, value in query.items() if name not in in_path}
        ),
        changed(body["example"]) | values_of(body["schema"], document) if body else st.none(),
    )


def asked(server, method, path, operation, parts):
    """The status of a request, which must be one that the interface names, with a body of the kind that it names."""
    in_path, query, body = parts
    for name, value in in_path.items():
        path = path.replace(f"{{{name}}}", quote(str(value), safe="", errors="surrogatepass") or "-")
    url = f"{path}?{urlencode(query, doseq=True, errors='surrogatepass')}"
    answer = server.client.request(method, url, **(as_json(body) if body is not None else {}))
    assert answer.status_code < 500, answer.text
    named = operation["responses"][str(answer.status_code)]
    kinds = named.get("content", {"application/problem+json": {}})
    assert answer.headers["content-type"].partition(";")[0] in kinds
    if "application/problem+json" in kinds:
        refusal(answer, answer.status_code)
    return answer.status_code


def test_whatever_is_sent_is_answered_as_the_interface_says(shared):
    """The proof sends ten thousand requests that schemathesis makes."""
    document = shared.client.get("/openapi.json").json()
    seen = Counter()
    quiet = settings(deadline=None, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    for path, methods in document["paths"].items():
        for method, operation in methods.items():

            @seed(7)
            @settings(quiet, max_examples=40 if "requestBody" in operation else 15)
            @given(st.just((method, path, operation)), requests_of(operation, document))
            def ask(place, parts):
                seen[asked(shared, *place, parts)] += 1

            ask()
    assert sum(seen[status] for status in (200, 201)) > 20, f"too few were well-formed: {seen}"
    assert seen[422] > 100, seen
    assert "request failed" not in shared.stderr.read_text()
    assert shared.search("beach").status_code == 200
