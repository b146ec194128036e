"""What every test shares: the fakes in tests/support, also for the processes that tests start."""

from __future__ import annotations

import os
from pathlib import Path

SUPPORT = str(Path(__file__).parent / "support")
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [SUPPORT, os.environ.get("PYTHONPATH")]))
