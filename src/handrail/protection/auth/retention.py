"""Keys, links and sessions that are over and kept no longer."""

from sqlalchemy import func, or_, select

from handrail.db import BEFORE, Expiry
from handrail.protection.auth.tables import api_key as _k
from handrail.protection.auth.tables import console_session as _s
from handrail.protection.auth.tables import sign_in_link as _l

OLD_SESSIONS = Expiry(_s, _s.c.expires_at < BEFORE)
# A session asks what has become of its key; and as long as any key is known the door is closed to who has none.
OLD_KEYS = Expiry(
    _k,
    or_(_k.c.revoked_at < BEFORE, _k.c.expires_at < BEFORE),
    _k.c.id != select(func.max(_k.c.id)).scalar_subquery(),
    ~select(_s.c.id).where(_s.c.tenant_id == _k.c.tenant_id, _s.c.key_id == _k.c.id).correlate(_k).exists(),
)
# Whether a link was ever used says whether the first operator has come.
OLD_LINKS = Expiry(
    _l,
    _l.c.expires_at < BEFORE,
    or_(
        _l.c.used_at.is_(None),
        _l.c.id != select(func.max(_l.c.id)).where(_l.c.used_at.is_not(None)).scalar_subquery(),
    ),
)
