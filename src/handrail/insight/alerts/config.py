"""The deployment's `alerts.yaml`, read again when it changes; a bad one changes nothing and is told of."""

from collections.abc import Sequence
from pathlib import Path

from handrail.core.documents import Problem, ProjectError, parse_yaml, validate
from handrail.core.errors import UsageError
from handrail.insight.alerts.schema import AlertsFile, Match

MOST_BYTES = 1_000_000


class NoAlertsFile(UsageError):
    """The file of alert rules that the settings name can't be read."""

    code = "no_alerts_file"


def read_alerts(path: Path, channels: Sequence[str] | None) -> AlertsFile:
    """The file, checked; with `channels`, the names in it must be among these.

    Raises:
        NoAlertsFile: it can't be read.
        ProjectError: it is not good; every place with its line.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        why = error.strerror or str(error)
        raise NoAlertsFile(f"{str(path)!r}: {why}; HANDRAIL_ALERTS__FILE names the file of alert rules") from error
    if len(content) > MOST_BYTES:
        raise ProjectError([Problem(str(path), 0, f"this has {len(content)} bytes; up to {MOST_BYTES} are read")])
    document = parse_yaml(str(path), content.decode(errors="replace"))
    file = validate(document, AlertsFile)
    if unreached := _unreached(file):
        raise ProjectError([document.problem(("routes", place), said) for place, said in unreached])
    if channels is not None:
        wrong = [
            document.problem(
                place,
                f"there is no channel {name!r}; set HANDRAIL_ALERTS__CHANNELS__{name.upper()} where this runs"
                + (f", or name one of {', '.join(channels)}" if channels else ""),
            )
            for place, name in _channels_in(file)
            if name not in channels
        ]
        if wrong:
            raise ProjectError(wrong)
    return file


def _unreached(file: AlertsFile) -> list[tuple[int, str]]:
    """Routes that never decide, by their places: the first that matches does."""
    found: list[tuple[int, str]] = []
    for place, route in enumerate(file.routes):
        before = next((each for each in file.routes[:place] if each.match in (Match(), route.match)), None)
        if before is not None:
            what = "everything" if before.match == Match() else "the same"
            found.append((place, f"this route is never reached: one before it matches {what}; put it in front"))
    return found


def _channels_in(file: AlertsFile) -> list[tuple[tuple[str | int, ...], str]]:
    """Every name of a channel, with where it stands."""
    found: list[tuple[tuple[str | int, ...], str]] = []
    for index, route in enumerate(file.routes):
        found += [(("routes", index, "to", place), name) for place, name in enumerate(route.to)]
        if route.escalate is not None:
            at = ("routes", index, "escalate", "to")
            found += [((*at, place), name) for place, name in enumerate(route.escalate.to)]
    for team, names in file.teams.items():
        found += [(("teams", team, place), name) for place, name in enumerate(names)]
    for key, names in (("people", file.people), ("digest", file.digest)):
        found += [((key, place), name) for place, name in enumerate(names or [])]
    return found


class AlertConfig:
    """The rules that hold now: the shipped ones until a good file was read. It never keeps a server from starting.

    Args:
        path: the file; without one, or while a file that nobody named is not there, the shipped rules hold.
        is_named: whether the settings name it, so that it must be there.
    """

    def __init__(self, path: Path | None, channels: Sequence[str], *, is_named: bool = True) -> None:
        self._path = path
        self._is_named = is_named
        self._channels = channels
        self._seen: tuple[int, int] | None = None
        self.file = AlertsFile()
        self.problem: str | None = None
        if path is not None and (is_named or path.exists()):
            self.renew(anyway=True)

    def renew(self, *, anyway: bool = False) -> bool:
        """Read the file again if it changed; whether other rules hold now. Never raises: the old ones stay."""
        if self._path is None:
            return False
        stamp = _stamp(self._path)
        if stamp == self._seen and not anyway:
            return False
        self._seen = stamp
        before, was_wrong = self.file, self.problem
        # One that was there for a while and is not any more is not the same as no rules.
        gone = stamp is None and not self._is_named
        try:
            self.file = AlertsFile() if gone else read_alerts(self._path, self._channels)
            self.problem = None
        except UsageError as error:
            self.problem = error.message
        return self.file != before or self.problem != was_wrong


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        known = path.stat()
    except OSError:
        return None
    return known.st_mtime_ns, known.st_size
