"""What a head is made of, as stored: large tables in half precision, a row an n-gram, a column an intent."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from handrail.serving.routing.calibration import Curve, Trust
from handrail.serving.routing.embedding import DIMENSIONS
from handrail.serving.routing.gate import Gate
from handrail.serving.routing.network import HIDDEN, Floats, Network
from handrail.serving.routing.signals import COUNT, Neighbours

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Parts:
    """What training finds."""

    coefficients: Floats
    vector_coefficients: Floats
    bias: Floats
    network: Network
    neighbours: Neighbours
    trust: Trust
    gate: Gate | None
    curve: Curve

    def arrays(self) -> Arrays:
        """For the archive; `read` takes them back."""
        found: Arrays = {
            "coefficients": _half(self.coefficients),
            "vector_coefficients": _half(self.vector_coefficients),
            "bias": _half(self.bias),
            "hidden": _half(self.network.hidden),
            "hidden_bias": _half(self.network.hidden_bias),
            "output": _half(self.network.output),
            "output_bias": _half(self.network.output_bias),
            "directions": _half(self.neighbours.directions),
            "neighbours": _half(self.neighbours.vectors),
            "starts": self.neighbours.starts.astype(np.int64),
            "trust": np.stack([self.trust.center, self.trust.spread, self.trust.weights]),
        }
        if self.gate is not None:
            found["gate"] = np.stack([self.gate.center, self.gate.spread, self.gate.weights])
            found["gate_vector"] = self.gate.vector_weights
            found["stranger_terms"], found["stranger_vector"] = self.gate.stranger_terms, self.gate.stranger_vector
        return found

    def numbers(self) -> dict[str, Any]:
        """The single numbers, for the archive's JSON."""
        return {
            "curve": [self.curve.rise, self.curve.fall, self.curve.shift],
            "trust_bias": self.trust.bias,
            "gate_bias": None if self.gate is None else [self.gate.bias, self.gate.stranger_bias],
        }

    @classmethod
    def read(cls, arrays: Mapping[str, NDArray[Any]], numbers: Mapping[str, Any]) -> Self:
        gate = None
        if numbers["gate_bias"] is not None:
            center, spread, weights = arrays["gate"]
            bias, stranger_bias = map(float, numbers["gate_bias"])
            stranger = (arrays["stranger_terms"], arrays["stranger_vector"], stranger_bias)
            gate = Gate(center, spread, weights, arrays["gate_vector"], bias, *stranger)
        center, spread, weights = arrays["trust"]
        network = (arrays[name] for name in ("hidden", "hidden_bias", "output", "output_bias"))
        return cls(
            coefficients=arrays["coefficients"],
            vector_coefficients=arrays["vector_coefficients"],
            bias=arrays["bias"],
            network=Network(*network),
            neighbours=Neighbours(arrays["directions"], arrays["neighbours"], arrays["starts"].astype(np.intp)),
            trust=Trust(center, spread, weights, float(numbers["trust_bias"])),
            gate=gate,
            curve=Curve(*map(float, numbers["curve"])),
        )

    def rounded(self) -> Self:
        """As they will be after a round trip."""
        return self.read(self.arrays(), self.numbers())


def require_shapes(arrays: Mapping[str, NDArray[Any]], terms: int, labels: int) -> None:
    """Raises `ValueError` for parts that do not fit each other."""
    directions = min(arrays["directions"].shape[-1], DIMENSIONS)
    expected = {
        "idf": (terms,),
        "coefficients": (terms, labels),
        "vector_coefficients": (DIMENSIONS, labels),
        "bias": (labels,),
        "hidden": (DIMENSIONS, HIDDEN),
        "hidden_bias": (HIDDEN,),
        "output": (HIDDEN, labels),
        "output_bias": (labels,),
        "starts": (labels + 1,),
        "directions": (DIMENSIONS, directions),
        "neighbours": (int(arrays["starts"][-1]), directions),
        "trust": (3, COUNT),
    }
    if "gate" in arrays:
        expected |= {"gate": (3, COUNT + 1), "gate_vector": (DIMENSIONS,)}
        expected |= {"stranger_terms": (terms,), "stranger_vector": (DIMENSIONS,)}
    for name, shape in expected.items():
        if arrays[name].shape != shape:
            raise ValueError(f"{name!r} has shape {arrays[name].shape!r} instead of {shape!r}")


def _half(table: Floats) -> NDArray[np.float16]:
    return table.astype(np.float16, copy=False)
