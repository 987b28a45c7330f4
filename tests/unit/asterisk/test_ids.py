from uuid import UUID

import pytest
from hypothesis import given, strategies as st

from connector.asterisk.ids import Kind, ObjectId, check_name, make_id, parse_id

NAMES = st.from_regex(r"[A-Za-z0-9_.]{1,32}", fullmatch=True)


@given(app=NAMES, node=NAMES, kind=st.sampled_from(Kind), uuid=st.uuids())
def test_an_id_is_read_back_as_it_was_made(app: str, node: str, kind: Kind, uuid: UUID) -> None:
    text = make_id(app, node, kind, uuid)
    assert parse_id(text) == ObjectId(app, node, kind, uuid)
    assert len(text) < 149  # AST_MAX_PUBLIC_UNIQUEID


@pytest.mark.parametrize("name", ["", "a-b", "a,b", "a b", "a/b", "ä", "x" * 33, "a\n"])
def test_names_that_would_make_an_id_ambiguous_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="use 1 to 32"):
        check_name("app", name)
    with pytest.raises(ValueError, match="app is"):
        make_id(name, "n1", Kind.BRIDGE, UUID(int=1))
    with pytest.raises(ValueError, match="node is"):
        make_id("connector", name, Kind.BRIDGE, UUID(int=1))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1795219425.12",
        "PJSIP/alice-00000001",
        "connector-n1-em",
        "connector-n1-em-123",
        f"connector-n1-other-{UUID(int=1).hex}",
        f"connector-n1-em-{UUID(int=1)}",
        f"connector-n1-em-{UUID(int=1).hex}-x",
        f"con/nector-n1-em-{UUID(int=1).hex}",
    ],
)
def test_what_others_created_is_not_ours(text: str) -> None:
    assert parse_id(text) is None
