"""What every section of the settings is: frozen, unknown keys refused."""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="constants")


SectionT = TypeVar("SectionT", bound=Section)
