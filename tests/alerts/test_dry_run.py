"""Rules are tried on history before they are signed."""

from einthoven.alerts import AlertRules, Choice, dry_run
from einthoven.testing.alerts import a_sighting

DAY_S = 86_400.0
PAUSE = {"condition": "pause", "priority": "medium"}
FAST = {"condition": "tachycardia", "priority": "low"}


def test_alerts_are_counted_per_day_by_priority_under_both() -> None:
    history = {
        "p": [
            a_sighting(100, 104),
            a_sighting(200, 204, **PAUSE),
            a_sighting(200, 204, **PAUSE),
            a_sighting(300, 320, **FAST),
            a_sighting(DAY_S + 5, DAY_S + 500, **FAST),
        ],
        "q": [a_sighting(100, 104, condition="lead_off", priority="low", is_technical=True)],
    }
    stricter = AlertRules(
        choices={"tachycardia": Choice(delay_s=60), "pause": Choice(priority="high")},
    )
    run = dry_run(history, AlertRules(), stricter, patient_days=4)
    assert run.before.by_list == {"high": 1, "medium": 1, "low": 2, "technical": 1}
    assert run.after.by_list == {"high": 2, "medium": 0, "low": 1, "technical": 1}
    assert run.before.by_day[1] == {"high": 0, "medium": 0, "low": 1, "technical": 0}
    assert run.gone() == {"tachycardia": 1}
    assert run.added() == {}
    assert run.after.per_day("high") == 0.5


def test_other_limits_come_with_findings_of_their_own() -> None:
    history = {"p": [a_sighting(200, 203.2, **PAUSE)]}
    run = dry_run(history, AlertRules(), AlertRules(), patient_days=1, history_after={"p": []})
    assert run.gone() == {"pause": 1}


def test_a_month_of_pauses_is_counted_in_a_moment() -> None:
    """Episodes that are long over are not carried along."""
    history = {"p": [a_sighting(60.0 * n, 60.0 * n + 4, **PAUSE) for n in range(3000)]}
    assert dry_run(history, AlertRules(), AlertRules(), patient_days=2).after.by_list["medium"] == 3000


def test_no_days_are_no_rate() -> None:
    assert dry_run({}, AlertRules(), AlertRules(), patient_days=0).after.per_day("high") == 0.0
