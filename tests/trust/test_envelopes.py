"""A payload is read by whom it was sealed for, once, as it was; anything else is one refusal."""

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from einthoven.errors import EnvelopeRefused, EnvelopeReplayed, InputInvalid, KeyRefused
from einthoven.trust.envelopes import ENVELOPE_BYTES, DeviceKey, Opener, PayloadKey, Sealer
from einthoven.trust.hpke import receiver_context, sender_context
from einthoven.trust.replay import WINDOW, ReplayWindow

# RFC 9180, appendix A.2.3.
INFO = bytes.fromhex("4f6465206f6e2061204772656369616e2055726e")
SK_E = bytes.fromhex("c94619e1af28971c8fa7957192b7e62a71ca2dcdde0a7cc4a8a9e741d600ab13")
SK_R = bytes.fromhex("3ca22a6d1cda1bb9480949ec5329d3bf0b080ca4c45879c95eddb55c70b80b82")
SK_S = bytes.fromhex("2def0cb58ffcf83d1062dd085c8aceca7f4c0c3fd05912d847b61f3e54121f05")
ENC = bytes.fromhex("f7674cc8cd7baa5872d1f33dbaffe3314239f6197ddf5ded1746760bfc847e0e")
PLAIN = bytes.fromhex("4265617574792069732074727574682c20747275746820626561757479")
SEALED = {
    0: "ab1a13c9d4f01a87ec3440dbd756e2677bd2ecf9df0ce7ed73869b98e00c09be111cb9fdf077347aeb88e61bdf",
    1: "3265c7807ffff7fdace21659a2c6ccffee52a26d270c76468ed74202a65478bfaedfff9c2b7634e24f10b71016",
    2: "3aadee86ad2a05081ea860033a9d09dbccb4acac2ded0891da40f51d4df19925f7a767b076a5cbc9355c8fd35e",
    4: "502ecccd5c2be3506a081809cc58b43b94f77cbe37b8b31712d9e21c9e61aa6946a8e922f54eae630f88eb8033",
    255: "652e597ba20f3d9241cda61f33937298b1169e6adf72974bbe454297502eb4be132e1c5064702fc165c2ddbde8",
    256: "3be14e8b3bbd1028cf2b7d0a691dbbeff71321e7dec92d3c2cfb30a0994ab246af76168480285a60037b4ba13a",
}

SITE, DEVICE = PayloadKey(bytes([1] * 32)), PayloadKey(bytes([2] * 32))
FRESH = ReplayWindow()


def an_opener() -> Opener:
    return Opener([SITE], [DeviceKey("d-1", DEVICE.public)])


def test_the_ciphertexts_are_those_of_rfc_9180() -> None:
    private = X25519PrivateKey.from_private_bytes
    sender, receiver = private(SK_S), private(SK_R)
    enc, sealing = sender_context(receiver.public_key(), sender, INFO, ephemeral=lambda: private(SK_E))
    opening = receiver_context(ENC, receiver, sender.public_key(), INFO)
    assert enc == ENC
    assert opening
    for number, sealed in reversed(SEALED.items()):
        aad = f"Count-{number}".encode()
        assert sealing.seal(number, aad, PLAIN).hex() == sealed
        assert opening.open(number, aad, bytes.fromhex(sealed)) == PLAIN
    small = X25519PublicKey.from_public_bytes(bytes(32))
    assert receiver_context(ENC, receiver, small, INFO) is None


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_what_is_sealed_is_opened_in_any_order_by_any_worker(payloads: list[bytes], random) -> None:
    sealer = Sealer("d-1", DEVICE, SITE.public)
    envelopes = [(number, one, sealer.seal(number, one)) for number, one in enumerate(payloads, 5)]
    random.shuffle(envelopes)
    window = FRESH
    for number, payload, envelope in envelopes:
        assert len(envelope) == len(payload) + ENVELOPE_BYTES
        worker = an_opener()
        assert worker.device_of(envelope) == "d-1"
        opened = worker.open(envelope, window)
        assert (opened.device, opened.sequence, opened.payload) == ("d-1", number, payload)
        window = opened.window
    for _, _, envelope in envelopes:
        with pytest.raises(EnvelopeReplayed):
            an_opener().open(envelope, window)


