"""What the sessions of these tests begin with: the session `lab`, and a last line of JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any, NoReturn

from bliss.config.static import get_config


def opened() -> dict[str, Any]:
    """Set the session up and return its objects by name, and those to rehearse with."""
    config = get_config()
    session = config.get("lab")
    session.setup()
    return {**session.env_dict, **{name: config.get(name) for name in ("rehearsal", "rehearsing")}}


def tell(**known: Any) -> NoReturn:
    """Print what is known and end: at once, for Tango's threads may abort an interpreter that winds down."""
    print(json.dumps(known), flush=True)
    os._exit(0)


def refusal(call: Callable[[], Any]) -> str:
    """What a call that must fail says."""
    try:
        call()
    except (ValueError, RuntimeError) as error:
        return f"{type(error).__name__}: {error}"
    return "nothing was refused"
