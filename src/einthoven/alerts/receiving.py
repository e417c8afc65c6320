"""Sightings in, changes out: one alert per patient and condition, however often and by whom it is found.

The laws, each a property test:

1. Of one key (organisation, patient, condition, what it is about) at most one alert is open.
2. The same sightings again change nothing: one at once, and the whole history of the stream or of the
   batch layer. (Where the batch layer saw an episode that lay within one still going on in the stream, and
   the stream later ended that one before it, a second look tells it: nobody was told.)
3. What the stream and the batch layer both find is one alert: their episodes overlap.
4. What two streams of a patient show at a time is one alert, and it goes on until neither shows it.
"""

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from einthoven.alerts.alert import (
    Alert,
    AlertEpisode,
    AlertKey,
    Change,
    PatientAlerts,
    Shown,
    advance,
    alert_id,
    episode_of,
)
from einthoven.alerts.lifecycle import AlertState, LifeEvent
from einthoven.alerts.rules import AlertRules, priority_of
from einthoven.alerts.sightings import NS, AlertPriority, Sighting, is_higher

__all__ = ["SAME_ONSET_NS", "end_all", "episodes_needed", "receive"]

SAME_ONSET_NS: Final = NS // 2
"""Onsets that are no further apart are of one episode: no rhythm ends and begins again within it."""


def episodes_needed(sightings: Iterable[Sighting]) -> dict[AlertKey, int]:
    """For each sighted key, from when on `PatientAlerts.episodes` must hold what ended later or goes on."""
    earliest: dict[AlertKey, int] = {}
    for one in sightings:
        key = (one.condition, one.about)
        onset_ns = one.onset_ns - SAME_ONSET_NS
        earliest[key] = min(onset_ns, earliest.get(key, onset_ns))
    return earliest


def receive(
    known: PatientAlerts, sightings: Sequence[Sighting], rules: AlertRules, at_ns: int
) -> tuple[Change, ...]:
    """Take in what was sighted of one patient, in order; what is known already changes nothing."""
    changes: list[Change] = []
    for sighting in sightings:
        for change in _receive(known, sighting, rules, at_ns):
            known = known.after((change,))
            changes.append(change)
    return tuple(changes)


def end_all(
    known: PatientAlerts, rules: AlertRules, at_ns: int, *, stream: int, end_ns: int, why: str
) -> tuple[Change, ...]:
    """The stream is over, or began anew: whatever it showed to go on, nobody can see in it any more."""
    return tuple(
        _leave(alert, stream, max(end_ns, alert.onset_ns), rules, at_ns, by="ecg", why=why)
        for alert in known.alerts
        if _shows(alert, stream)
    )


def _receive(known: PatientAlerts, sighting: Sighting, rules: AlertRules, at_ns: int) -> tuple[Change, ...]:
    key = (sighting.condition, sighting.about)
    latest = known.latest(key)
    priority = priority_of(rules, sighting)
    same = [one for one in known.episodes if one.key == key and _is_same(sighting, one, latest)]
    if same:
        return _again(latest, sighting, same, priority, rules, at_ns) if latest else ()
    if priority is None:
        return ()
    if latest is None or not latest.state.is_open:
        return _raise(known, latest, sighting, priority, rules, at_ns)
    if sighting.onset_ns > latest.latest_onset_ns:
        return _next(latest, sighting, priority, rules, at_ns)
    return _earlier(latest, sighting, priority, rules, at_ns)


def _is_same(sighting: Sighting, episode: AlertEpisode, latest: Alert | None) -> bool:
    """They overlap. Of an episode that goes on its stream would say so; whoever else sees one believes it."""
    if abs(sighting.onset_ns - episode.onset_ns) <= SAME_ONSET_NS:
        return True
    until_ns = sighting.until_ns if sighting.end_ns is None else sighting.end_ns
    if episode.end_ns is not None:
        begins_before_it_ends = sighting.onset_ns < episode.end_ns
    else:
        shown = latest.shown if latest else ()
        begins_before_it_ends = sighting.path == "batch" or any(
            one.stream != sighting.stream or abs(one.onset_ns - sighting.onset_ns) <= SAME_ONSET_NS
            for one in shown
        )
    if episode.end_ns is None and sighting.onset_ns < episode.onset_ns:
        begins_before_it_ends = True
    return begins_before_it_ends and episode.onset_ns < until_ns


def _again(
    alert: Alert,
    sighting: Sighting,
    same: list[AlertEpisode],
    priority: AlertPriority | None,
    rules: AlertRules,
    at_ns: int,
) -> tuple[Change, ...]:
    """An episode that is known: it may have ended, or be more urgent under newer rules."""
    told = next((one for one in same if one.alert_id == alert.id and one.onset_ns == alert.onset_ns), None)
    if told is None or not alert.state.is_active or alert.end_ns is not None:
        return ()
    by = _by(sighting)
    if sighting.end_ns is not None:
        end_ns = max(sighting.end_ns, alert.onset_ns)
        if not alert.shown:
            return (_end(alert, end_ns, rules, at_ns, by=by),)
        # Whether something that a stream shows goes on, that stream says.
        if _shows(alert, sighting.stream):
            return (_leave(alert, sighting.stream, end_ns, rules, at_ns, by=by),)
        return ()
    changes: list[Change] = []
    if sighting.stream is not None and not _shows(alert, sighting.stream):
        alert = msgspec.structs.replace(alert, shown=alert.shown + _shown(sighting))
        changes.append(advance(alert, LifeEvent.JOINED, rules, at_ns, by=by))
        alert = changes[-1].alert
    if priority is not None and is_higher(priority, alert.priority):
        worse = msgspec.structs.replace(alert, priority=priority)
        changes.append(advance(worse, LifeEvent.WORSENED, rules, at_ns, by=by, why=sighting.reason))
    return tuple(changes)


