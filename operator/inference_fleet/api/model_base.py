"""What every model of the API shares: camelCase outside, snake_case inside, frozen, unknown fields ignored."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler, ValidationInfo, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema

from inference_fleet.api.schema_rules import Rule, cel, obey


class ApiModel(BaseModel):
    """Base of all API models.

    Unknown fields are ignored when reading: an object may have been stored by a newer operator, and the API server
    already prunes what its schema does not know.
    """

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        frozen=True,
        extra="ignore",
        use_enum_values=False,
        # Most programs read one kind of object: what it does not use is not built.
        defer_build=True,
    )

    # What fields of one object may not contradict; in the schema and on reading.
    rules: ClassVar[tuple[Rule, ...]] = ()

    @model_validator(mode="after")
    def _obey_rules(self, info: ValidationInfo) -> Self:
        obey(self, type(self).rules, info)
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        schema = handler(core_schema)
        definition = handler.resolve_ref_schema(schema)
        definition.update(cel(*cls.rules))
        return schema
