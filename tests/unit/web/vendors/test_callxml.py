"""The XML by which vendors have calls controlled."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from connector.dialects.commands import HangUp, Transfer
from connector.web.vendors.callxml import BadXml, NotServed, Redirect, read, target_of


@pytest.mark.parametrize(
    ("inside", "command"),
    [
        ("<Hangup/>", HangUp()),
        ('<Reject reason="busy"/>', HangUp("busy")),
        ("", HangUp("end of document")),
        ("<Dial>+49 (30) 123-45</Dial>", Transfer("extension:+493012345@outbound")),
        ("<Dial><Number>200</Number></Dial>", Transfer("extension:200@outbound")),
        ("<Dial><Queue>support</Queue></Dial>", Transfer("queue:support")),
        ("<Dial>queue:sales</Dial>", Transfer("queue:sales")),
        ("<Enqueue>support</Enqueue>", Transfer("queue:support")),
        (
            "<Dial><Sip>sip:anna@example.com;transport=tls?X-Ticket=7&amp;Other=1</Sip></Dial>",
            Transfer("sip:anna@example.com", headers={"X-Ticket": "7"}),
        ),
        ("<Dial><User>sip:anna@example.com</User></Dial>", Transfer("sip:anna@example.com")),
        ('<Redirect method="get">https://bot.example/next</Redirect>', Redirect("https://bot.example/next", "GET")),
        ("<!-- after all --><Hangup/><Say>never</Say>", HangUp()),
    ],
)
def test_the_first_verb_decides(inside: str, command: object) -> None:
    document = f'<?xml version="1.0" encoding="UTF-8"?>\n<Response>{inside}</Response>'
    assert read(document, context="outbound") == command


@pytest.mark.parametrize(
    ("xml", "words"),
    [
        ("<Response><Hangup>", "no element found|mismatched"),
        ("<Other/>", "root is <Other>"),
        ('<!DOCTYPE x [<!ENTITY a "b">]><Response>&a;</Response>', "document type"),
        ("<Response><Dial> </Dial></Response>", "says nothing"),
        ("<Response>" + " " * 20_000 + "</Response>", "longer"),
    ],
)
def test_what_cannot_be_read_is_told(xml: str, words: str) -> None:
    with pytest.raises(BadXml, match=words):
        read(xml)


@pytest.mark.parametrize(
    "inside",
    ["<Say>hello</Say><Hangup/>", "<Dial><Conference>x</Conference></Dial>", "<Dial><Number/><Number/></Dial>"],
)
def test_what_is_not_done_here_is_told(inside: str) -> None:
    with pytest.raises(NotServed, match="<"):
        read(f"<Response>{inside}</Response>")


def test_a_number_without_a_context_is_of_the_calls_own() -> None:
    assert target_of("200") == "extension:200"


@given(st.text(max_size=200))
def test_no_text_raises_anything_else(text: str) -> None:
    for xml in (text, f"<Response>{text}</Response>", f"<Response><Dial>{text}</Dial></Response>"):
        try:
            read(xml)
        except (BadXml, NotServed):
            pass
