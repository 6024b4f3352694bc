"""Where labelled data come from."""

from typing import Annotated

from pydantic import BeforeValidator, Field

from redoubt.records.base import Record


class DataSource(Record):
    """A labelled data set, or a class-balanced part of it."""

    source: str = Field(
        description="`idx:<folder>/<train|test>`, `npz:<file>`, `csv:<file>`, `images:<folder>` or "
        "`sklearn:<name>/<train|test>`."
    )
    take: Annotated[int, Field(gt=0)] | None = Field(
        default=None, description="How many examples, as many of each class as possible. All of them when absent."
    )
    seed: Annotated[int, Field(ge=0)] = Field(default=0, description="Which examples `take` draws.")


def _data_source(value: object) -> object:
    return {"source": value} if isinstance(value, str) else value


DataSourceField = Annotated[
    DataSource,
    BeforeValidator(_data_source, json_schema_input_type=str | DataSource),
]
