"""The way out to Jeedom: what is sent, when, in which order, and what an outage costs."""

import itertools
import json
import logging
import random
import shutil
import ssl
import subprocess
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from callback import Callback

from evchargerd.jeedom import publisher as module
from evchargerd.jeedom.publisher import Publisher

KEY = "k" * 40 + "0123456789abcdefghijklmn"
CYCLE = 0.02


@pytest.fixture
def jeedom() -> Iterator[Callback]:
    with Callback() as callback:
        yield callback


@pytest.fixture
def publishing(jeedom: Callback, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Publisher]]:
    """Start publishers that retry fast."""
    monkeypatch.setattr(module, "FIRST_RETRY_SECONDS", 0.01)
    monkeypatch.setattr(module, "LAST_RETRY_SECONDS", 0.05)
    started: list[Publisher] = []

    def start(url: str = "", cycle: float = CYCLE) -> Publisher:
        publisher = Publisher(url or jeedom.url, KEY, cycle)
        publisher.start()
        started.append(publisher)
        return publisher

    yield start
    jeedom.hold.set()
    for publisher in started:
        publisher.stop()


def settled(jeedom: Callback, publisher: Publisher) -> None:
    """Wait until Jeedom has all that was handed over so far."""
    publisher.publish("settled", {"n": len(jeedom.posts)}, whole=True)
    seen = len(jeedom.history("settled", "n"))
    jeedom.wait_for(lambda: len(jeedom.history("settled", "n")) > seen)


def messages(caplog: pytest.LogCaptureFixture, level: int = logging.INFO) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= level]


def wait_until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)


# What is sent


def test_the_first_post_is_the_test(jeedom: Callback, publishing: Callable[..., Publisher]) -> None:
    publishing()
    jeedom.wait_for(lambda: jeedom.posts)
    assert jeedom.posts[0].body == {"apikey": KEY, "test": 1}


def test_test_says_whether_jeedom_takes_our_key(jeedom: Callback) -> None:
    assert Publisher(jeedom.url, KEY).test() is True
    jeedom.status = 403
    assert Publisher(jeedom.url, KEY).test() is False
    jeedom.down()
    assert Publisher(jeedom.url, KEY).test() is False


def test_a_post_is_exactly_what_the_contract_says(jeedom: Callback, publishing: Callable[..., Publisher]) -> None:
    publisher = publishing()
    publisher.publish(12, {"state": 3, "power": 7360.0, "connected": True, "online": False, "error_text": "Défaut é"})
    jeedom.wait_for(lambda: jeedom.taken)
    (post,) = jeedom.taken
    values = {"state": 3, "power": 7360.0, "connected": 1, "online": 0, "error_text": "Défaut é"}
    assert post.body == {"apikey": KEY, "chargers": {"12": values}, "events": []}
    assert post.path == "/plugins/EVcharger/core/php/jeeEVcharger.php"
    assert post.headers["Content-Type"] == "application/json"
    assert post.headers["Connection"] == "close"
    assert KEY not in str(post.headers)
    assert not any(isinstance(value, bool) for value in post.body["chargers"]["12"].values())


def test_only_what_changed_is_sent(jeedom: Callback, publishing: Callable[..., Publisher]) -> None:
    publisher = publishing()
    publisher.publish(12, {"state": 3, "power": 7360.0})
    jeedom.wait_for(lambda: jeedom.taken)
    publisher.publish(12, {"state": 3, "power": 7360.0})
    publisher.publish("12", {"state": 3, "power": 7200.0})
    jeedom.wait_for(lambda: len(jeedom.taken) == 2)
    assert jeedom.taken[1].body["chargers"] == {"12": {"power": 7200.0}}


def test_a_value_that_came_back_before_it_was_sent_is_not_sent(
    jeedom: Callback, publishing: Callable[..., Publisher]
) -> None:
    publisher = publishing(cycle=0.2)
    publisher.publish(12, {"state": 1})
    jeedom.wait_for(lambda: jeedom.taken)
    publisher.publish(12, {"state": 3})
    publisher.publish(12, {"state": 1})
    publisher.publish(13, {"state": 2})
    jeedom.wait_for(lambda: len(jeedom.taken) == 2)
    assert jeedom.taken[1].body["chargers"] == {"13": {"state": 2}}


