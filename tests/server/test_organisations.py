"""No organisation ever sees another's data, whatever the names."""

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from einthoven.server.accounts import ROLES
from einthoven.testing.serving import Served, a_segment

NUMBERS = itertools.count()
SENT = st.lists(
    st.tuples(st.sampled_from("ab"), st.sampled_from("pq"), st.sampled_from("xy"), st.integers(0, 2)),
    min_size=1,
    max_size=6,
    unique=True,
)


@settings(max_examples=15)
@given(SENT)
def test_everybody_sees_all_of_their_own_and_nothing_else(sqlite_served: Served, sent) -> None:
    """Two organisations with the same names for everything; the lead's name says whose a segment is."""
    number = next(NUMBERS)
    orgs = {letter: f"{letter}-{number}" for letter in "ab"}
    tokens: dict[str, set[int]] = {"a": set(), "b": set()}
    expected: dict[str, dict[tuple[str, str], set[int]]] = {"a": {}, "b": {}}
    for letter, patient, device, sequence in sent:
        name = f"{patient}-{device}"
        id_, secret = sqlite_served.token("device", patient, orgs[letter], name)
        tokens[letter].add(id_)
        body = a_segment(sequence, seconds=2.0, lead=letter)
        answer = sqlite_served.client(secret).post("/v1/segments", json=body)
        assert answer.status_code == 200
        expected[letter].setdefault((patient, name), set()).add(sequence)
    for letter, other in ("ab", "ba"):
        people = {role: sqlite_served.person(role, orgs[letter]) for role in ROLES if role != "patient"}
        streams = people["clinician"].get("/v1/streams").json()["items"]
        assert {(one["patient"], one["device"]) for one in streams} == set(expected[letter])
        assert {one["lead"] for one in streams} <= {letter}
        for patient in "pq":
            found = people["clinician"].get(f"/v1/patients/{patient}/segments").json()["items"]
            seen = {(patient, one["device"], one["sequence"]) for one in found}
            assert seen == {
                (who, device, sequence)
                for (who, device), sequences in expected[letter].items()
                for sequence in sequences
                if who == patient
            }
        for _, device in set(expected[other]) - set(expected[letter]):
            assert people["clinician"].get(f"/v1/streams/{device}").status_code == 404
        assert {one["id"] for one in people["admin"].get("/v1/tokens").json()["items"]} == tokens[letter]
        for id_ in tokens[other]:
            assert people["admin"].delete(f"/v1/tokens/{id_}").status_code == 404
        people["admin"].patch("/v1/users/auditor", json={"role": "technician"})
        acts = people["auditor"].get("/v1/audit")
        assert acts.status_code == 401, "the auditor's sessions ended with the change"
        organisations = people["admin"].get("/v1/organisations").json()["items"]
        assert [one["organisation"] for one in organisations] == [orgs[letter]]
    names = {
        letter: [
            one["role"]
            for one in sqlite_served.person("admin", orgs[letter]).get("/v1/users").json()["items"]
            if one["name"] == "auditor"
        ]
        for letter in "ab"
    }
    assert names == {"a": ["technician"], "b": ["technician"]}


def test_an_organisation_is_made_by_those_who_run_the_service(sqlite_served: Served) -> None:
    """They get its setup token, and never its administrator's password."""
    main, other = sqlite_served.person("admin"), sqlite_served.person("admin", "other")
    assert other.post("/v1/organisations", json={"organisation": "mine"}).status_code == 403
    made = main.post("/v1/organisations", json={"organisation": "ward-7", "name": "Ward 7"})
    assert made.status_code == 201
    setup = sqlite_served.client(made.json()["setupToken"])
    begun = setup.post("/v1/setup", json={"name": "eva", "password": "three words long enough"})
    assert begun.json()["organisation"] == "ward-7"
    eva = sqlite_served.client(begun.json()["token"])
    assert [one["organisation"] for one in eva.get("/v1/organisations").json()["items"]] == ["ward-7"]
    assert [one["name"] for one in eva.get("/v1/users").json()["items"]] == ["eva"]
    assert main.get("/v1/users/eva").status_code == 404
