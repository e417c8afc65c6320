"""One function, invoked by value or by reference; the answer comes back the way the question came.

The switch is the article's: ``ecgDataFilePath`` null means by value, set means that the ECG object lies in
the object store under that name and the enriched object is to be written there, its name returned.
"""

import hashlib
from collections.abc import Callable

from einthoven.errors import InputInvalid
from einthoven.functions import Ecg, PatientState, contract_of, decode, encode
from einthoven.storage import ObjectStore

__all__ = ["Call", "digest_of", "fetch", "findings_alone", "invoke", "kept_of", "named", "run_pipeline"]

Call = Callable[[Ecg, PatientState], tuple[Ecg, PatientState]]


def invoke(
    call: Call, ecg: Ecg, state: PatientState, store: ObjectStore | None = None
) -> tuple[Ecg, PatientState]:
    """Run one function.

    Raises
    ------
    InputInvalid : a reference without a store, or neither samples nor a reference.
    ReferenceRefused, RecordingNotFound, StoreUnavailable : see `ObjectStore`.
    """
    reference = ecg.ecg_data_file_path
    if reference is None:
        return call(ecg, state)
    if store is None:
        raise InputInvalid(
            "the input is a reference and this place has no object store.",
            where="ecgDataFilePath",
            remedy="Send the samples by value, or configure a store.",
        )
    loaded = fetch(reference, store)
    if loaded.ecg_data_file_path is not None:
        raise InputInvalid(
            "the object is itself a reference.", where=reference, remedy="Refer to the ECG object."
        )
    result, after = call(loaded, state)
    content = encode(kept_of(result), "msgpack")
    name = named(reference, call, digest_of(content))
    store.put(name, content)
    return Ecg(ecg_data_file_path=name), after


def run_pipeline(
    calls: tuple[Call, ...], ecg: Ecg, state: PatientState, store: ObjectStore | None = None
) -> tuple[Ecg, PatientState]:
    """Run functions one after the other; each keeps the mode of the one before."""
    for call in calls:
        ecg, state = invoke(call, ecg, state, store)
    return ecg, state


def fetch(reference: str, store: ObjectStore) -> Ecg:
    """The ECG object under a name, whichever of the two encodings it has."""
    content = store.get(reference)
    return decode(content, "json" if content[:1] == b"{" else "msgpack")


def findings_alone(ecg: Ecg) -> Ecg:
    """An analysed ECG without its samples and all that was made on the way: a twentieth of the bytes."""
    return Ecg(
        patient_id=ecg.patient_id,
        start_time=ecg.start_time,
        fs=ecg.fs,
        lead=ecg.lead,
        first=ecg.first,
        is_last=ecg.is_last,
        findings=ecg.findings,
        versions=ecg.versions,
    )


def kept_of(ecg: Ecg) -> Ecg:
    """What of an answer is kept in a store: once there are findings, these alone.

    The samples lie where the recording does, and nothing after finalization has any need of the sections
    before it.
    """
    return ecg if ecg.findings is None else findings_alone(ecg)


def named(reference: str, call: Call, content: str) -> str:
    """The name of what a function made of an object: beside it, by what is in it and by which made it."""
    folder, slash, _ = reference.rpartition("/")
    return f"{folder}{slash}{content}.{contract_of(call).name}"


def digest_of(content: bytes) -> str:
    """Half of the SHA-256: 128 bits, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()[:32]
