"""The page docs/reference/settings.md, made from the tree itself: `python -m tests.helpers.settings_table > PAGE`."""

from __future__ import annotations

import typing
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from service.settings import Settings

HEAD = """# Settings

One TOML file for every process (`--settings FILE`); the environment wins over it (`BRAGGLOOP__WORKER__HTTP_PORT=9200`),
the options of a command win over both. Unknown keys are refused. Made by `python -m tests.helpers.settings_table`.
"""


def settings_page() -> str:
    sections: dict[str, list[str]] = {}
    for section, key, default, description in _leaves(Settings):
        sections.setdefault(section, []).append(f"| `{key}` | {default} | {description} |")
    tables = (
        f"\n## {f'[{section}]' if section else 'top'}\n\n| key | default | meaning |\n|---|---|---|\n"
        + "\n".join(rows)
        + "\n"
        for section, rows in sections.items()
    )
    return HEAD + "".join(tables)


def _leaves(model: type[BaseModel], section: str = "") -> Iterator[tuple[str, str, Any, str]]:
    for name, field in model.model_fields.items():
        if isinstance(field.default, BaseModel):
            yield from _leaves(type(field.default), f"{section}.{name}" if section else name)
        else:
            default = "" if field.default in (PydanticUndefined, None, "") else f"`{field.default}`"
            yield section, name, default, field.description or ""
            if named := _of_a_name(field.annotation):
                yield from _leaves(named, f"{section}.{name}.NAME")


def _of_a_name(annotation: Any) -> type[BaseModel] | None:
    """The section that a table of them by name holds."""
    held = typing.get_args(annotation)[-1:] if typing.get_origin(annotation) is Mapping else ()
    return held[0] if held and isinstance(held[0], type) and issubclass(held[0], BaseModel) else None


if __name__ == "__main__":
    print(settings_page(), end="")
