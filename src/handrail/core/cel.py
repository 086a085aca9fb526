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

# The parser goes one level deeper with every operator of a chain: eight thousand overrun the stack, and no handler
# sees that: the process is gone.
MOST_CHARACTERS = 4000


def program_of(source: str) -> "cel.Program":
    """The compiled condition; raises `ValueError` with what is wrong with it."""
    if len(source) > MOST_CHARACTERS:
        raise ValueError(f"it has {len(source)} characters, more than {MOST_CHARACTERS}")
    return cel.compile(source)


__all__ = ["cel", "program_of"]
