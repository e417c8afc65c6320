"""Streams for the pages to show."""

import time
from typing import Any

from einthoven.simulation import SCENES, VirtualPatient

LOOKS: dict[str, dict[str, Any]] = {
    "light": {},
    "dark": {"color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}},
}
"""Browsers that somebody may come with."""


def looks_like(page: Any, look: str) -> None:
    """Turn a page that is open into that of another browser."""
    page.emulate_media(color_scheme=LOOKS[look].get("color_scheme", "light"))
    page.set_viewport_size(LOOKS[look].get("viewport", {"width": 1280, "height": 720}))


def a_stream(client: Any, scene: str = "vt_to_vf", *, lead: str = "II", minutes: float = 1.0) -> None:
    """A stream that ends now, in segments of ten seconds."""
    patient = VirtualPatient(5, SCENES[scene], fs=125.0, duration_s=60.0 * minutes)
    count = round(6 * minutes)
    start_ns = time.time_ns() - count * 10**10
    about = patient.info.leads[0]
    for number in range(count):
        body = {
            "sequence": number,
            "startTime": start_ns + number * 10**10,
            "fs": 125.0,
            "gain": about.gain,
            "baseline": about.baseline,
            "lead": lead,
            "samples": patient.read(1250 * number, 1250 * (number + 1))[0].tolist(),
        }
        answer = client.post("/v1/segments", json=body)
        assert answer.status_code == 200, answer.text
