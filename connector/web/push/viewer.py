"""The other end of the live connection: keeps a copy of the items from the messages; pure."""

from __future__ import annotations

import msgspec

from connector.web.happenings import AnyHappening
from connector.web.push.messages import Delta, Fault, Heartbeat, Item, Resume, Snapshot, ToViewer

decoder: msgspec.json.Decoder[ToViewer] = msgspec.json.Decoder(ToViewer)


class Lost(Exception):
    """Messages are missing, or the connector refused: connect anew, with `Copy.resume` where it is not None."""


class Copy:
    """What a viewer knows.

    Attributes:
        items: By kind and id.
        at: Time of the last message, by the connector's clock; 0 before the first.
        events: What was told since `take_events`.
    """

    def __init__(self) -> None:
        self.items: dict[tuple[str, str], Item] = {}
        self.at = 0.0
        self._events: list[AnyHappening] = []
        self._epoch = ""
        self._sequence = 0

    @property
    def resume(self) -> Resume | None:
        """Where to go on; None before the first snapshot."""
        return Resume(epoch=self._epoch, sequence=self._sequence) if self._epoch else None

    def take_events(self) -> list[AnyHappening]:
        """What happened since the last call."""
        events, self._events = self._events, []
        return events

    def feed(self, message: bytes | str) -> ToViewer:
        """Takes a message.

        Raises:
            Lost: It does not follow the last one.
            msgspec.ValidationError: It is none of the connector's.
        """
        read = decoder.decode(message)
        match read:
            case Snapshot():
                self.items = {(str(item.__struct_config__.tag), item.id): item for item in read.items}
            case Delta():
                if read.epoch != self._epoch or read.after > self._sequence:
                    raise Lost(f"a message after {read.after} came, the last one was {self._sequence}")
                for item in read.changed:
                    self.items[str(item.__struct_config__.tag), item.id] = item
                for gone in read.removed:
                    self.items.pop((gone.kind, gone.id), None)
                self._events += read.events
            case Heartbeat():
                if read.epoch != self._epoch or read.sequence > self._sequence:
                    raise Lost(f"the connector is at {read.sequence}, the last message was {self._sequence}")
            case Fault():
                raise Lost(f"{read.detail} {read.remedy}")
        if not isinstance(read, Fault):
            self._epoch = read.epoch
            self._sequence = max(read.sequence, 0 if isinstance(read, Snapshot) else self._sequence)
            self.at = read.at
        return read