def test_whole_sends_everything_known_once_more(jeedom: Callback, publishing: Callable[..., Publisher]) -> None:
    publisher = publishing()
    publisher.publish(12, {"state": 3, "power": 7360.0})
    jeedom.wait_for(lambda: jeedom.taken)
    publisher.publish(12, {"state": 3}, whole=True)  # often while the first POST is still in flight
    jeedom.wait_for(lambda: len(jeedom.taken) == 2)
    assert jeedom.taken[1].body["chargers"] == {"12": {"state": 3, "power": 7360.0}}
    publisher.publish(12, {"state": 3})
    settled(jeedom, publisher)
    assert jeedom.history(12, "state") == [3, 3]


def test_changes_are_merged_and_sent_once_per_cycle(jeedom: Callback, publishing: Callable[..., Publisher]) -> None:
    publisher = publishing(cycle=0.1)
    publisher.publish(12, {"power": -1.0})
    jeedom.wait_for(lambda: jeedom.taken)
    for power in range(1000):
        publisher.publish(12, {"power": float(power)})
        publisher.publish(13, {"power": float(power)})
    jeedom.wait_for(lambda: jeedom.values(13).get("power") == 999.0 and jeedom.values(12)["power"] == 999.0)
    times = [post.at for post in jeedom.posts]
    assert len(jeedom.taken) < 10
    assert all(later - sooner > 0.09 for sooner, later in itertools.pairwise(times))


def test_a_change_after_a_quiet_time_leaves_at_once(jeedom: Callback, publishing: Callable[..., Publisher]) -> None:
    publisher = publishing(cycle=0.5)
    jeedom.wait_for(lambda: jeedom.posts)
    threading.Event().wait(0.6)
    published = time.monotonic()
    publisher.publish(12, {"state": 3})
    jeedom.wait_for(lambda: jeedom.taken)
    assert jeedom.taken[0].at - published < 0.4


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_not_a_number_is_never_sent(
    jeedom: Callback, publishing: Callable[..., Publisher], value: float
) -> None:
    publisher = publishing()
    publisher.publish(12, {"power": value, "state": 1})
    jeedom.wait_for(lambda: jeedom.taken)
    assert jeedom.values(12) == {"state": 1}


def test_text_that_is_no_unicode_does_not_block_the_rest(
    jeedom: Callback, publishing: Callable[..., Publisher]
) -> None:
    publishing().publish(12, {"serial": "A\ud800B\0", "state": 1})
    jeedom.wait_for(lambda: jeedom.taken)
    assert jeedom.values(12) == {"serial": "A?B\0", "state": 1}


def test_a_forgotten_charger_is_not_sent_any_more(jeedom: Callback, publishing: Callable[..., Publisher]) -> None:
    jeedom.status = 500
    publisher = publishing()
    publisher.publish(12, {"state": 3})
    publisher.publish(13, {"state": 2})
    jeedom.wait_for(lambda: any("chargers" in post.body for post in jeedom.posts))
    publisher.forget(12)
    publisher.forget("unknown")
    jeedom.status = 200
    jeedom.wait_for(lambda: jeedom.values(13) == {"state": 2})
    assert jeedom.values(12) == {}


def test_a_large_installation_goes_in_several_posts(jeedom: Callback, publishing: Callable[..., Publisher]) -> None:
    jeedom.hold.clear()  # the test post is held: all of it piles up meanwhile
    publisher = publishing()
    for charger in range(240):
        publisher.publish(charger, {f"command_{n}": n for n in range(20)})
    jeedom.hold.set()
    jeedom.wait_for(lambda: all(len(jeedom.values(charger)) == 20 for charger in range(240)))
    sizes = [sum(map(len, post.body["chargers"].values())) for post in jeedom.taken]
    assert sum(sizes) == 240 * 20
    assert max(sizes) <= module.MAX_VALUES


# Events


def test_events_arrive_in_order_and_once(jeedom: Callback, publishing: Callable[..., Publisher]) -> None:
    publisher = publishing()
    for number in range(100):
        publisher.event({"type": "scan", "n": number, "text": "é"})
    jeedom.wait_for(lambda: len(jeedom.events()) >= 100)
    settled(jeedom, publisher)
    assert [event["n"] for event in jeedom.events()] == list(range(100))


def test_events_wait_for_jeedom_and_the_oldest_are_lost_with_one_log_line(
    jeedom: Callback, publishing: Callable[..., Publisher], caplog: pytest.LogCaptureFixture
) -> None:
    jeedom.status = 500
    publisher = publishing()
    for number in range(module.MAX_EVENTS + 50):
        publisher.event({"n": number})
    jeedom.wait_for(lambda: any("events" in post.body for post in jeedom.posts))
    publisher.event({"n": module.MAX_EVENTS + 50})
    jeedom.status = 200
    jeedom.wait_for(lambda: jeedom.events() and jeedom.events()[-1]["n"] == module.MAX_EVENTS + 50)
    assert [event["n"] for event in jeedom.events()] == list(range(51, module.MAX_EVENTS + 51))
    assert sum("plus anciens" in message for message in messages(caplog)) == 1


