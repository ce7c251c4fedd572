"""The OpenAPI document: what FastAPI finds by itself, and the bodies that the receiver reads by itself."""

from typing import Any

from fastapi import FastAPI
from pydantic.json_schema import models_json_schema

from cloud_receiver.answers import EnrolRequest
from cloud_receiver.problems import ProblemView

_REF = "#/components/schemas/{model}"


def reference(model: type) -> dict[str, str]:
    """A reference to a model that `describe` puts into the document."""
    return {"$ref": _REF.format(model=model.__name__)}


def describe(app: FastAPI) -> dict[str, Any]:
    """The document of an app."""
    document: dict[str, Any] = app.openapi()
    ours = [(EnrolRequest, "validation"), (ProblemView, "serialization")]
    _, found = models_json_schema(ours, ref_template=_REF)  # type: ignore[arg-type]  # literals widen to str
    schemas = document["components"]["schemas"]
    schemas.update(found["$defs"])
    for operations in document["paths"].values():
        for operation in operations.values():
            # FastAPI's own answer to a malformed query, which ours replaces by a problem of status 400
            if "HTTPValidationError" in str(operation["responses"].get("422")):
                del operation["responses"]["422"]
    schemas.pop("HTTPValidationError", None)
    schemas.pop("ValidationError", None)
    return document
