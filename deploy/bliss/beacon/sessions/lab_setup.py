"""Setup of the session: nothing is written, for the writer of Bliss 2.1 does not run from PyPI alone."""

from pathlib import Path

from bliss import current_session

current_session.scan_saving.writer = "null"
current_session.scan_saving.base_path = str(Path.home() / "bliss-lab")  # where files would be