@pytest.mark.parametrize("event", [{"n": float("nan")}, {"n": object()}])
def test_an_event_that_json_can_not_hold_is_the_callers_error(jeedom: Callback, event: dict[str, object]) -> None:
    with pytest.raises((TypeError, ValueError)):
        Publisher(jeedom.url, KEY).event(event)


# Jeedom is away


def refuses(jeedom: Callback) -> None:
    jeedom.down()


def resets(jeedom: Callback) -> None:
    jeedom.reset = True


def answers_500(jeedom: Callback) -> None:
    jeedom.status = 500


def denies_the_key(jeedom: Callback) -> None:
    jeedom.status = 403


def redirects(jeedom: Callback) -> None:
    jeedom.status = 302
    jeedom.location = jeedom.url + "?elsewhere"


def talks_rubbish(jeedom: Callback) -> None:
    jeedom.raw = b"\0\xff rubbish\r\n\r\n"


def comes_back(jeedom: Callback) -> None:
    jeedom.reset, jeedom.status, jeedom.location, jeedom.raw = False, 200, None, None
    if jeedom._server is None:
        jeedom.up()


AWAY = [refuses, resets, answers_500, denies_the_key, redirects, talks_rubbish]


@pytest.mark.parametrize("goes_away", AWAY)
def test_an_outage_loses_no_latest_value_and_costs_two_log_lines(
    jeedom: Callback,
    publishing: Callable[..., Publisher],
    caplog: pytest.LogCaptureFixture,
    goes_away: Callable[[Callback], None],
) -> None:
    caplog.set_level(logging.DEBUG)
    publisher = publishing()
    publisher.publish(12, {"state": 1, "power": 0.0})
    publisher.publish(13, {"state": 6})
    jeedom.wait_for(lambda: jeedom.values(12) and jeedom.values(13))
    before = len(jeedom.taken)
    goes_away(jeedom)
    publisher.publish(12, {"state": 2})
    publisher.event({"n": 1})
    deadline = time.monotonic() + 10
    while sum("impossible" in message for message in messages(caplog, logging.DEBUG)) < 4:  # some retries
        assert time.monotonic() < deadline
        publisher.publish(12, {"power": time.monotonic()})
        time.sleep(0.005)
    publisher.publish(12, {"state": 3, "power": 7360.0})
    publisher.event({"n": 2})
    comes_back(jeedom)
    jeedom.wait_for(lambda: jeedom.values(12) == {"state": 3, "power": 7360.0} and len(jeedom.events()) == 2)
    settled(jeedom, publisher)
    assert jeedom.history(12, "state") == [1, 3], "the values in between are merged"
    assert jeedom.taken[before].body["chargers"]["13"] == {"state": 6}, "Jeedom may have forgotten the others"
    assert [event["n"] for event in jeedom.events()] == [1, 2]
    publisher.stop()  # the log is complete now
    gone, back = messages(caplog)
    assert gone.startswith("Envoi vers Jeedom impossible (")
    assert back.startswith("Envoi vers Jeedom rétabli après ")
    assert KEY not in caplog.text
    assert not any(KEY in post.path or "elsewhere" in post.path for post in jeedom.posts)


def test_a_jeedom_that_starts_later_is_noticed_without_any_value(
    jeedom: Callback, publishing: Callable[..., Publisher], caplog: pytest.LogCaptureFixture
) -> None:
    jeedom.down()
    publishing()
    wait_until(lambda: messages(caplog))
    jeedom.up()
    wait_until(lambda: len(messages(caplog)) == 2)
    assert jeedom.posts[-1].body == {"apikey": KEY, "test": 1}


def test_html_with_status_200_is_a_success(
    jeedom: Callback, publishing: Callable[..., Publisher], caplog: pytest.LogCaptureFixture
) -> None:
    jeedom.page = b"<html>" + b"x" * 1_000_000
    publisher = publishing()
    publisher.publish(12, {"state": 3})
    settled(jeedom, publisher)
    assert jeedom.history(12, "state") == [3]
    assert messages(caplog) == []


