"""What every model of the API shares: camelCase outside, snake_case inside, frozen, unknown fields ignored."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


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
    )
