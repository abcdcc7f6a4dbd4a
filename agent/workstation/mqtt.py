"""A board's figures in an MQTT broker: what `monitor --mqtt` publishes.

    TOPIC/status   online or offline; retained, and the last will
    TOPIC/state    the newest look, as `monitor --json` prints it; retained
    TOPIC/event    what the board told, or that its line is lost

MQTT 3.1.1, QoS 1. The client's name stays over reconnects, so that the broker ends the old
connection, and publishes its will, before the new one says `online`.
"""

from __future__ import annotations

import contextlib
import secrets
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from agent.errors import InputError, LinkError
from agent.link.watching import Snapshot
from agent.strict_json import strict_json
from agent.workstation.broker_address import (
    PASSWORD_VARIABLE,
    USER_VARIABLE,
    BrokerAddress,
)
from agent.workstation.outbox import Outbox, Topic

if TYPE_CHECKING:
    from paho.mqtt.client import Client

ONLINE, OFFLINE = "online", "offline"

_QOS = 1
_KEEP_ALIVE_S = 30
_LONGEST_PAUSE_S = 30
_ANSWER_S = 10.0
_LAST_WORDS_S = 5.0


class MqttPublisher:
    """Tells a broker what is seen, and finds it again when it was away.

    Args:
        address: the broker, and the board's topic.
        tell: takes the event `broker`, when it is lost and when it is back; called by `take` and
            `lost`.

    Raises:
        InputError: paho-mqtt is not installed.
        LinkError: the broker cannot be reached, or refuses.
    """

    def __init__(self, address: BrokerAddress, tell: Callable[[Mapping[str, Any]], None]) -> None:
        """Connect, and wait until the broker has agreed."""
        self._address, self._tell = address, tell
        self._status = Topic(f"{address.topic}/status", retain=True)
        self._state = Topic(f"{address.topic}/state", retain=True)
        self._events = Topic(f"{address.topic}/event", retain=False)
        self._outbox = Outbox(self._state, self._events, self._status)
        self._changed = threading.Condition()
        self._connected, self._ended, self._told = False, False, True
        self._refusal: str | None = None
        self._client = _client(address, self._status.name)
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_publish = self._on_publish
        self._sender = threading.Thread(target=self._send, name="mqtt", daemon=True)
        self._connect()
        self._sender.start()

    def take(self, snapshot: Snapshot) -> None:
        """See `Sink.take`."""
        self._tell_of_broker()
        with self._changed:
            self._state.put(strict_json(snapshot.document()))
            if self._status.newest != ONLINE:
                self._status.put(ONLINE)
            self._changed.notify_all()

    def event(self, event: Mapping[str, Any]) -> None:
        """See `Sink.event`."""
        with self._changed:
            self._events.put(strict_json({"time_s": time.time(), "event": dict(event)}))
            self._changed.notify_all()

    def lost(self, sentence: str) -> None:
        """See `Sink.lost`: the board is offline, which is told once."""
        self._tell_of_broker()
        with self._changed:
            if self._status.newest != OFFLINE:
                self._status.put(OFFLINE)
                self._events.put(strict_json({"time_s": time.time(), "lost": sentence}))
            self._changed.notify_all()

    def close(self) -> None:
        """Say that nobody watches the board any more, and hang up."""
        with self._changed:
            self._status.put(OFFLINE)
            self._changed.notify_all()
            self._changed.wait_for(
                lambda: not self._connected or self._outbox.empty(), timeout=_LAST_WORDS_S
            )
            self._ended = True
            self._changed.notify_all()
        self._sender.join()
        self._client.disconnect()
        self._client.loop_stop()

    def _connect(self) -> None:
        try:
            self._client.connect(self._address.host, self._address.port, _KEEP_ALIVE_S)
        except (OSError, ValueError) as error:
            raise LinkError(
                f"the broker at {self._address} cannot be reached: {_reason(error)}"
            ) from error
        self._client.loop_start()
        with self._changed:
            self._changed.wait_for(lambda: self._connected or self._refusal, timeout=_ANSWER_S)
            agreed, refusal = self._connected, self._refusal
        if agreed:
            return
        self._client.disconnect()
        self._client.loop_stop()
        if refusal is None:
            raise LinkError(f"what is at {self._address} does not answer as an MQTT broker does")
        raise LinkError(
            f"the broker at {self._address} refuses: {refusal}; user name and password stand in "
            f"the URL or in {USER_VARIABLE} and {PASSWORD_VARIABLE}"
        )

    def _tell_of_broker(self) -> None:
        """Say once that the broker is away, and once that it is back."""
        with self._changed:
            connected, told = self._connected, self._told
            self._told = connected
        if connected != told:
            state = "back" if connected else "lost"
            self._tell({"event": "broker", "state": state, "address": str(self._address)})

    def _send(self) -> None:
        """Publish what waits, until the end: a thread, and the only one that publishes."""
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: self._ended or (self._connected and bool(self._outbox.ready()))
                )
                if self._ended:
                    return
                going = [(topic, topic.go()) for topic in self._outbox.ready()]
            for topic, payload in going:
                # Not inside the lock: the client calls back with locks of its own.
                info = self._client.publish(topic.name, payload, qos=_QOS, retain=topic.retain)
                with self._changed:
                    topic.on_its_way = info.mid
                    self._changed.notify_all()

    def _on_connect(self, _client: object, _data: object, _flags: object, *said: Any) -> None:
        with self._changed:
            self._connected = not said[0].is_failure
            self._refusal = str(said[0]) if said[0].is_failure else None
            if self._connected:
                self._outbox.say_again()
            self._changed.notify_all()

    def _on_disconnect(self, *_said: object) -> None:
        with self._changed:
            self._connected = False
            self._changed.notify_all()

    def _on_publish(self, _client: object, _data: object, number: int, *_said: object) -> None:
        with self._changed:
            self._outbox.received(number)
            self._changed.notify_all()


def _client(address: BrokerAddress, will_topic: str) -> Client:
    try:
        from paho.mqtt.client import Client, MQTTv311  # noqa: PLC0415  # an extra
        from paho.mqtt.enums import CallbackAPIVersion  # noqa: PLC0415  # the same
    except ImportError as error:
        raise InputError(
            "telling an MQTT broker needs paho-mqtt: python -m pip install 'npp-agent[monitor]'"
        ) from error
    name = f"npp-agent-{secrets.token_hex(6)}"
    client = Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=MQTTv311)
    client.reconnect_delay_set(1, _LONGEST_PAUSE_S)
    client.will_set(will_topic, OFFLINE, qos=_QOS, retain=True)
    if address.user is not None:
        client.username_pw_set(address.user, address.password)
    if address.tls:
        client.tls_set_context(ssl.create_default_context())
    return client


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"its certificate is not trusted ({error.verify_message}); SSL_CERT_FILE names the "
            "certificates of an authority of your own"
        )
    if isinstance(error, ssl.SSLError):
        return f"it does not speak TLS as expected ({error.reason or error})"
    with contextlib.suppress(AttributeError):
        return str(error.strerror or error)  # type: ignore[attr-defined]  # OSError has it
    return str(error)