def _raise(
    known: PatientAlerts,
    before: Alert | None,
    sighting: Sighting,
    priority: AlertPriority,
    rules: AlertRules,
    at_ns: int,
) -> tuple[Change, ...]:
    number = before.number + 1 if before else 1
    key = (sighting.condition, sighting.about)
    alert = Alert(
        org=known.org,
        patient=known.patient,
        condition=sighting.condition,
        about=sighting.about,
        number=number,
        id=alert_id(known.org, known.patient, key, number),
        priority=priority,
        is_technical=sighting.is_technical,
        state=AlertState.NEW,
        onset_ns=sighting.onset_ns,
        end_ns=None,
        episodes=1,
        latest_onset_ns=max(sighting.onset_ns, before.latest_onset_ns if before else sighting.onset_ns),
        is_late=sighting.path == "batch",
        confidence=sighting.confidence,
        grade=sighting.grade,
        reason=sighting.reason,
        raised_ns=at_ns,
        changed_ns=at_ns,
        shown=_shown(sighting),
    )
    return _begin(alert, LifeEvent.BEGAN, sighting, rules, at_ns)


def _next(
    alert: Alert, sighting: Sighting, priority: AlertPriority, rules: AlertRules, at_ns: int
) -> tuple[Change, ...]:
    """A later episode of an open alert."""
    unseen: tuple[Change, ...] = ()
    if alert.end_ns is None and alert.state.is_active:
        ended = _end(alert, sighting.onset_ns, rules, at_ns, by=_by(sighting), why="its end was not seen")
        alert, unseen = ended.alert, (ended,)
    again = msgspec.structs.replace(
        alert,
        onset_ns=sighting.onset_ns,
        end_ns=None,
        latest_onset_ns=sighting.onset_ns,
        is_late=sighting.path == "batch",
        episodes=alert.episodes + 1,
        confidence=sighting.confidence,
        grade=sighting.grade,
        reason=sighting.reason,
        shown=_shown(sighting),
    )
    return unseen + _begin(*_worse(again, priority), sighting, rules, at_ns)


def _earlier(
    alert: Alert, sighting: Sighting, priority: AlertPriority, rules: AlertRules, at_ns: int
) -> tuple[Change, ...]:
    """An earlier episode that nobody had found, usually by the batch layer: told, and marked late."""
    counted = msgspec.structs.replace(alert, episodes=alert.episodes + 1)
    if alert.state.is_active:
        worse, event = _worse(counted, priority)
        row = AlertEpisode(
            alert.org,
            alert.patient,
            *alert.key,
            sighting.onset_ns,
            _end_of(sighting),
            alert.id,
        )
        return (
            advance(
                worse, event, rules, at_ns, by=_by(sighting), why="found late", detail="late", episode=row
            ),
        )
    told = msgspec.structs.replace(
        counted, onset_ns=sighting.onset_ns, end_ns=None, is_late=sighting.path == "batch"
    )
    over = msgspec.structs.replace(sighting, end_ns=_end_of(sighting))
    return _begin(*_worse(told, priority), over, rules, at_ns, detail="late")


def _end_of(sighting: Sighting) -> int:
    return sighting.until_ns if sighting.end_ns is None else sighting.end_ns


def _worse(alert: Alert, priority: AlertPriority) -> tuple[Alert, LifeEvent]:
    if is_higher(priority, alert.priority):
        return msgspec.structs.replace(alert, priority=priority), LifeEvent.WORSENED
    return alert, LifeEvent.BEGAN


def _begin(
    alert: Alert, event: LifeEvent, sighting: Sighting, rules: AlertRules, at_ns: int, detail: str = ""
) -> tuple[Change, ...]:
    began = advance(
        alert,
        event,
        rules,
        at_ns,
        by=_by(sighting),
        why=sighting.reason,
        detail=detail or ("late" if sighting.path == "batch" else ""),
        episode=episode_of(alert),
    )
    if sighting.end_ns is None:
        return (began,)
    return (began, _end(began.alert, sighting.end_ns, rules, at_ns, by=_by(sighting)))


def _shown(sighting: Sighting) -> tuple[Shown, ...]:
    return () if sighting.stream is None else (Shown(sighting.stream, sighting.onset_ns),)


def _shows(alert: Alert, stream: int | None) -> bool:
    return any(one.stream == stream for one in alert.shown)


def _leave(
    alert: Alert, stream: int | None, end_ns: int, rules: AlertRules, at_ns: int, *, by: str, why: str = ""
) -> Change:
    """The end, if no other stream shows it."""
    others = tuple(one for one in alert.shown if one.stream != stream)
    if not others:
        return _end(alert, end_ns, rules, at_ns, by=by, why=why)
    return advance(msgspec.structs.replace(alert, shown=others), LifeEvent.LEFT, rules, at_ns, by=by, why=why)


def _end(alert: Alert, end_ns: int, rules: AlertRules, at_ns: int, *, by: str, why: str = "") -> Change:
    over = msgspec.structs.replace(alert, end_ns=end_ns, shown=())
    return advance(over, LifeEvent.ENDED, rules, at_ns, by=by, why=why, episode=episode_of(over))


def _by(sighting: Sighting) -> str:
    return "watch" if sighting.path == "watch" else "ecg"
