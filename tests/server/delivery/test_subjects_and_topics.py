"""Alerts reach subscribers of a real NATS server and of MQTT brokers; their subjects name no patient."""

import asyncio
import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import aiomqtt
import nats
import pytest

from einthoven.alerts import AlertRules, Contact, Heartbeat, Notification, Rung, notify
from einthoven.clock import VirtualClock
from einthoven.errors import DeliveryFailed
from einthoven.server.delivery.mqtt_topic import MqttBroker, MqttChannel
from einthoven.server.delivery.nats_subject import NatsChannel, subject_of
from einthoven.testing.alerts import a_raised_alert
from einthoven.testing.loop import in_loop
from einthoven.testing.outbox import a_notification


def free_ports(count: int) -> list[int]:
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def a_free_port() -> int:
    return free_ports(1)[0]


@contextmanager
def running(command: list[str], port: int) -> Iterator[None]:
    """A server process that listens while the block runs."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(500):
            with socket.socket() as one:
                if one.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.01)
        yield
    finally:
        process.terminate()
        process.wait(10)


@contextmanager
def a_nats_server(folder: Path, port: int, mqtt_port: int) -> Iterator[str]:
    program = shutil.which("nats-server", path=str(Path(sys.executable).parent)) or shutil.which(
        "nats-server"
    )
    if program is None:
        pytest.skip("no nats-server; install the test extra")
    conf = folder / "nats.conf"
    conf.write_text(
        f'host: "127.0.0.1"\nport: {port}\nserver_name: test\n'
        f'jetstream {{ store_dir: "{folder}/js", sync_interval: always }}\n'
        f'mqtt {{ host: "127.0.0.1", port: {mqtt_port} }}\n'
    )
    with running([program, "-c", str(conf)], mqtt_port):
        yield f"nats://127.0.0.1:{port}"


def an_alert(address: str = "", **facts) -> Notification:
    rules = AlertRules(ladder=(Rung((Contact("nats", address),)),))
    return notify(a_raised_alert(rules, **facts), rules)[0]


def test_subjects_name_organisation_and_priority_only() -> None:
    assert subject_of(an_alert()) == "einthoven.main.alerts.high"
    technical = an_alert(condition="device_silent", priority="low", is_technical=True)
    assert subject_of(technical) == "einthoven.main.alerts.technical"
    assert subject_of(a_notification(content=Heartbeat("main", 1.0, "now"))) == "einthoven.main.heartbeat"


def test_nats_keeps_each_alert_once_and_gives_a_receipt(tmp_path: Path) -> None:
    async def conversation(url: str) -> None:
        client = await nats.connect(url)
        await client.jetstream().add_stream(name="ALERTS", subjects=["einthoven.>", "own.subject"])
        heard = await client.subscribe("einthoven.*.alerts.*")
        channel = NatsChannel(VirtualClock(), [url])
        receipts = [await channel.send(an_alert()) for _ in range(2)]
        assert [receipt.reference for receipt in receipts] == ["ALERTS 1", "ALERTS 1"]
        message = await heard.next_msg(2)
        assert message.header["Nats-Msg-Id"] == an_alert().id
        assert json.loads(message.data)["subject"] == "p-1"
        assert (await channel.send(an_alert("own.subject", onset_s=99))).reference == "ALERTS 2"
        with pytest.raises(DeliveryFailed, match="no stream"):
            await channel.send(an_alert("nobodys.subject"))
        plain = NatsChannel(VirtualClock(), [url], needs_stream=False)
        assert (await plain.send(an_alert("nobodys.subject"))).reference == "taken by the server"
        await plain.close()
        await channel.close()
        await client.close()

    with a_nats_server(tmp_path, *free_ports(2)) as url:
        asyncio.run(conversation(url))


def test_a_nats_server_that_is_down_and_comes_back_takes_what_was_refused(tmp_path: Path) -> None:
    port, mqtt_port = free_ports(2)

    async def refused(channel: NatsChannel) -> None:
        with pytest.raises(DeliveryFailed) as caught:
            await channel.send(an_alert())
        assert not caught.value.is_permanent

    async def scenario() -> None:
        channel = NatsChannel(VirtualClock(), [f"nats://127.0.0.1:{port}"], needs_stream=False, timeout_s=1)
        await refused(channel)
        for _ in range(2):
            with a_nats_server(tmp_path, port, mqtt_port):
                for _ in range(10):
                    try:
                        receipt = await channel.send(an_alert())
                        break
                    except DeliveryFailed:
                        await asyncio.sleep(0.1)
                assert receipt.notification_id == an_alert().id
        await refused(channel)
        await channel.close()

    asyncio.run(scenario())


def test_mqtt_delivers_with_an_acknowledgement(tmp_path: Path) -> None:
    """Version 3.1.1 against the NATS server's own listener."""

    async def conversation(broker: MqttBroker) -> None:
        heard = asyncio.get_running_loop().create_future()

        async def listen() -> None:
            async with aiomqtt.Client(
                broker.host, broker.port, protocol=aiomqtt.ProtocolVersion.V311
            ) as client:
                await client.subscribe("einthoven/+/alerts/+", qos=1)
                ready.set()
                async for message in client.messages:
                    heard.set_result((str(message.topic), message.payload))
                    return

        ready = asyncio.Event()
        listening = asyncio.create_task(listen())
        await ready.wait()
        channel = MqttChannel(VirtualClock(), broker)
        receipt = await channel.send(an_alert())
        assert receipt.reference == "PUBACK"
        topic, payload = await asyncio.wait_for(heard, 5)
        assert topic == "einthoven/main/alerts/high"
        assert json.loads(payload)["id"] == an_alert().id
        await listening
        await channel.close()

    port, mqtt_port = free_ports(2)
    with a_nats_server(tmp_path, port, mqtt_port):
        asyncio.run(conversation(MqttBroker("127.0.0.1", mqtt_port, version="3.1.1")))


