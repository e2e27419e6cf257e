"""Routes: who wants an event, kept up to date at a cost that does not grow."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

import pytest

from relaybox_hooks.targets.routing import Router

Lanes = Router[str, str, str]


def make() -> Lanes:
    return Router(["a", "b"])


def idle(router: Lanes) -> set[str]:
    return {name for name, route in router.routes.items() if route.idle}


def sole(router: Lanes) -> str | None:
    return router.routes["a"].sole


def test_a_route_is_idle_until_somebody_wants_it() -> None:
    router = make()
    assert idle(router) == {"a", "b"}
    router.add_subscriber("s", ["a"])
    assert idle(router) == {"b"}
    router.remove_subscriber("s", ["a"])
    assert idle(router) == {"a", "b"}


@pytest.mark.parametrize("app_pid", [None, "app"])
def test_a_webhook_makes_a_route_busy_and_idle_again(app_pid: str | None) -> None:
    router = make()
    router.add_webhook("w", ["a", "b"], app_pid)
    assert idle(router) == set()
    router.remove_webhook("w", ["a"], app_pid)
    assert idle(router) == {"a"}


def test_an_inline_subscriber_makes_a_route_busy_and_idle_again() -> None:
    router = make()
    router.add_inline("i", ["a", "b"])
    assert idle(router) == set()
    assert list(router.routes["a"].inline) == ["i"]
    router.remove_inline("i", ["a"])
    assert idle(router) == {"a"}


def test_a_sole_lane_is_inline_or_queued() -> None:
    router = make()
    route = router.routes["a"]
    router.add_inline("i", ["a"])
    assert (route.sole, route.sole_inline) == (None, "i")
    router.add_subscriber("s", ["a"])
    assert (route.sole, route.sole_inline) == (None, None)
    router.remove_inline("i", ["a"])
    assert (route.sole, route.sole_inline) == ("s", None)
    router.remove_subscriber("s", ["a"])
    router.add_inline("i", ["a"])
    router.add_webhook("w", ["a"], None)
    assert (route.sole, route.sole_inline) == (None, None)


@pytest.mark.parametrize("app_pid", [None, "app"])
def test_a_subscriber_is_the_sole_lane_while_nobody_else_wants_the_event(
    app_pid: str | None,
) -> None:
    router = make()
    router.add_subscriber("s1", ["a"])
    assert sole(router) == "s1"
    router.add_subscriber("s2", ["a"])
    assert sole(router) is None
    router.remove_subscriber("s1", ["a"])
    assert sole(router) == "s2"
    router.add_webhook("w", ["a"], app_pid)
    assert sole(router) is None
    router.remove_webhook("w", ["a"], app_pid)
    assert sole(router) == "s2"
    router.remove_subscriber("s2", ["a"])
    assert sole(router) is None


def test_lanes_are_listed_in_the_order_they_came() -> None:
    router = make()
    for name in ("w3", "w1", "w2"):
        router.add_webhook(name, ["a"], None)
        router.add_subscriber(name, ["a"])
    assert list(router.routes["a"].shared) == ["w3", "w1", "w2"]
    assert list(router.routes["a"].subscribers) == ["w3", "w1", "w2"]


def test_a_lane_added_twice_is_listed_once() -> None:
    router = make()
    router.add_subscriber("s", ["a"])
    router.add_subscriber("s", ["a", "b"])
    assert list(router.routes["a"].subscribers) == ["s"]


def test_webhooks_of_an_application_are_kept_apart() -> None:
    router = make()
    router.add_webhook("w1", ["a"], "app1")
    router.add_webhook("w2", ["a"], "app2")
    route = router.routes["a"]
    assert {app: list(lanes) for app, lanes in route.by_app.items()} == {
        "app1": ["w1"],
        "app2": ["w2"],
    }
    assert not route.shared


def test_an_application_without_webhooks_leaves_nothing_behind() -> None:
    router = make()
    router.add_webhook("w1", ["a"], "app")
    router.add_webhook("w2", ["a"], "app")
    router.remove_webhook("w1", ["a"], "app")
    assert list(router.routes["a"].by_app["app"]) == ["w2"]
    router.remove_webhook("w2", ["a"], "app")
    assert router.routes["a"].by_app == {}


def test_removing_what_is_not_there_is_harmless() -> None:
    router = make()
    router.remove_webhook("w", ["a"], None)
    router.remove_webhook("w", ["a"], "app")
    router.remove_subscriber("s", ["a"])
    assert router.routes["a"].idle


class Counted:
    """A lane that counts how often it is compared or hashed."""

    operations = 0

    def __hash__(self) -> int:
        Counted.operations += 1
        return id(self) >> 4

    def __eq__(self, other: object) -> bool:
        Counted.operations += 1
        return self is other


def test_a_hundred_thousand_webhooks_come_and_go_cheaply() -> None:
    """Counted in operations: adding or removing looks at a few lanes, however many there are."""
    router: Router[Any, Counted, Any] = Router(["a"])
    lanes = [Counted() for _ in range(100_000)]
    for number, lane in enumerate(lanes):
        router.add_webhook(lane, ["a"], f"app{number % 1000}" if number % 2 else None)
    Counted.operations = 0
    calls = 0

    def count(frame: FrameType, event: str, arg: object) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        for number in range(0, 100_000, 1000):
            app_pid = f"app{number % 1000}" if number % 2 else None
            router.remove_webhook(lanes[number], ["a"], app_pid)
            router.add_webhook(lanes[number], ["a"], app_pid)
    finally:
        sys.setprofile(None)
    assert Counted.operations < 100 * 20
    assert calls < 100 * 20
    assert len(router.routes["a"].shared) == 50_000
