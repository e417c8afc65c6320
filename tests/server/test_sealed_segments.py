"""Segments that only the service can read: each envelope is opened once, with keys that are in force."""

import base64
import itertools
import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("cryptography")

from einthoven.cli import run
from einthoven.errors import EnvelopeRefused, EnvelopeReplayed
from einthoven.runtime.secret_files import destroy_secret, keep_payload_key, payload_keys
from einthoven.server import accounts, payload_opening
from einthoven.server.engine import Engine, Nobody
from einthoven.server.ingest import SEALED
from einthoven.server.payload_tables import add_key, retire_key
from einthoven.server.settings import Settings
from einthoven.server.stream_plans import Recorded
from einthoven.server.wire import Answer, Arrival, Envelope
from einthoven.storage import Database, Statements, open_database
from einthoven.testing.builders import some_segments
from einthoven.testing.serving import Served, a_segment, packed, serving
from einthoven.trust.envelopes import PayloadKey, Sealer
from einthoven.trust.payload_ids import payload_key_id

NUMBERS = itertools.count()
WAIT_S = 20.0


class Device:
    """A device with its token and its key."""

    def __init__(self, site: "Site", key: PayloadKey | None = None) -> None:
        number = next(NUMBERS)
        self.patient, self.name = f"p{number}", f"d{number}"
        self.client = site.served.device(self.patient, device=self.name)
        self.key = key or PayloadKey.made()
        site.admit(self.name, self.key)
        self.sealer = Sealer(self.name, self.key, site.key.public)

    def envelope(self, number: int, body: Any, sealer: Sealer | None = None) -> bytes:
        return (sealer or self.sealer).seal(number, b"\x01" + json.dumps(body).encode())

    def send(self, envelope: bytes, **headers: str) -> httpx.Response:
        return self.client.post("/v1/segments", content=envelope, headers={"Content-Type": SEALED, **headers})


class Site:
    """A served service with a key of its own."""

    def __init__(self, served: Served, folder: Path) -> None:
        self.served, self.folder = served, folder
        self.key = keep_payload_key(folder, 10**9)

    def admit(self, device: str, key: PayloadKey) -> None:
        with self.served.writing() as statements:
            Served._org(statements, "main")
            add_key(statements, "main", device, key.public, by="test", now_ns=1)

    def retire(self, device: str, key: PayloadKey) -> None:
        with self.served.writing() as statements:
            id_ = payload_key_id(key.public).hex()
            retire_key(statements, "main", device, id_, by="test", now_ns=2)

    def kept(self, device: str) -> list[int]:
        with self.served.writing() as statements:
            rows = statements.rows(
                "SELECT sequence FROM segments JOIN streams ON id = stream WHERE device = ? ORDER BY 1",
                (device,),
            )
        return [row[0] for row in rows]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    database = open_database(str(folder / "einthoven.db"))
    database.migrate()
    with serving(database, settings=Settings(data_folder=str(folder))) as served:
        yield Site(served, folder)


def segment(number: int = 0, **more: Any) -> dict[str, Any]:
    return a_segment(number, seconds=2.0, **more)


def until(send: Callable[[], httpx.Response], status: int) -> httpx.Response:
    """The answer once it has this status: workers follow changes of keys within two seconds."""
    until_s = time.monotonic() + WAIT_S
    while (answer := send()).status_code != status and time.monotonic() < until_s:
        time.sleep(0.1)
    assert answer.status_code == status, answer.text
    return answer


def refused(answer: httpx.Response, code: str = "envelope-refused") -> bool:
    return answer.status_code == 400 and answer.json()["code"] == code


class Dying(Nobody):
    """Fails in the transaction as often as it is told."""

    times = 0

    def follow(self, statements: Statements, found: Sequence[Recorded]) -> object:
        if self.times:
            self.times -= 1
            raise OSError("the machine dies here")
        return super().follow(statements, found)


