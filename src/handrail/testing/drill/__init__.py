"""The fault matrix: every part that can fail, times every way it can, each with the outcome that is declared for it.

Promise: a cell either comes out as declared, says why it does not apply, or is a deviation that is told. A small shop
of its own runs on 127.0.0.1 with a data folder of its own, behind fault proxies; it leaves nothing behind.
"""

from handrail.testing.drill.matrix import COMPONENTS, FAULTS, MATRIX, Cell, Expected
from handrail.testing.drill.run import CellResult, Report, drill

__all__ = ["COMPONENTS", "FAULTS", "MATRIX", "Cell", "CellResult", "Expected", "Report", "drill"]
