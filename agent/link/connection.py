"""One client's connection: bytes in, bytes out. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agent.errors import AgentError
from agent.link import frames
from agent.link.authentication import is_code_of, new_nonce
from agent.link.cbor import CborError
from agent.link.codes import Code, Group, Npp, Op
from agent.link.commands import Commands
from agent.link.fields import Fields
from agent.link.messages import Header, Message, MessageError, decode, encode
from agent.link.refusal import Refusal
from agent.link.session import Session
from calib.errors import CalibError
from device_models.errors import DeviceModelError

LONGEST_ANSWER_BYTES = 8192
REPEATED_WITHIN_S = 10.0
"""A client that missed an answer sends the same bytes again, and gets the same answer."""


class Connection:
    """Answers one client.

    Args:
        groups: what there is to answer, by number of the group.
        session: what is known of the client.
    """

    def __init__(self, groups: Mapping[int, Commands], session: Session) -> None:
        """Begin with nothing received."""
        self.session = session
        self._groups = groups
        self._reader = frames.FrameReader()
        self._repeated: tuple[bytes, bytes, float] | None = None

    @property
    def quality(self) -> frames.Quality:
        """What came over the wire so far."""
        return self._reader.quality

    def receive(self, data: bytes) -> bytes:
        """Take bytes as they come; returns what goes back."""
        answers = (self.answer(message) for message in self._reader.feed(data))
        return b"".join(frames.encode(answer) for answer in answers if answer is not None)

    def due(self) -> bytes:
        """Events that the client asked for and has not been sent."""
        if not self.session.subscribed:
            self.session.events.clear()
        out = b""
        while self.session.events:
            event = self.session.events.popleft()
            header = Header(Op.READ_RESPONSE, Group.NPP, Npp.EVENT, 0)
            out += frames.encode(encode(Message(header, event)))
        return out

    def answer(self, data: bytes) -> bytes | None:
        """The answer to a message; None where none is due."""
        try:
            request = decode(data)
        except MessageError as error:
            if error.header is None or not error.header.op.is_request:
                return None
            code = Code.VERSION_TOO_NEW if error.too_new else Code.INVALID
            return self._refused(error.header, Refusal(str(error), code))
        if not request.header.op.is_request:
            return None
        now = self.session.clock()
        if self._repeated is not None:
            before, answer, when = self._repeated
            if before == data and now - when < REPEATED_WITHIN_S:
                return answer
        self._repeated = None
        answer = self._answered(request)
        if request.header.op is Op.WRITE:
            self._repeated = (data, answer, now)
        return answer

    def _answered(self, request: Message) -> bytes:
        head = request.header
        try:
            if head.group == Group.NPP and head.command == Npp.CHALLENGE:
                body = self._challenge(Fields(request.body))
            elif head.group == Group.NPP and head.command == Npp.SIGNED:
                body = self._signed(Fields(request.body))
            else:
                body = self._handled(request)
            return self._encoded(head, body)
        except Refusal as refusal:
            return self._refused(head, refusal)
        except (AgentError, CalibError, DeviceModelError) as error:
            code = getattr(error, "exit_code", 1)
            return self._refused(head, Refusal(str(error), Code.BAD_STATE, exit_code=code))
        except Exception as error:  # noqa: BLE001  # the line outlives whatever a command does
            text = f"unexpected {type(error).__name__}: {error}; npp-agent has a defect: report it"
            return self._refused(head, Refusal(text, Code.UNKNOWN))

    def _handled(self, request: Message) -> Mapping[str, Any]:
        head = request.header
        handler = self._groups.get(head.group, {}).get((head.command, head.op))
        if handler is None:
            raise Refusal(
                f"group {head.group} has no command {head.command} to {head.op.name.lower()}",
                Code.NOT_SUPPORTED,
            )
        return handler(Fields(request.body), self.session)

    def _challenge(self, fields: Fields) -> Mapping[str, Any]:
        fields.end()
        self.session.nonce = new_nonce()
        return {"nonce": self.session.nonce, "must_sign": self.session.must_sign}

    def _signed(self, fields: Fields) -> Mapping[str, Any]:
        """Answer the command inside, if its code is right; the nonce is used up either way."""
        message, code = fields.data("message"), fields.data("code")
        fields.end()
        key, nonce = self.session.access.key, self.session.nonce
        self.session.nonce = None
        if key is None:
            raise Refusal("this agent has no key: it was started without --key", Code.ACCESS_DENIED)
        if nonce is None or not is_code_of(key, nonce, message, code):
            raise Refusal(
                "the command is not signed with this board's key and a fresh nonce: name the "
                "right key with --key",
                Code.ACCESS_DENIED,
            )
        try:
            inside = decode(message)
        except MessageError as error:
            raise Refusal(f"the signed command is none: {error}") from error
        self.session.signed = True
        try:
            answer = self._answered_inside(inside)
        finally:
            self.session.signed = False
        self.session.nonce = new_nonce()
        return {"message": answer, "nonce": self.session.nonce}

    def _answered_inside(self, inside: Message) -> bytes:
        head = inside.header
        if head.group == Group.NPP and head.command in {Npp.CHALLENGE, Npp.SIGNED}:
            raise Refusal("this command is not sent inside a signed one")
        if not head.op.is_request:
            raise Refusal("an answer cannot be signed as a command")
        return self._answered(inside)

    def _encoded(self, head: Header, body: Mapping[str, Any]) -> bytes:
        answer = Header(head.op.response, head.group, head.command, head.sequence, head.version)
        try:
            data = encode(Message(answer, body))
        except CborError as error:
            raise Refusal(f"the answer cannot be sent: {error}", Code.UNKNOWN) from error
        if len(data) > LONGEST_ANSWER_BYTES:
            raise Refusal(f"the answer has {len(data)} bytes, too many", Code.TOO_LARGE)
        return data

    def _refused(self, head: Header, refusal: Refusal) -> bytes:
        self.session.refused = refusal
        return self._encoded(head, refusal.body(head.group, head.version))