@pytest.mark.parametrize("bit", range(8))
def test_no_bit_of_an_envelope_can_be_changed(bit: int) -> None:
    """And the refusal is the same, whatever it was."""
    opener, envelope = an_opener(), Sealer("d-1", DEVICE, SITE.public).seal(7, b"an ECG")
    said = set()
    for at in range(len(envelope)):
        changed = envelope[:at] + bytes([envelope[at] ^ 1 << bit]) + envelope[at + 1 :]
        with pytest.raises(EnvelopeRefused) as raised:
            opener.open(changed, FRESH)
        said.add((type(raised.value), str(raised.value)))
        with pytest.raises(EnvelopeRefused):
            opener.open(envelope[:at], FRESH)
    assert len(said) == 1
    assert opener.open(envelope, FRESH).payload == b"an ECG"
    with pytest.raises(EnvelopeRefused):
        opener.open(envelope + b"\x00", FRESH)


def test_an_envelope_is_from_this_device_for_this_receiver_under_this_name() -> None:
    envelope = Sealer("d-1", DEVICE, SITE.public).seal(0, b"an ECG")
    known = DeviceKey("d-1", DEVICE.public)
    for opener in (
        Opener([PayloadKey.made()], [known]),
        Opener([SITE], []),
        Opener([SITE], [DeviceKey("d-2", DEVICE.public)]),
        Opener([SITE], [DeviceKey("d-1", DEVICE.public, is_retired=True)]),
    ):
        with pytest.raises(EnvelopeRefused):
            opener.open(envelope, FRESH)
    with pytest.raises(EnvelopeRefused):
        Opener([SITE], []).device_of(envelope)
    forged = Sealer("d-1", PayloadKey.made(), SITE.public).seal(0, b"an ECG")
    with pytest.raises(EnvelopeRefused):
        an_opener().open(forged, FRESH)


def test_keys_of_both_sides_are_rotated_while_envelopes_are_under_way() -> None:
    new_site, new_device = PayloadKey.made(), PayloadKey.made()
    under_way = Sealer("d-1", DEVICE, SITE.public).seal(0, b"old")
    after = Sealer("d-1", new_device, new_site.public).seal(1, b"new")
    keys = [DeviceKey("d-1", DEVICE.public), DeviceKey("d-1", new_device.public)]
    both = Opener([SITE, new_site], keys)
    opened = both.open(after, FRESH)
    assert both.open(under_way, opened.window).payload == b"old"
    with pytest.raises(EnvelopeRefused):
        Opener([new_site], keys).open(under_way, FRESH)


def test_no_number_is_sealed_twice() -> None:
    """Two payloads under one nonce would give both away."""
    sealer = Sealer("d-1", DEVICE, SITE.public)
    sealer.seal(3, b"a")
    for number in (3, 2, -1, 2**53):
        with pytest.raises(InputInvalid, match="sealed once"):
            sealer.seal(number, b"b")
    again = Sealer("d-1", DEVICE, SITE.public)
    assert again.seal(4, b"a") != sealer.seal(4, b"a"), "a session has its own keys"
    with pytest.raises(InputInvalid, match="at most"):
        sealer.seal(9, bytes(2**22 + 1))


def test_keys_are_checked_and_never_printed() -> None:
    assert SITE.secret.hex() not in repr(SITE)
    assert PayloadKey(SITE.secret).public == SITE.public
    with pytest.raises(KeyRefused):
        PayloadKey(b"short")
    for name, public in (("a b", bytes(32)), ("d", b"")):
        with pytest.raises(KeyRefused):
            DeviceKey(name, public)
    for public in (b"short", bytes(32)):
        with pytest.raises(KeyRefused):
            Sealer("d-1", DEVICE, public)


@given(st.lists(st.integers(0, 3 * WINDOW), max_size=60))
def test_a_number_is_taken_once_however_they_come(numbers: list[int]) -> None:
    """The window is a set that forgets what is too old, and refuses that."""
    window, taken = FRESH, set()
    for number in numbers:
        is_new = number not in taken and number > max(taken, default=0) - WINDOW
        try:
            window = window.after(number)
            assert is_new
            taken.add(number)
        except EnvelopeReplayed:
            assert not is_new
        assert len(window.seen) <= WINDOW // 8
        assert window.highest == max(taken, default=-1)


def test_a_window_that_is_none_is_refused() -> None:
    with pytest.raises(EnvelopeReplayed):
        FRESH.after(-1)
    for highest, seen in ((-2, b""), (0, bytes(513))):
        with pytest.raises(InputInvalid):
            ReplayWindow(highest, seen)


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_in_the_same_words(content: bytes) -> None:
    with pytest.raises(EnvelopeRefused, match="cannot be opened"):
        an_opener().open(b"\x01" + content, FRESH)
