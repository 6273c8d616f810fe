"""The format of `*.edit.yaml` files for a set of metrics as pydantic models, and its JSON Schema for editors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import Discriminator, Field, Tag, create_model
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from pytest_editeval.case_fields import CaseFields, CaseId, CheckFields, ObjectCheckFields, PatchCheckFields
from pytest_editeval.gate_rules import GateFields
from pytest_editeval.registry import BUILTIN_METRICS, MetricSpec
from pytest_editeval.validation import Number, Settings, number_or_mapping

SCHEMA_PATH = Path(__file__).with_name("edit-cases.schema.json")
FILE_KEYS = ("defaults", "cases", "gates")


def check_model(spec: MetricSpec) -> type[CheckFields]:
    """What can be written under a metric."""
    return ObjectCheckFields if spec.inputs == "objects" else PatchCheckFields


class Models:
    """The models of the format for a set of metrics."""

    def __init__(self, specs: Sequence[MetricSpec]) -> None:
        # A field of a model cannot have every name that a metric may have (`copy`, `_x`), but an alias can.
        self.fields = {spec.name: f"metric{index}" for index, spec in enumerate(specs)}
        checks: dict[str, Any] = {self.fields[spec.name]: (_check(spec), _described(spec)) for spec in specs}
        self.metrics: Any = create_model("Metrics", __base__=Settings, __doc__="The checks, by metric.", **checks)
        fields: dict[str, Any] = {
            "metrics": (self.metrics | None, Field(None, description="Per metric a threshold, or settings.")),
        }
        self.defaults: Any = create_model("Defaults", __base__=CaseFields, __doc__=CaseFields.__doc__, **fields)
        fields = {"id": (CaseId, Field(description="Name of the case, unique in the file."))}
        self.case: Any = create_model("Case", __base__=self.defaults, __doc__="An edit and how it is judged.", **fields)
        fields = {
            "defaults": (self.defaults | None, Field(None, description="Merged under every case of the file.")),
            "cases": (list[self.case], Field(min_length=1, description="The edits to score.")),  # type: ignore[name-defined]
            "gates": (list[GateFields] | None, Field(None, description="Rules over the scores of many cases.")),
        }
        self.file = create_model("CaseFile", __base__=Settings, __doc__="Edit cases for pytest-editeval.", **fields)


def _check(spec: MetricSpec) -> Any:
    full: Any = check_model(spec)
    number = Field(description="The threshold alone.")
    union = Annotated[Number, number, Tag("<number>")] | Annotated[full, Tag("<mapping>")]
    return Annotated[union, Discriminator(number_or_mapping)] | None


def _described(spec: MetricSpec) -> Any:
    return Field(None, alias=spec.name, description=f"{spec.summary[:1].upper()}{spec.summary[1:]} ({spec.direction}).")


@cache
def models(specs: tuple[MetricSpec, ...]) -> Models:
    """The models for these metrics, built once."""
    return Models(specs)


class _Generator(GenerateJsonSchema):
    """Without titles and defaults, which would tell an editor's reader nothing."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def default_schema(self, schema: Any) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])


def case_file_schema(specs: Iterable[MetricSpec] = BUILTIN_METRICS) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of edit case files; `SCHEMA_PATH` holds it for the built-in metrics."""
    schema = models(tuple(specs)).file.model_json_schema(schema_generator=_Generator)
    return {"$schema": GenerateJsonSchema.schema_dialect, **schema}