def test_a_value_whose_fate_is_unknown_is_sent_again_although_it_came_back(
    jeedom: Callback, publishing: Callable[..., Publisher]
) -> None:
    publisher = publishing()
    publisher.publish(12, {"state": 1})
    jeedom.wait_for(lambda: jeedom.history(12, "state") == [1])
    jeedom.reset = True  # Jeedom takes state 3, but we never hear of it
    publisher.publish(12, {"state": 3})
    jeedom.wait_for(lambda: jeedom.posts[-1].body.get("chargers") == {"12": {"state": 3}})
    publisher.publish(12, {"state": 1})
    jeedom.reset = False
    jeedom.wait_for(lambda: jeedom.history(12, "state")[1:])
    settled(jeedom, publisher)
    assert jeedom.history(12, "state")[-1] == 1


def test_a_slow_jeedom_blocks_nobody_and_gets_the_latest_values(
    jeedom: Callback, publishing: Callable[..., Publisher]
) -> None:
    publisher = publishing()
    jeedom.wait_for(lambda: jeedom.posts)
    jeedom.hold.clear()
    publisher.publish(12, {"power": -1.0})
    jeedom.wait_for(lambda: len(jeedom.posts) == 2)
    started = time.monotonic()
    for power in range(2000):
        publisher.publish(12, {"power": float(power)})
        publisher.event({"n": power})
    assert time.monotonic() - started < 1
    assert len(jeedom.posts) == 2, "one POST in flight at a time"
    jeedom.hold.set()
    jeedom.wait_for(lambda: jeedom.values(12)["power"] == 1999.0)
    assert jeedom.history(12, "power") == [-1.0, 1999.0]