def test_what_a_device_sealed_is_answered_once_and_a_repetition_as_the_first(
    database: Database, tmp_path: Path
) -> None:
    dying = Dying()
    with serving(database, follower=dying, settings=Settings(data_folder=str(tmp_path))) as served:
        site = Site(served, tmp_path)
        device = Device(site)
        plain = served.device("plain", device="plain").post("/v1/segments", json=segment())
        first = device.envelope(7, segment())
        answer = until(lambda: device.send(first), 200)
        assert answer.json() == plain.json()
        again = device.send(first)
        assert again.json() == {**answer.json(), "status": "duplicate"}

        other = device.envelope(7, segment(1), Sealer(device.name, device.key, site.key.public))
        assert refused(device.send(other), "envelope-replayed")
        changed = {**segment(), "samples": [1] * 100}
        reused = device.envelope(7, changed, Sealer(device.name, device.key, site.key.public))
        assert device.send(reused).status_code == 409

        # Whatever dies between opening and commit leaves no trace; the same bytes are taken then, once.
        dying.times, second = 1, device.envelope(8, [segment(1), segment(2)])
        lost = device.send(second)
        assert lost.status_code in (207, 500), lost.text
        assert site.kept(device.name) == [0]
        assert [one["status"] for one in device.send(second).json()] == ["analysed"] * 2
        assert [one["status"] for one in device.send(second).json()] == ["duplicate"] * 2
        assert site.kept(device.name) == [0, 1, 2]
        with served.writing() as statements:
            assert statements.rows("SELECT highest FROM payload_windows") == [(8,)]


def test_envelopes_may_overtake_each_other_and_wait_for_their_analysis(site: Site) -> None:
    device = Device(site)
    one, two, three = (device.envelope(number, segment(number)) for number in (1, 2, 3))
    until(lambda: device.send(one), 200)
    assert device.send(three).json()["status"] == "analysed"
    assert device.send(two).json()["status"] == "late"
    assert device.send(two).json()["status"] == "duplicate"
    last = device.envelope(4, segment(4))
    assert device.send(last, Prefer="respond-async").status_code == 202
    assert device.send(last).status_code == 200
    assert site.kept(device.name) == [1, 2, 3, 4]


def test_messagepack_travels_sealed_too_and_is_answered_so(site: Site) -> None:
    device = Device(site)
    answer = until(lambda: device.send(device.sealer.seal(next(NUMBERS), b"\x02" + packed(segment()))), 200)
    assert answer.headers["content-type"] == "application/msgpack"
    nameless = device.send(device.sealer.seal(next(NUMBERS), b"\x07{}"))
    assert (nameless.status_code, nameless.json()["where"]) == (400, "payload")


def test_a_gateway_passes_on_what_it_cannot_read(site: Site) -> None:
    device = Device(site)
    gateway = site.served.gateway()
    body = segment(patientId=device.patient)
    headers = {"Content-Type": SEALED}

    def send(body: Any) -> httpx.Response:
        envelope = device.envelope(next(NUMBERS), body)
        return gateway.post("/v1/segments", content=envelope, headers=headers)

    assert until(lambda: send(body), 200).json()["status"] == "analysed"
    other = send({**body, "deviceId": "another"})
    assert other.status_code == 403


def test_a_refusal_says_nothing_of_why(site: Site) -> None:
    device, another = Device(site), Device(site)
    good = device.envelope(1, segment())
    until(lambda: device.send(good), 200)
    stranger = Sealer(device.name, PayloadKey.made(), site.key.public)
    elsewhere = Sealer(device.name, device.key, PayloadKey.made().public)
    bad = {
        "of another device": another.envelope(1, segment()),
        "of a key that is not known": device.envelope(2, segment(1), stranger),
        "for another site": device.envelope(2, segment(1), elsewhere),
        "changed": good[:-1] + bytes([good[-1] ^ 1]),
        "cut": good[:60],
        "empty": b"",
        "of another version": b"\x02" + good[1:],
    }
    answers = {what: device.send(envelope) for what, envelope in bad.items()}
    assert {answer.content for answer in answers.values()} == {answers["empty"].content}
    assert all(map(refused, answers.values()))
    assert site.kept(device.name) == [0]


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_whatever_is_not_an_envelope_is_refused(site: Site, data: st.DataObject) -> None:
    if not hasattr(site, "sending"):
        site.sending = Device(site)  # type: ignore[attr-defined]
        until(lambda: site.sending.send(site.sending.envelope(next(NUMBERS), segment())), 200)  # type: ignore[attr-defined]
    device = site.sending  # type: ignore[attr-defined]
    good = bytearray(device.envelope(next(NUMBERS), segment(50)))
    kind = data.draw(st.sampled_from(["garbage", "cut", "flipped"]))
    if kind == "garbage":
        content = data.draw(st.binary(max_size=200))
    elif kind == "cut":
        content = bytes(good[: data.draw(st.integers(0, len(good) - 1))])
    else:
        good[data.draw(st.integers(0, len(good) - 1))] ^= data.draw(st.integers(1, 255))
        content = bytes(good)
    assert refused(device.send(content))
    assert 50 not in site.kept(device.name)


