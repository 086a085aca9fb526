"""Settings to real objects: the only place that builds adapters."""

from handrail.bootstrap.insight import alerts_over
from handrail.bootstrap.protection import audit_trail
from handrail.bootstrap.services import services_from

__all__ = ["alerts_over", "audit_trail", "services_from"]
