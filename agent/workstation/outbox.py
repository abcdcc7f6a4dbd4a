"""What waits for a broker: of each retained topic the newest, of events the newest hundred.

At most one message of a topic is on its way, so that what was sent again after a broken connection
never overtakes what is newer.
"""

from __future__ import annotations

from collections import deque

MOST_EVENTS = 100

_NO_NUMBER = -1


class Topic:
    """A topic's messages.

    Args:
        name: the whole topic.
        retain: whether the broker keeps the newest for those that come later.
    """

    def __init__(self, name: str, *, retain: bool) -> None:
        """Nothing waits."""
        self.name, self.retain = name, retain
        self.waiting: deque[str] = deque(maxlen=1 if retain else MOST_EVENTS)
        self.on_its_way: int | None = None
        self.newest: str | None = None

    def put(self, payload: str) -> None:
        """Let a message wait; an older one of a retained topic is dropped."""
        self.waiting.append(payload)
        self.newest = payload

    def go(self) -> str:
        """Take the next message, which is on its way from now on; its number is told later."""
        self.on_its_way = _NO_NUMBER
        return self.waiting.popleft()


class Outbox:
    """The topics of one board. Not locked: its owner does that."""

    def __init__(self, *topics: Topic) -> None:
        """Take the topics, in the order in which they are told."""
        self._topics = topics
        self._receipts: set[int] = set()

    def received(self, number: int) -> None:
        """The broker has a message."""
        self._receipts.add(number)

    def say_again(self) -> None:
        """Let everything retained wait once more: the broker may have forgotten it."""
        for topic in self._topics:
            if topic.retain and topic.newest is not None and not topic.waiting:
                topic.waiting.append(topic.newest)

    def ready(self) -> list[Topic]:
        """The topics whose next message may go."""
        for topic in self._topics:
            if topic.on_its_way in self._receipts:
                self._receipts.discard(topic.on_its_way)
                topic.on_its_way = None
        return [topic for topic in self._topics if topic.waiting and topic.on_its_way is None]

    def empty(self) -> bool:
        """Whether the broker has all there is."""
        return not self.ready() and all(topic.on_its_way is None for topic in self._topics)
