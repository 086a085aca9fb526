"""CEL, for conditions in policies and flows: the compiled part of its package alone.

The package's own start brings its command line along, with a terminal library and 34 MB that no server needs.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import cel
else:
    import importlib.util
    import sys
    from importlib.machinery import PathFinder

    def _compiled_part() -> Any:
        if "cel.cel" in sys.modules:
            return sys.modules["cel.cel"]
        package = importlib.util.find_spec("cel")
        spec = PathFinder.find_spec("cel.cel", package.submodule_search_locations)
        module = sys.modules["cel.cel"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    cel = _compiled_part()

__all__ = ["cel"]