def test_keys_of_both_sides_are_changed_while_devices_send(site: Site) -> None:
    device = Device(site)
    technician = site.served.person("technician")
    path = f"/v1/devices/{device.name}/payload-keys"
    numbers = itertools.count(1)

    def send(sealer: Sealer) -> httpx.Response:
        number = next(numbers)
        return device.send(device.envelope(number, segment(number), sealer))

    until(lambda: send(device.sealer), 200)
    newer = keep_payload_key(site.folder, 2 * 10**9)

    def newest() -> bytes:
        return base64.b64decode(device.client.get("/v1/payload-keys").json()["items"][0]["publicKey"])

    until_s = time.monotonic() + WAIT_S
    while newest() != newer.public and time.monotonic() < until_s:
        time.sleep(0.1)
    assert newest() == newer.public
    fresh = PayloadKey.made()
    sent = {"publicKey": base64.b64encode(fresh.public).decode()}
    added = technician.put(path, json=sent)
    assert added.status_code == 200, added.text
    assert technician.put(path, json=sent).json() == added.json()
    renewed = Sealer(device.name, fresh, newer.public)
    until(lambda: send(renewed), 200)
    assert send(device.sealer).status_code == 200  # what is under way of the old keys is taken

    old_id = payload_key_id(device.key.public).hex()
    assert technician.delete(f"{path}/{old_id}").status_code == 204
    assert refused(until(lambda: send(device.sealer), 400))
    assert send(renewed).status_code == 200
    back = technician.put(path, json={"publicKey": base64.b64encode(device.key.public).decode()})
    assert back.status_code == 409
    listed = technician.get(path).json()["items"]
    assert [bool(one["retiredAt"]) for one in sorted(listed, key=lambda one: one["since"])] == [True, False]
    acts = [one["action"] for one in site.served.person("auditor").get("/v1/audit?limit=500").json()["items"]]
    assert {"payload-key.added", "payload-key.retired"} <= set(acts)

    name = next(name for name, one in payload_keys(site.folder).items() if one.public == newer.public)
    destroy_secret(site.folder, "payload", name)
    assert refused(until(lambda: send(renewed), 400))


def test_plain_segments_are_refused_where_only_sealed_ones_are_taken(tmp_path: Path) -> None:
    database = open_database(str(tmp_path / "einthoven.db"))
    database.migrate()
    chosen = Settings(data_folder=str(tmp_path), sealed="required")
    with serving(database, settings=chosen) as served:
        site = Site(served, tmp_path)
        device = Device(site)
        plain = device.client.post("/v1/segments", json=segment())
        assert plain.status_code == 415
        assert SEALED in plain.json()["remedy"]
        assert until(lambda: device.send(device.envelope(next(NUMBERS), segment())), 200)


