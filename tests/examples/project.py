"""Loads a module of the shop the way a release does: as part of a package, from its folder."""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

SHOP = Path(__file__).parents[2] / "examples" / "shop"
_PACKAGE = "shop_under_test"


@contextmanager
def load_module(name: str) -> Iterator[ModuleType]:
    package = ModuleType(_PACKAGE)
    package.__path__ = [str(SHOP)]
    sys.modules[_PACKAGE] = package
    try:
        yield importlib.import_module(f"{_PACKAGE}.{name}")
    finally:
        for loaded in [key for key in sys.modules if key == _PACKAGE or key.startswith(f"{_PACKAGE}.")]:
            del sys.modules[loaded]
