"""Silent devices, late data and broken paths are alerts of their own."""

import msgspec

from einthoven.alerts import (
    AlertRules,
    ChannelHealth,
    DeviceSeen,
    PathPolicy,
    PatientAlerts,
    acknowledge,
    close,
    receive,
    watch_channel,
    watch_device,
)
from einthoven.testing.alerts import SECOND_NS

RULES = AlertRules(silent_after_s=120, late_after_s=300)
POLICY = PathPolicy()


class Watch:
    """A watch that remembers what it told."""

    def __init__(self) -> None:
        self.known = PatientAlerts("main", "p-1")
        self.told = frozenset()

    def sees(self, thing: DeviceSeen | ChannelHealth, at_s: float) -> list[str]:
        at_ns = round(at_s * SECOND_NS)
        if isinstance(thing, DeviceSeen):
            thing = msgspec.structs.replace(thing, told=self.told)
            sightings = watch_device(self.known, thing, RULES, at_ns)
            self.told = thing.due(RULES, at_ns)
        else:
            sightings = watch_channel(self.known, thing, POLICY, at_ns)
        changes = receive(self.known, sightings, RULES, at_ns)
        self.known = self.known.after(changes)
        return [f"{change.alert.condition} {change.what}" for change in changes]


def heard(seen_s: float, data_s: float, *, is_over: bool = False) -> DeviceSeen:
    return DeviceSeen(
        "main", "p-1", "d-1", round(seen_s * SECOND_NS), round(data_s * SECOND_NS), is_over=is_over
    )


NEW = heard(0, 0)


def test_a_silent_device_is_told_once_and_ends_when_it_is_heard() -> None:
    watch = Watch()
    assert watch.sees(NEW, 119) == []
    assert watch.sees(NEW, 120) == ["device_silent raised"]
    assert watch.sees(NEW, 500) == []
    assert watch.sees(heard(510, 505), 511) == ["device_silent ended"]
    (alert,) = watch.known.alerts
    assert (alert.about, alert.is_technical, alert.priority) == ("d-1", True, "low")
    assert alert.end_ns == 510 * SECOND_NS


def test_a_stream_that_said_goodbye_is_not_missed() -> None:
    assert Watch().sees(heard(10, 9, is_over=True), 9999) == []


def test_late_data_is_told_once_while_it_stays_late() -> None:
    watch = Watch()
    assert watch.sees(heard(400, 50), 401) == ["data_late raised"]
    assert watch.sees(heard(430, 80), 431) == []
    assert watch.sees(heard(460, 440), 461) == ["data_late ended"]


def test_a_device_that_is_late_and_falls_silent_is_both() -> None:
    watch = Watch()
    late = heard(400, 50)
    assert watch.sees(late, 401) == ["data_late raised"]
    assert watch.sees(late, 520) == ["device_silent raised"]
    assert watch.sees(heard(530, 529), 531) == ["data_late ended", "device_silent ended"]


def test_what_somebody_closed_is_not_told_again_while_it_goes_on() -> None:
    watch = Watch()
    watch.sees(heard(400, 50), 401)
    known = acknowledge(watch.known.alerts[0], RULES, 0, by="x")
    closed = close(known.alert, RULES, 402 * SECOND_NS, by="x", why="slow uplink")
    watch.known = watch.known.after((closed,))
    assert watch.sees(heard(430, 80), 431) == []


def test_a_channel_that_fails_three_times_is_a_broken_path_of_medium_priority() -> None:
    watch = Watch()
    health = ChannelHealth("main", "mail")
    for n, words in enumerate(([], [], ["alert_path_broken raised"], [])):
        health = health.after_failure((10 + n) * SECOND_NS)
        assert watch.sees(health, 10 + n) == words
    (alert,) = watch.known.alerts
    assert (alert.priority, alert.is_technical, alert.about) == ("medium", True, "mail")
    assert alert.onset_ns == 10 * SECOND_NS
    assert watch.sees(health.after_receipt(50 * SECOND_NS), 51) == ["alert_path_broken ended"]


def test_receipts_that_stop_are_a_broken_path() -> None:
    watch = Watch()
    health = ChannelHealth("main", "mail", waiting_ns=100 * SECOND_NS)
    assert watch.sees(health, 159) == []
    assert watch.sees(health, 160) == ["alert_path_broken raised"]
    assert watch.sees(health.after_receipt(170 * SECOND_NS), 171) == ["alert_path_broken ended"]