def test_without_the_extra_sealed_segments_are_refused_and_others_taken(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = Device(site)
    monkeypatch.setattr(payload_opening, "HAS_KEYS", False)
    answer = device.send(device.envelope(1, segment()))
    assert (answer.status_code, answer.json()["code"]) == (415, "input-invalid")
    assert "trust" in answer.json()["remedy"]
    assert device.client.get("/v1/payload-keys").json() == {"items": []}
    assert device.client.post("/v1/segments", json=segment()).status_code == 200


def test_keys_and_payloads_stand_in_no_log_and_no_error(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    device = Device(site)
    good = device.envelope(1, segment(lead="SECRET"))
    until(lambda: device.send(good), 200)
    told = [device.send(good[:-1] + b"\x00").text, device.send(good[:100]).text, caplog.text]
    secrets = [device.key.secret, site.key.secret, device.key.public, site.key.public]
    for one in secrets:
        for shown in (one.hex(), base64.b64encode(one).decode(), repr(one)):
            assert not any(shown in text for text in told)
    assert not any("SECRET" in text or device.patient in text for text in told)
    assert device.key.secret.hex() not in repr(device.key)


def test_a_refusal_is_the_one_of_the_library(site: Site) -> None:
    from einthoven.trust.envelopes import Opener  # noqa: PLC0415
    from einthoven.trust.replay import ReplayWindow  # noqa: PLC0415

    with pytest.raises(EnvelopeRefused) as refusal:
        Opener([], []).open(b"", ReplayWindow())
    assert Device(site).send(b"").json() == refusal.value.as_dict()


def test_virtual_patients_seal_what_they_send(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    technician = site.served.person("technician").headers["Authorization"].removeprefix("Bearer ")
    words = ["patients", "run", site.served.url, "--patients", "2", "--closed", "--duration", "1", "--json"]
    words += ["--seal", "--token", site.served.token("gateway")[1]]
    assert run([*words, "--technician-token", technician]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["counts"]["analysed"] > 0
    assert technician not in json.dumps(report)
    assert run(words) == 2
    assert run([*words, "--technician-token", technician, "--batch", "2"]) == 2


def test_keys_are_made_listed_and_destroyed_from_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(*words: str) -> Any:
        capsys.readouterr()
        assert run(["payload-keys", *words, "--data-folder", str(tmp_path), "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    database = open_database(str(tmp_path / "einthoven.db"))
    database.migrate()
    with Served(database).writing() as statements:
        accounts.ensure_main(statements, 0)
    [made] = said("make")
    assert said("list") == [made]
    public = base64.b64encode(PayloadKey.made().public).decode()
    [admitted] = said("admit", "d-1", public)
    assert admitted["publicKey"] == public
    assert said("retire", "d-1", admitted["id"])["retired"]
    assert run(["payload-keys", "admit", "d-1", "none", "--data-folder", str(tmp_path)]) == 2
    assert run(["payload-keys", "destroy", made["id"], "--data-folder", str(tmp_path)]) == 0
    assert said("list") == []
    assert run(["payload-keys", "destroy", made["id"], "--data-folder", str(tmp_path)]) == 2


def test_of_two_workers_one_takes_an_envelope_and_the_other_answers_so(database: Database) -> None:
    def arrival(one: Any, number: int, tag: bytes) -> Arrival:
        return Arrival("main", one, False, one.start_ns, envelope=Envelope(number, tag))

    first, second, third, fourth = some_segments("d-1", 4)
    engines = [Engine(database.connect()) for _ in range(2)]
    for number, one in enumerate((first, second)):  # both know the stream, the second one as it was
        for engine in engines:
            engine.process([arrival(one, number, b"a")])
    for engine, status in zip(engines, ("duplicate", "duplicate"), strict=True):
        [again] = engine.process([arrival(second, 1, b"a")])
        assert isinstance(again, Answer)
        assert again.status == status
        [other] = engine.process([arrival(third, 1, b"b")])
        assert isinstance(other, EnvelopeReplayed)
    # Two envelopes of one number in one transaction: the first is taken.
    both = engines[0].process([arrival(third, 2, b"c"), arrival(fourth, 2, b"d")])
    assert [type(one) for one in both] == [Answer, EnvelopeReplayed]
    [taken] = engines[1].process([arrival(fourth, 3, b"e")])
    assert isinstance(taken, Answer)
    for engine in engines:
        engine.close()