def test_mqtt_5_carries_the_content_type_and_the_id(tmp_path: Path) -> None:
    program = shutil.which("mosquitto")
    if program is None:
        pytest.skip("no mosquitto; the NATS server's listener speaks MQTT 3.1.1 only")
    port = a_free_port()
    conf = tmp_path / "mosquitto.conf"
    conf.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
    broker = MqttBroker("127.0.0.1", port)

    async def conversation() -> None:
        async with aiomqtt.Client(broker.host, port, protocol=aiomqtt.ProtocolVersion.V5) as client:
            await client.subscribe("einthoven/#", qos=1)
            channel = MqttChannel(VirtualClock(), broker)
            await channel.send(an_alert())
            async for message in client.messages:
                assert message.properties.ContentType == "application/cloudevents+json"
                assert message.properties.UserProperty == [("webhook-id", an_alert().id)]
                assert message.properties.MessageExpiryInterval == 3600
                break
            await channel.close()

    with running([program, "-c", str(conf)], port):
        asyncio.run(conversation())


@in_loop
async def test_a_broker_that_is_down_is_tried_again() -> None:
    channel = MqttChannel(VirtualClock(), MqttBroker("127.0.0.1", a_free_port()), timeout_s=1)
    for _ in range(2):
        with pytest.raises(DeliveryFailed) as caught:
            await channel.send(an_alert())
        assert not caught.value.is_permanent
    await channel.close()


def test_a_broker_that_comes_back_is_reached_again(tmp_path: Path) -> None:
    port, mqtt_port = free_ports(2)

    async def scenario() -> None:
        channel = MqttChannel(
            VirtualClock(), MqttBroker("127.0.0.1", mqtt_port, version="3.1.1"), timeout_s=1
        )
        for n in range(2):
            with a_nats_server(tmp_path, port, mqtt_port):
                for _ in range(10):
                    try:
                        await channel.send(an_alert(onset_s=10.0 + n))
                        break
                    except DeliveryFailed:
                        await asyncio.sleep(0.1)
                else:
                    pytest.fail("the broker is back and was not reached")
        with pytest.raises(DeliveryFailed):
            await channel.send(an_alert())
        await channel.close()

    asyncio.run(scenario())
