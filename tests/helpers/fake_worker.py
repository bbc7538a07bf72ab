"""`braggloop worker` whose compute only sums: `python -m tests.helpers.fake_worker SETTINGS`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from service.compose import stage_commands
from service.settings import parse_settings
from service.worker.supervisor import Supervisor

if __name__ == "__main__":
    settings = parse_settings(json.loads(Path(sys.argv[1]).read_text()))
    sys.exit(Supervisor(settings, stage_commands(settings, "tests.helpers.fake_stages")).run())
