"""Roles, scopes, masking, throttling, passwords and tokens, each by itself."""

from __future__ import annotations

import pytest

from connector.access.accounts import Account, is_secret_of, new_token, principal_of, split_token
from connector.access.passwords import WeakPassword, generated, hashed, is_right
from connector.access.rights import RIGHTS, SCOPE_RIGHTS, Right, Role, TokenScope, rights_of
from connector.access.sight import Sight, masked
from connector.access.throttle import (
    ACCOUNT_TRIES,
    ADDRESS_TRIES,
    FIRST_LOCK_S,
    KEYS_MAX,
    LONGEST_LOCK_S,
    LoginThrottle,
)


def test_each_role_has_the_rights_of_the_one_below() -> None:
    assert RIGHTS[Role.VIEWER] < RIGHTS[Role.SUPERVISOR] < RIGHTS[Role.ADMIN] == frozenset(Right)


def test_every_right_belongs_to_one_scope_of_tokens() -> None:
    given = [right for rights in SCOPE_RIGHTS.values() for right in rights]
    assert sorted(given) == sorted(Right)


def test_a_token_has_no_more_rights_than_its_account() -> None:
    for role in Role:
        for scope in TokenScope:
            rights = rights_of(role, (scope,))
            assert rights <= RIGHTS[role] | {Right.METRICS}
    assert rights_of(Role.SUPERVISOR, (TokenScope.ADMIN,)) == {Right.OWN}
    assert rights_of(Role.ADMIN, ()) == frozenset()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("+49 30 1234567", "\u2026567"),
        ("0049301234567", "\u2026567"),
        ("Anna 4711", "Anna 4711"),
        ("100", "100"),
        ("", ""),
        ("Call 12345, then 67890", "Call \u2026345, then \u2026890"),
    ],
)
def test_numbers_are_masked_wherever_they_stand(text: str, shown: str) -> None:
    assert masked(text) == shown


def test_an_agent_is_owned_with_all_queues_or_by_team() -> None:
    sight = Sight.of(["a", "b"], ["first"], numbers=True)
    assert sight.agent("main", ["a", "x"], [])
    assert not sight.owns_agent("main", ["a", "x"], [])
    assert sight.owns_agent("main", ["a", "b"], [])
    assert sight.owns_agent("main", ["x"], ["first"])
    assert not sight.owns_agent("main", [], [])
    assert not sight.agent("main", [], ["second"])
    nothing = Sight.of([], [], numbers=True)
    assert not nothing.whole
    assert not nothing.queue("main", "a")
    assert Sight.of(["*"], [], numbers=True).whole


def test_equal_scopes_have_equal_names() -> None:
    one, same = Sight.of(["a", "b"], ["t"], numbers=True), Sight.of(["b", "a"], ["t"], numbers=True)
    assert one == same
    assert one.digest() == same.digest()
    assert one.digest() != Sight.of(["a", "b"], ["t"], numbers=False).digest()
    assert one.digest() != Sight.of(["a"], ["b", "t"], numbers=True).digest()


def test_an_administrator_sees_everything_whatever_the_lists_say() -> None:
    assert principal_of(Account(name="a", role=Role.ADMIN)).sight.clear
    viewer = Account(name="a", role=Role.VIEWER, queues=("*",))
    assert not principal_of(viewer).sight.numbers
    assert principal_of(viewer, mask_viewers=False).sight.clear


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_each_further_wrong_password_locks_for_longer() -> None:
    clock = Clock()
    throttle = LoginThrottle(clock)
    for _ in range(ACCOUNT_TRIES):
        assert throttle.begin("anna", "10.0.0.1") == 0.0
    waits = []
    for _ in range(8):
        wait_s = throttle.begin("Anna", "10.0.0.2")
        assert wait_s > 0
        waits.append(wait_s)
        clock.now += wait_s
        assert throttle.begin("anna", "10.0.0.2") == 0.0
    assert waits[0] == FIRST_LOCK_S
    assert waits == sorted(waits)
    assert waits[-1] == LONGEST_LOCK_S
    throttle.succeeded("anna", "10.0.0.2")
    assert throttle.begin("anna", "10.0.0.3") == 0.0


def test_an_address_that_tries_many_names_is_locked() -> None:
    throttle = LoginThrottle(Clock())
    for number in range(ADDRESS_TRIES):
        assert throttle.begin(f"name{number}", "10.0.0.1") == 0.0
    assert throttle.begin("another", "10.0.0.1") > 0
    assert throttle.begin("another", "10.0.0.2") == 0.0


def test_what_is_counted_is_bounded() -> None:
    throttle = LoginThrottle(Clock())
    for number in range(KEYS_MAX):
        throttle.begin(f"n{number}", f"10.{number}")
    assert len(throttle._tries) == KEYS_MAX


def test_passwords() -> None:
    kept = hashed("correct horse")
    assert "correct" not in kept
    assert kept.startswith("$argon2id$")
    assert is_right(kept, "correct horse")
    assert not is_right(kept, "wrong horse")
    assert not is_right("", "nobody's password"), "no password is right where there is none"
    assert not is_right("rubbish", "rubbish")
    assert generated() != generated()
    hashed(generated())
    for weak in ("short", "aaaaaaaaaaaaa", "anna1234567", "x" * 257):
        with pytest.raises(WeakPassword):
            hashed(weak, name="Anna")


def test_tokens_are_known_by_their_hash() -> None:
    token, text = new_token("anna", "x", (TokenScope.READ,), now=1.0, expires_at=None)
    id_, secret = split_token(text)
    assert id_ == token.id
    assert is_secret_of(token, secret)
    assert secret not in repr(token)
    assert not is_secret_of(token, secret + "x")
    assert split_token("Bearer rubbish") == ("", "")
    assert split_token(text.replace("act_", "abc_")) == ("", "")
