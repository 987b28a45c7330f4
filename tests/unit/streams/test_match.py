"""Which profile a call gets."""

from __future__ import annotations

from typing import Any

from hypothesis import given, strategies as st

from connector.config_profiles import MatchSettings, Mode, ProfileSettings
from connector.streams.match import CallFacts, chosen, find_profile, fits, wanted_headers
from connector.streams.parameters import bounded, split_arguments

VOICEBOT = frozenset({Mode.VOICEBOT})
words = st.sampled_from(["", "support", "sales", "+4930", "+49301", "x"])


def profile(match: dict[str, Any] | None = None, **settings: Any) -> ProfileSettings:
    return ProfileSettings.model_validate({"url": "wss://bot.example.com/", "match": match or {}, **settings})


def facts(**known: Any) -> CallFacts:
    return CallFacts(**{"pbx": "main", "call_id": "main:1.1", **known})


FACTS = st.builds(
    CallFacts,
    pbx=st.sampled_from(["main", "branch"]),
    call_id=st.text(max_size=20),
    queue=words,
    did=words,
    campaign=words,
    trunk=words,
    direction=st.sampled_from(["inbound", "outbound"]),
    headers=st.dictionaries(st.sampled_from(["x-a", "x-b"]), words),
)
MATCHES = st.builds(
    MatchSettings,
    pbxs=st.lists(st.sampled_from(["main", "branch"]), max_size=2).map(tuple),
    queues=st.lists(words, max_size=2).map(tuple),
    dids=st.lists(st.sampled_from(["+4930", "+49*", "*"]), max_size=2).map(tuple),
    campaigns=st.lists(words, max_size=2).map(tuple),
    directions=st.lists(st.sampled_from(["inbound", "outbound"]), max_size=1).map(tuple),
    headers=st.dictionaries(st.sampled_from(["X-A", "x-b"]), st.sampled_from(["x", "s*"])),
    percent=st.sampled_from([0, 30, 100]),
)
PROFILES = st.dictionaries(
    st.sampled_from(["a", "b", "c", "d"]),
    st.builds(
        lambda match, priority, enabled: ProfileSettings(
            url="wss://h/", match=match, priority=priority, enabled=enabled
        ),
        MATCHES,
        st.integers(-2, 2),
        st.booleans(),
    ),
)


@given(PROFILES, FACTS)
def test_of_those_that_fit_the_first_by_priority_and_name(
    profiles: dict[str, ProfileSettings], known: CallFacts
) -> None:
    found = find_profile(profiles, known, VOICEBOT)
    fitting = {name for name in profiles if fits(name, profiles[name], known)}
    if found is None:
        assert not fitting
    else:
        assert found in fitting
        best = min((-profiles[name].priority, name) for name in fitting)
        assert (-profiles[found].priority, found) == best


@given(PROFILES, FACTS)
def test_the_order_in_which_profiles_came_to_be_does_not_matter(
    profiles: dict[str, ProfileSettings], known: CallFacts
) -> None:
    assert find_profile(dict(reversed(profiles.items())), known, VOICEBOT) == find_profile(profiles, known, VOICEBOT)


@given(MATCHES, FACTS)
def test_one_more_condition_never_lets_more_calls_in(match: MatchSettings, known: CallFacts) -> None:
    stricter = match.model_copy(update={"queues": (*match.queues, "support") if match.queues else ("support",)})
    if not match.queues and fits("p", ProfileSettings(url="wss://h/", match=stricter), known):
        assert fits("p", ProfileSettings(url="wss://h/", match=match), known)


@given(st.text(max_size=30), st.floats(0, 100), st.floats(0, 100))
def test_a_larger_share_holds_the_calls_of_the_smaller(call_id: str, one: float, other: float) -> None:
    small, large = sorted((one, other))
    assert not chosen("p", call_id, small) or chosen("p", call_id, large)
    assert not chosen("p", call_id, 0)
    assert chosen("p", call_id, 100)


def test_a_share_is_about_as_large_as_it_says_and_each_profile_has_its_own() -> None:
    calls = [f"main:{number}.{number}" for number in range(10_000)]
    assert 1_850 < sum(chosen("p", call, 20) for call in calls) < 2_150
    assert [chosen("p", call, 50) for call in calls] != [chosen("q", call, 50) for call in calls]


def test_a_call_that_names_a_profile_gets_that_one_or_none() -> None:
    profiles = {
        "any": profile(),
        "sales": profile({"queues": ["sales"]}),
        "off": profile(enabled=False),
        "ears": profile(mode="assist"),
    }
    assert find_profile(profiles, facts(name="sales", queue="sales"), VOICEBOT) == "sales"
    assert find_profile(profiles, facts(name="sales", queue="support"), VOICEBOT) is None
    assert find_profile(profiles, facts(name="off"), VOICEBOT) is None
    assert find_profile(profiles, facts(name="nobody"), VOICEBOT) is None
    assert find_profile(profiles, facts(name="ears"), VOICEBOT) is None
    assert find_profile(profiles, facts(name="ears"), frozenset({Mode.ASSIST})) == "ears"
    assert find_profile(profiles, facts(), VOICEBOT) == "any"


def test_each_condition_counts() -> None:
    known = facts(
        queue="support",
        did="+4930123",
        campaign="spring",
        trunk="PJSIP/carrier",
        direction="inbound",
        headers={"x-customer": "gold-7"},
    )
    for match, expected in (
        ({"pbxs": ["main"]}, True),
        ({"pbxs": ["branch"]}, False),
        ({"queues": ["support", "sales"]}, True),
        ({"queues": ["sales"]}, False),
        ({"dids": ["+4930123"]}, True),
        ({"dids": ["+4930*"]}, True),
        ({"dids": ["+4930"]}, False),
        ({"campaigns": ["spring"]}, True),
        ({"campaigns": ["autumn"]}, False),
        ({"trunks": ["PJSIP/carrier"]}, True),
        ({"trunks": ["PJSIP/other"]}, False),
        ({"directions": ["inbound"]}, True),
        ({"directions": ["outbound"]}, False),
        ({"headers": {"X-Customer": "gold*"}}, True),
        ({"headers": {"X-Customer": "silver*"}}, False),
        ({"headers": {"X-Other": "*"}}, False),
        ({"queues": ["support"], "directions": ["outbound"]}, False),
    ):
        assert fits("p", profile(match), known) is expected, match


def test_which_headers_have_to_be_read() -> None:
    assert wanted_headers([MatchSettings(headers={"X-A": "1"}), MatchSettings(headers={"x-a": "2", "X-B": "3"})]) == (
        "x-a",
        "x-b",
    )


def test_arguments_of_stasis() -> None:
    assert split_arguments(["queue=support", "noise", "note=a=b", "=x"]) == {"queue": "support", "note": "a=b"}


@given(st.dictionaries(st.text(max_size=5), st.text(max_size=5)), st.integers(0, 5), st.integers(0, 40))
def test_parameters_stay_within_the_vendors_limits(custom: dict[str, str], most: int, characters: int) -> None:
    kept, dropped = bounded({"from": "alice"}, custom, most=most, characters=characters)
    own = {key: value for key, value in kept.items() if key != "from"}
    assert kept["from"] == custom.get("from", "alice") or "from" not in own
    assert len(custom) - dropped <= most
    assert sum(len(key) + len(value) for key, value in own.items()) <= characters
    assert all(custom[key] == value for key, value in own.items())
