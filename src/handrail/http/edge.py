"""What a deployment says about the border of the server, ready for every request."""

from dataclasses import dataclass, field

from handrail.http.client_address import Proxies
from handrail.http.cors import Cors
from handrail.http.security_headers import SecurityHeaders
from handrail.settings import Settings


@dataclass(frozen=True, slots=True)
class Edge:
    """Closed by default: no proxy is believed, no page of another site may call."""

    proxies: Proxies = field(default_factory=Proxies)
    cors: Cors = field(default_factory=Cors)
    tls: bool = False
    headers: SecurityHeaders = field(default_factory=SecurityHeaders)

    @classmethod
    def of(cls, settings: Settings) -> "Edge":
        """The border as the settings draw it."""
        http = settings.http
        tls = settings.tls.is_on
        return cls(Proxies(http.proxies), Cors(http.origins), tls, SecurityHeaders(tls=tls))
