"""Python imports this at the start of every process of an instance that is harmed, and only there: see chaos/steps.py.

The folder is on PYTHONPATH; the repository itself is not, whose app.py and tasks.py would be imported in the place of
the instance's own.
"""

import importlib.util
import os
import sys
from pathlib import Path

if folder := os.environ.get("CHAOS_STEPS"):
    spec = importlib.util.spec_from_file_location("chaos_steps", Path(__file__).parents[1] / "steps.py")
    steps = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = steps
    spec.loader.exec_module(steps)
    steps.install(Path(folder))
