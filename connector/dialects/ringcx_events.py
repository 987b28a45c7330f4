"""The messages of RingCX's gRPC streaming (package ringcentral.ringcx.streaming.v1beta2), made from this table.

Names and numbers are those that RingCentral publishes; nothing is generated into a file, and protobuf is imported only
where such a stream is opened.
"""

from __future__ import annotations

from functools import cache
from typing import Any

PACKAGE = "ringcentral.ringcx.streaming.v1beta2"
METHOD = f"/{PACKAGE}.Streaming/Stream"
"""Streams StreamEvent, answers google.protobuf.Empty."""

ENUMS = {
    "Codec": ("CODEC_UNSPECIFIED", "OPUS", "PCMA", "PCMU", "L16", "FLAC"),
    "ProductType": ("PRODUCT_TYPE_UNSPECIFIED", "QUEUE", "CAMPAIGN", "IVR"),
    "DialogType": ("DIALOG_TYPE_UNSPECIFIED", "INBOUND", "OUTBOUND"),
    "ParticipantType": ("PARTICIPANT_TYPE_UNSPECIFIED", "CONTACT", "AGENT"),
}
MESSAGES = {
    "Account": ("id string", "sub_account_id string", "rc_account_id string"),
    "Product": ("id string", "type ProductType"),
    "Dialog": ("id string", "type DialogType", "ani string?", "dnis string?", "language string?", "attributes map"),
    "Participant": ("id string", "type ParticipantType", "name string?"),
    "AudioFormat": ("codec Codec", "rate uint32", "ptime uint32"),
    "AudioContent": ("payload bytes", "seq uint32", "duration uint32"),
    "DialogInitEvent": ("account Account", "dialog Dialog"),
    "SegmentStartEvent": (
        "segment_id string",
        "product Product?",
        "participant Participant",
        "audio_format AudioFormat?",
    ),
    "SegmentMediaEvent": ("segment_id string", "audio_content AudioContent"),
    "SegmentInfoEvent": ("segment_id string", "event string", "data string?"),
    "SegmentStopEvent": ("segment_id string",),
    "StreamEvent": (
        "session_id string",
        "dialog_init DialogInitEvent|",
        "segment_start SegmentStartEvent|",
        "segment_media SegmentMediaEvent|",
        "segment_info SegmentInfoEvent|",
        "segment_stop SegmentStopEvent|",
    ),
}
"""Fields by name and type, numbered from 1; `?` is optional, `|` one of the event, map has texts by text."""


class ProtobufMissing(ValueError):
    """protobuf is not installed; the message says what to do."""


@cache
def stream_event() -> Any:
    """The class of StreamEvent.

    Raises:
        ProtobufMissing: It cannot be made.
    """
    try:
        from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
    except ImportError:
        raise ProtobufMissing("ringcx-grpc needs gRPC: pip install asterisk-connector[grpc]") from None
    file = descriptor_pb2.FileDescriptorProto(name="ringcx_streaming.proto", package=PACKAGE, syntax="proto3")
    for name, values in ENUMS.items():
        enum = file.enum_type.add(name=name)
        for number, value in enumerate(values):
            enum.value.add(name=value, number=number)
    file.enum_type[-1].value.add(name="BOT", number=5)
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        optional = []
        for number, line in enumerate(fields, start=1):
            field_name, _, kind = line.partition(" ")
            field = message.field.add(name=field_name, number=number, label=1)
            _give_type(descriptor_pb2, message, field, name, kind.rstrip("?|"))
            if kind.endswith("|"):
                if not message.oneof_decl:
                    message.oneof_decl.add(name="event")
                field.oneof_index = 0
            elif kind.endswith("?"):
                field.proto3_optional = True
                optional.append(field)
        for field in optional:  # each in a oneof of its own, behind the real ones
            field.oneof_index = len(message.oneof_decl)
            message.oneof_decl.add(name=f"_{field.name}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.StreamEvent"))


def _give_type(pb: Any, message: Any, field: Any, owner: str, kind: str) -> None:
    types = pb.FieldDescriptorProto
    plain = {"string": types.TYPE_STRING, "bytes": types.TYPE_BYTES, "uint32": types.TYPE_UINT32}
    if kind in plain:
        field.type = plain[kind]
    elif kind in ENUMS:
        field.type, field.type_name = types.TYPE_ENUM, f".{PACKAGE}.{kind}"
    elif kind == "map":
        entry = message.nested_type.add(name="AttributesEntry")
        entry.options.map_entry = True
        for number, name in enumerate(("key", "value"), start=1):
            entry.field.add(name=name, number=number, label=1, type=types.TYPE_STRING)
        field.label, field.type = types.LABEL_REPEATED, types.TYPE_MESSAGE
        field.type_name = f".{PACKAGE}.{owner}.AttributesEntry"
    else:
        field.type, field.type_name = types.TYPE_MESSAGE, f".{PACKAGE}.{kind}"
