"""The other end: asks a board, repeats what is lost, and says what the board says.

Ours, and not smpclient's: that one gives up at the first lost frame, takes an event for an error,
looks for answers every 5 ms, and loads a radio library to do so.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from agent.errors import LinkLostError, RemoteError
from agent.link import frames
from agent.link.authentication import code_of
from agent.link.cbor import encode_map
from agent.link.codes import Code, Group, Npp, Op
from agent.link.lines import Line
from agent.link.messages import Header, Message, MessageError, decode, encode

LONGEST_ANSWER_BYTES = 65_000
TRIES = 8
_MARGIN_S = 0.25
"""What a board may take to answer, besides the time on the wire; more with each try."""

_LONGEST_MARGIN_S = 2.0
_ANSWER_BYTES = 2800
"""What an answer may have on the wire, where nothing better is known."""

Event = Mapping[str, Any]


@dataclass(frozen=True)
class Ask:
    """A request."""

    op: Op
    group: int
    command: int
    body: Mapping[str, Any]
    guarded: bool = False
    """Whether a board wants it signed."""

    answer_bytes: int = _ANSWER_BYTES
    """What is expected back, on the wire."""


@dataclass
class Counts:
    """How the line does."""

    answers: int = 0
    repeats: int = 0
    """Requests that had to be sent again."""

    last_s: float = 0.0
    """The last round trip."""


class Client:
    """A connection to a board; every call waits for its answer.

    Args:
        line: an open line.
        bytes_per_s: of the line, where that is known to be slow; decides how long to wait.
        key: the board's, to sign with.
        on_event: takes events that arrive in between.
    """

    def __init__(
        self,
        line: Line,
        bytes_per_s: float = 11_520.0,
        key: bytes | None = None,
        on_event: Callable[[Event], None] = lambda _event: None,
    ) -> None:
        """Begin with a sequence number that the board has not just seen."""
        self.line, self.counts = line, Counts()
        self._reader = frames.FrameReader(LONGEST_ANSWER_BYTES)
        self._bytes_per_s, self._key, self._on_event = bytes_per_s, key, on_event
        self._sequence = secrets.randbelow(256)
        self._nonce: bytes | None = None
        self._must_sign: bool | None = None

    @property
    def quality(self) -> frames.Quality:
        """What came over the wire."""
        return self._reader.quality

    def ask(self, ask: Ask, tries: int = TRIES) -> Mapping[str, Any]:
        """The answer's map.

        Args:
            ask: what.
            tries: how often to send it before giving up.

        Raises:
            RemoteError: the board refuses, with its own sentence.
            LinkLostError: nobody answers, or the line is gone.
        """
        if ask.guarded and self._key is not None and self._signs(tries):
            return self._asked_signed(ask, tries)
        message = self._message(ask)
        return self._checked(self._exchanged(message, ask.answer_bytes, tries), tries)

    def events(self, timeout_s: float) -> None:
        """Let events come in for so long.

        Raises:
            LinkLostError: the line is gone.
        """
        end = time.monotonic() + timeout_s
        while (left := end - time.monotonic()) > 0:
            for message in self._received(left):
                self._take_event(message)

    def _signs(self, tries: int) -> bool:
        if self._must_sign is None:
            self._challenge(tries)
        return bool(self._must_sign)

    def _challenge(self, tries: int) -> None:
        answer = self.ask(Ask(Op.READ, Group.NPP, Npp.CHALLENGE, {}, answer_bytes=128), tries)
        nonce, must_sign = answer.get("nonce"), answer.get("must_sign")
        if not isinstance(nonce, bytes) or not isinstance(must_sign, bool):
            raise RemoteError("the board's challenge is none; its npp-agent is of another version")
        self._nonce, self._must_sign = nonce, must_sign

    def _asked_signed(self, ask: Ask, tries: int) -> Mapping[str, Any]:
        """Sign and send; with a new nonce where the board forgot the old one."""
        fresh = self._nonce is None
        for _ in range(2):
            if self._nonce is None:
                self._challenge(tries)
            answer = self._sent_signed(ask, tries)
            if answer.body.get("rc") != Code.ACCESS_DENIED or fresh:
                break
            fresh, self._nonce = True, None
        outer = self._checked(answer, tries)
        nonce, inside = outer.get("nonce"), outer.get("message")
        self._nonce = nonce if isinstance(nonce, bytes) else None
        try:
            return self._checked(decode(inside if isinstance(inside, bytes) else b""), tries)
        except MessageError as error:
            raise RemoteError(f"the board's signed answer is none: {error}") from error

    def _sent_signed(self, ask: Ask, tries: int) -> Message:
        assert self._key is not None
        assert self._nonce is not None
        message = encode(self._message(ask))
        code = code_of(self._key, self._nonce, message)
        self._nonce = None
        body = {"message": message, "code": code}
        signed = Ask(Op.WRITE, Group.NPP, Npp.SIGNED, body)
        return self._exchanged(self._message(signed), ask.answer_bytes + 128, tries)

    def _message(self, ask: Ask) -> Message:
        self._sequence = (self._sequence + 1) % 256
        return Message(Header(ask.op, ask.group, ask.command, self._sequence), ask.body)

    def _exchanged(self, request: Message, answer_bytes: int, tries: int) -> Message:
        """Send until the answer comes; a board answers the same bytes with the same answer."""
        data = frames.encode(encode(request))
        wire_s = (len(data) + answer_bytes) / self._bytes_per_s
        margin_s = _MARGIN_S
        for number in range(tries):
            self.counts.repeats += number > 0
            began = time.monotonic()
            self.line.write(data)
            answer = self._awaited(request.header, began + wire_s + margin_s)
            if answer is not None:
                self.counts.answers += 1
                self.counts.last_s = time.monotonic() - began
                return answer
            margin_s = min(2 * margin_s, _LONGEST_MARGIN_S)
        raise LinkLostError(
            f"nobody answered {tries} times: look at the cable, and that npp-agent runs there"
        )

    def _awaited(self, wanted: Header, until: float) -> Message | None:
        answer = None
        while answer is None and (left := until - time.monotonic()) > 0:
            for message in self._received(left):
                head = message.header
                if (
                    head.sequence == wanted.sequence
                    and head.op is wanted.op.response
                    and (head.group, head.command) == (wanted.group, wanted.command)
                ):
                    answer = message
                else:
                    self._take_event(message)
        return answer

    def _received(self, timeout_s: float) -> list[Message]:
        found = []
        for data in self._reader.feed(self.line.read(timeout_s)):
            try:
                found.append(decode(data))
            except MessageError:
                self._reader.quality.broken += 1
        return found

    def _take_event(self, message: Message) -> None:
        head = message.header
        if (head.group, head.command, head.op) == (Group.NPP, Npp.EVENT, Op.READ_RESPONSE):
            self._on_event(message.body)

    def _checked(self, answer: Message, tries: int) -> Mapping[str, Any]:
        """The map of an answer that is no refusal."""
        body = answer.body
        if not ("err" in body or body.get("rc")):
            return body
        code = body.get("rc") or body.get("err")
        head = answer.header
        if head.group == Group.NPP and head.command == Npp.REASON:
            raise RemoteError(f"the board refuses, with code {code}")
        raise self._refused(code, tries)

    def _refused(self, code: object, tries: int) -> RemoteError:
        """What the board says about its refusal."""
        message = self._message(Ask(Op.READ, Group.NPP, Npp.REASON, {}))
        said = self._exchanged(message, _ANSWER_BYTES, tries).body
        text, exit_code = said.get("text"), said.get("exit_code")
        if isinstance(text, str) and isinstance(exit_code, int):
            return RemoteError(f"the board says: {text}", exit_code or 1, explained=True)
        return RemoteError(f"the board refuses, with code {code}")


def room_for(body: Mapping[str, Any], largest: int) -> int:
    """How many bytes of `data` fit beside the rest of a request's map."""
    return largest - len(encode_map({**body, "data": b""})) - 2