def test_a_jeedom_that_never_answers_is_given_up(
    jeedom: Callback,
    publishing: Callable[..., Publisher],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(module, "READ_SECONDS", 0.1)
    jeedom.hold.clear()
    publisher = publishing()
    publisher.publish(12, {"state": 3})
    jeedom.wait_for(lambda: len(jeedom.posts) >= 3)
    jeedom.hold.set()
    jeedom.wait_for(lambda: jeedom.posts[-1].body.get("chargers") == {"12": {"state": 3}})
    assert messages(caplog)[0] == (
        "Envoi vers Jeedom impossible (pas de réponse à temps) : les dernières valeurs partiront dès que possible"
    )


def test_a_slow_callback_of_30_seconds_is_within_the_time_given() -> None:
    assert module.READ_SECONDS > 30


def test_retries_are_1_2_4_up_to_30_seconds_apart() -> None:
    assert [module._retry_seconds(failures) for failures in range(1, 8)] == [1, 2, 4, 8, 16, 30, 30]
    assert module._retry_seconds(100_000) == 30


def test_retries_follow_the_back_off(
    jeedom: Callback, publishing: Callable[..., Publisher], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FIRST_RETRY_SECONDS", 0.05)
    monkeypatch.setattr(module, "LAST_RETRY_SECONDS", 0.2)
    jeedom.status = 500
    publishing().publish(12, {"state": 3})
    jeedom.wait_for(lambda: len(jeedom.posts) >= 5)
    times = [post.at for post in jeedom.posts]
    pauses = [later - sooner for sooner, later in itertools.pairwise(times)]
    assert all(pause >= least for pause, least in zip(pauses, [0.05, 0.1, 0.2, 0.2], strict=False)), pauses


def test_a_newer_value_is_never_overtaken_by_an_older_one(
    jeedom: Callback, publishing: Callable[..., Publisher]
) -> None:
    chance = random.Random(7)
    publisher = publishing(cycle=0.001)
    for number in range(300):
        publisher.publish(12, {"power": number})
        match chance.randrange(12):
            case 0:
                jeedom.status = 500
            case 1:
                jeedom.reset = True
            case 2 | 3 | 4:
                comes_back(jeedom)
            case 5:
                time.sleep(0.005)
    comes_back(jeedom)
    jeedom.wait_for(lambda: jeedom.values(12).get("power") == 299)
    arrived = [post.body["chargers"]["12"]["power"] for post in jeedom.posts if post.body.get("chargers")]
    assert arrived == sorted(arrived)


def test_hostile_answers_leave_it_sending(
    jeedom: Callback, publishing: Callable[..., Publisher], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FIRST_RETRY_SECONDS", 0.0)
    chance = random.Random(99)
    good = (
        b"HTTP/1.1 500 No\r\nSet-Cookie: a=b\r\nLocation: http://[::/\xff\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    )

    def some_answer() -> bytes:
        changed = bytearray(good)
        for _ in range(chance.randrange(1, 12)):
            changed[chance.randrange(len(changed))] = chance.randrange(256)
        return bytes(changed[: chance.randrange(len(good) + 1)])

    jeedom.raw = some_answer()
    publisher = publishing(cycle=0.0)
    publisher.publish(12, {"state": 1})
    for count in range(1, 400):
        jeedom.wait_for(lambda count=count: len(jeedom.posts) > count)  # type: ignore[misc]
        publisher.publish(12, {"n": count})
        jeedom.raw = some_answer()
    comes_back(jeedom)
    settled(jeedom, publisher)
    assert jeedom.values(12)["state"] == 1


# Its life


def test_stopping_sends_what_is_left(jeedom: Callback, publishing: Callable[..., Publisher]) -> None:
    publisher = publishing(cycle=60)
    publisher.publish(12, {"state": 1})
    publisher.event({"n": 1})
    jeedom.wait_for(lambda: jeedom.posts)
    publisher.publish(12, {"state": 3})
    publisher.stop()
    assert jeedom.values(12) == {"state": 3}
    assert jeedom.events() == [{"n": 1}]


def test_stopping_during_an_outage_tries_once_and_is_quick(
    jeedom: Callback, publishing: Callable[..., Publisher], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FIRST_RETRY_SECONDS", 60.0)
    monkeypatch.setattr(module, "LAST_RETRY_SECONDS", 60.0)
    jeedom.status = 500
    publisher = publishing()
    jeedom.wait_for(lambda: jeedom.posts)
    publisher.publish(12, {"state": 3})
    started = time.monotonic()
    publisher.stop()
    assert time.monotonic() - started < 0.9
    assert [post.body.get("chargers") for post in jeedom.posts] == [None, {"12": {"state": 3}}]


def test_stopping_does_not_wait_for_a_jeedom_that_does_not_answer(
    jeedom: Callback, publishing: Callable[..., Publisher]
) -> None:
    publisher = publishing()
    jeedom.wait_for(lambda: jeedom.posts)
    jeedom.hold.clear()
    publisher.publish(12, {"state": 3})
    jeedom.wait_for(lambda: len(jeedom.posts) == 2)
    started = time.monotonic()
    publisher.stop(timeout=0.3)
    assert time.monotonic() - started < 0.6


def test_a_publisher_that_was_never_started_stops(jeedom: Callback) -> None:
    Publisher(jeedom.url, KEY).stop()


def test_an_idle_publisher_sends_nothing_and_costs_no_cpu(
    jeedom: Callback, publishing: Callable[..., Publisher]
) -> None:
    publisher = publishing()
    publisher.publish(12, {"state": 1})
    settled(jeedom, publisher)
    before, posts = time.process_time(), len(jeedom.posts)
    threading.Event().wait(0.3)
    assert time.process_time() - before < 0.1  # the callback server's own polling is in it
    assert len(jeedom.posts) == posts


@pytest.mark.parametrize("callback", ["", "127.0.0.1/x.php", "file:///etc/passwd", "ftp://127.0.0.1/"])
def test_a_callback_that_is_no_web_address_is_refused(callback: str) -> None:
    with pytest.raises(ValueError, match="callback"):
        Publisher(callback, KEY)


# The network around it


def test_no_proxy_of_the_environment_gets_the_key(
    jeedom: Callback, publishing: Callable[..., Publisher], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1/")
    publishing().publish(12, {"state": 3})
    jeedom.wait_for(lambda: jeedom.values(12) == {"state": 3})


@pytest.mark.parametrize(
    ("url", "loopback"),
    [
        ("https://127.0.0.1/x", True),
        ("https://127.1.2.3:8443/x", True),
        ("https://localhost:8443/x", True),
        ("https://[::1]/x", True),
        ("https://192.168.1.5/x", False),
        ("https://jeedom.local/x", False),
        ("https://127.0.0.1.example.org/x", False),
        ("https://127.0.0.1@example.org/x", False),
    ],
)
def test_only_this_machine_may_show_any_certificate(url: str, loopback: bool) -> None:
    assert module._is_loopback(url) is loopback


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")
def test_https_on_the_loopback_works_with_a_self_signed_certificate(
    jeedom: Callback,
    publishing: Callable[..., Publisher],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level(logging.DEBUG)
    make = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=jeedom -keyout key.pem -out cert.pem"
    subprocess.run(make.split(), cwd=tmp_path, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    assert jeedom._server
    jeedom._server.socket = context.wrap_socket(jeedom._server.socket, server_side=True)
    url = jeedom.url.replace("http:", "https:")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Publisher(url, KEY).test() is True
    monkeypatch.setattr(module, "_is_loopback", lambda _: False)
    assert Publisher(url, KEY).test() is False
    assert "certificat refusé" in caplog.text
    assert json.dumps(KEY)[1:-1] not in caplog.text
