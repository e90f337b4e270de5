"""With this folder on the ``PYTHONPATH`` a process has the pretend GPU as soon as it imports torch.

Python runs a module of this name at its start. torch is not imported here: most processes of a test
run need none.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from pathlib import Path


def pretend_gpu():
    """The module beside this folder, which need not be on the path of all that runs here."""
    path = Path(__file__).parents[1] / "pretend_gpu.py"
    spec = importlib.util.spec_from_file_location("pretend_gpu", path)
    sys.modules[spec.name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Torch(importlib.abc.MetaPathFinder):
    """Finds torch once, and sees to it that the pretend GPU is installed after it."""

    def find_spec(self, name, path, target=None):
        if name != "torch":
            return None
        sys.meta_path.remove(self)
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        run_module = spec.loader.exec_module

        def run_module_and_install(module):
            run_module(module)
            pretend_gpu().install()

        spec.loader.exec_module = run_module_and_install
        return spec


sys.meta_path.insert(0, Torch())
