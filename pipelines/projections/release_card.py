"""What people state on a release card, and the recipe by which the card of a release is found.

The sections are those of Mitchell et al., Model Cards for Model Reporting (2019). What artifacts know is filled from them;
intended use, licence and ethical considerations only people know. They stand in the YAML file that RATCHET_RELEASE_CARD names:

    intended_use: Search of the shop's catalogue by its visitors.
    not_intended_for: Any decision about a person.
    data: The shop's own catalogue; queries and clicks of visitors who agreed.
    licence: proprietary
    limits: Queries in other languages than English.
    ethics: Sellers with few products are seldom shown; see the exposure by provider.
    contact: search@example.org
"""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipelines.errors import InputError, expectation
from pipelines.settings import settings
from pipelines.store.artifacts import Artifact
from pipelines.store.recipes import Recipe

VERSION = 1
LARGEST = 100_000
BAD_VALUES = (ValueError, OverflowError, LookupError, AttributeError, RecursionError)
"""What PyYAML raises besides its own errors: for bytes that are no UTF-8, days that no month has, tags without their value."""


class Stated(BaseModel):
    """What people state of the releases of a store; empty: nobody has."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    intended_use: str = Field("", max_length=5000)
    not_intended_for: str = Field("", max_length=5000)
    data: str = Field("", max_length=5000)
    licence: str = Field("", max_length=5000)
    limits: str = Field("", max_length=5000)
    ethics: str = Field("", max_length=5000)
    contact: str = Field("", max_length=5000)


def read_stated() -> Stated:
    """What the file of the settings states; without a file nothing.

    Raises:
        InputError: it can't be read, or has other fields.
    """
    import yaml

    path = settings().release_card
    if path is None:
        return Stated()
    given = f"RATCHET_RELEASE_CARD={path}"
    fields = ", ".join(Stated.model_fields)
    try:
        body = Path(path).read_bytes()
        content = yaml.safe_load(body) if len(body) <= LARGEST else None
        return Stated.model_validate(content)
    except OSError as error:
        raise InputError(given, f"a file that can be read ({error.strerror})", "correct it, or unset it") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the whole"
        raise InputError(
            f"{given} with {place}", f"{expectation(first['msg'])}; the fields are {fields}", "correct it"
        ) from None
    except (yaml.YAMLError, *BAD_VALUES):
        raise InputError(given, f"YAML with some of {fields}", "correct the file") from None


def card_recipe(release: str, verdict: str, stated: Stated) -> Recipe:
    """The recipe of the card of a release that was judged by a verdict; empty: by none."""
    inputs = {"release": release} | ({"verdict": verdict} if verdict else {})
    return Recipe(kind="report", step="describe", version=VERSION, inputs=inputs, params=stated.model_dump())


def named_in(verdict: Artifact | None) -> str:
    """The id of the evaluation that a verdict judged by; empty: there is none."""
    return verdict.inputs.get("evaluation", "") if verdict else ""
