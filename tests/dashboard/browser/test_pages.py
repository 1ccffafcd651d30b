"""The pages as people have them: real processes behind a real browser."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.dashboard.browser.chrome import Browser, missing
from tests.dashboard.browser.house import KEEPER, STRANGE_QUEUE, House, keep_busy
from tests.dashboard.browser.shop import STRANGE, line
from tests.process.kitchen import wait_until

pytest.importorskip("starlette", reason="the extra dashboard is not installed")
pytest.importorskip("selenium", reason="the extra test is not installed")
if reason := missing():
    pytest.skip(f"no browser: {reason}", allow_module_level=True)

PICTURES = Path(__file__).parent.parent.parent.parent / ".pictures"

PAGES = {
    "overview": "In and out",
    "queues": "bake",
    "queues/bake": "Policies",
    "tasks?state=any": "strange-1",
    "tasks/order-77": "no worker for queue nobody",
    "tasks/strange-1": "Payload",
    "flows": "deliver",
    "groups": "party-7",
    "groups/party-7": "group, open",
    "workers": "oven-1",
    "workers/oven-1": "liveness",
    "dead": "burned",
    "schedules": "every-minute",
    "topics": "pizza.*.burned",
    "namespaces": "team-a",
    "events": "Newest first",
}
"""What each page must show, by its route."""

STILL = "document.querySelectorAll('main [aria-busy]').length === 0"
WIDE = """[...document.querySelectorAll("main .scroll:not(.graph)")]
    .filter((one) => one.scrollWidth > one.clientWidth)
    .map((one) => `${one.innerText.slice(0, 80)}: ${one.scrollWidth} > ${one.clientWidth}`)"""
PLACE_IN_SIGHT = """(([place]) => place.left >= 0 && place.right <= innerWidth)(
    [document.querySelector(".rail [aria-current]").getBoundingClientRect()])"""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Returns a furnished house: two ovens, and something for every page."""
    found = House(tmp_path_factory.mktemp("house"))
    try:
        found.start_dashboard()
        for name in ("oven-1", "oven-2"):
            found.start_worker(name)
        found.furnish()
        wait_until(lambda: found.client.status("party-7.0#0").state == "done", "the guests of the party")
        yield found
    finally:
        found.close()


@pytest.fixture(scope="module")
def shared_browser(house: House, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    found = Browser(tmp_path_factory.mktemp("browser"))
    found.root = house.root
    try:
        yield found
    finally:
        found.close()


@pytest.fixture
def browser(shared_browser: Browser) -> Iterator[Browser]:
    """Returns the browser as it is in light, on a desk; whatever is done with it, nothing may be asked of another
    machine and nothing may complain.
    """
    shared_browser.emulate()
    shared_browser.resize(1280)
    if shared_browser.count("dialog"):  # of a test that failed
        shared_browser.load()
    shared_browser.go()
    shared_browser.run("localStorage.clear(); delete document.documentElement.dataset.theme")
    yield shared_browser
    assert shared_browser.strangers() == []
    assert shared_browser.complaints == []


@pytest.fixture(autouse=True)
def _quiet(shared_browser: Browser) -> Iterator[None]:
    """What one test has on its conscience is not the next one's."""
    yield
    shared_browser.read_logs()
    shared_browser.requested.clear()
    shared_browser.complaints.clear()


@contextmanager
def busy(house: House) -> Iterator[None]:
    """Lets orders come in meanwhile."""
    stop = threading.Event()
    thread = threading.Thread(target=keep_busy, args=(house.client, stop))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@pytest.mark.timeout(400)  # sixteen pages, three times each
def test_every_page_is_drawn_in_light_in_dark_and_on_a_phone_without_a_serious_finding(
    house: House, browser: Browser
) -> None:
    with busy(house):
        for route, text in PAGES.items():
            browser.go(route)
            browser.wait_text(text)
            browser.wait(lambda: browser.run(f"return {STILL}"), "the end of loading")
            name = route.replace("/", "-").replace("?", "-").replace("=", "-")

            browser.picture(PICTURES / f"{name}-light.png")
            assert browser.run(f"return {WIDE}") == [], f"{route} has tables that are cut off"
            assert browser.offences() == [], route
            assert min(_background(browser)) > 200

            browser.emulate(scheme="dark")
            browser.wait(lambda: max(_background(browser)) < 60, "the dark")
            browser.picture(PICTURES / f"{name}-dark.png")
            assert browser.offences("color-contrast") == [], f"{route} in dark"
            browser.emulate()

            browser.resize(360, 740)
            browser.wait(lambda: browser.run("return document.documentElement.scrollWidth <= innerWidth"), "a fit")
            browser.wait(lambda: browser.run(f"return {PLACE_IN_SIGHT}"), f"the name of the page {route} in sight")
            browser.picture(PICTURES / f"{name}-phone.png")
            browser.resize(1280)


def _background(browser: Browser) -> list[int]:
    found: list[int] = browser.run("return getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    return found


def test_rows_and_charts_move_while_tasks_run(house: House, browser: Browser) -> None:
    done = "[...document.querySelectorAll('.tile')].find((one) => one.innerText.startsWith('Out')).innerText"
    before = browser.wait(lambda: browser.run(f"return document.querySelector('.tile') && {done}"), "the tiles")

    with busy(house):
        browser.wait(lambda: browser.run(f"return {done}") != before, "another number of what is done")
        painted = """
            const canvas = document.querySelector(".chart canvas");
            if (!canvas) return false;
            const copy = Object.assign(document.createElement("canvas"), {width: canvas.width, height: canvas.height});
            const context = copy.getContext("2d", {willReadFrequently: true});
            context.drawImage(canvas, 0, 0);
            const data = context.getImageData(0, 0, canvas.width, canvas.height).data;
            const colours = new Set();
            for (let i = 0; i < data.length; i += 4) if (data[i + 3] > 200) colours.add(`${data[i]},${data[i + 1]},${data[i + 2]}`);
            return colours.has(arguments[0]);"""
        browser.wait(lambda: browser.run(painted, "11,110,102"), "a line in the accent's colour")

        browser.go("queues")
        browser.wait_text("deliver")
        row = "[...document.querySelectorAll('tbody tr')].find((one) => one.innerText.startsWith('deliver'))"
        browser.run(f"window.row = {row}")
        seen = browser.text("tbody")
        browser.wait(lambda: browser.text("tbody") != seen, "other numbers in the rows")
        browser.wait(
            lambda: browser.run("return window.row.querySelectorAll('.spark path')[0].getAttribute('d').length > 40"),
            "a sparkline",
        )

        assert browser.run(f"return window.row === {row}"), "rows are kept, not made anew"


def test_chart_of_a_single_moment_shows_it_and_one_of_nothing_says_so(house: House, browser: Browser) -> None:
    drawn = """
        const [values, done] = arguments;
        const known = [];
        const real = window.uPlot;
        window.uPlot = class extends real { constructor(...all) { super(...all); known.push(this); } };
        Promise.all([import("./static/html.js"), import("./static/parts/chart.js")]).then(([{html, render}, {Chart}]) => {
          const place = document.querySelector("main").appendChild(document.createElement("div"));
          const data = [values.map((_, i) => 1.7e9 + i), values];
          render(html`<${Chart} title="One" data=${data} series=${[{label: "one", tone: "accent"}]} none="Nothing." />`, place);
          const look = () => {
            const [plot] = known;
            if (!plot?.ctx || plot.status !== 1) return requestAnimationFrame(look);
            const {data: pixels} = plot.ctx.getImageData(0, 0, plot.ctx.canvas.width, plot.ctx.canvas.height);
            let painted = 0;
            for (let i = 0; i < pixels.length; i += 4) painted += pixels[i] === 11 && pixels[i + 1] === 110 && pixels[i + 2] === 102;
            const found = {painted: painted > 0, seconds: plot.scales.x.max - plot.scales.x.min, text: place.innerText};
            render(null, place);
            place.remove();
            window.uPlot = real;
            done(found);
          };
          look();
        });"""
    alone = browser.run_async(drawn, [3.0])
    assert (alone["painted"], alone["seconds"]) == (True, 60)
    assert "Nothing." not in alone["text"]
    nothing = browser.run_async(drawn, [None])
    assert not nothing["painted"]
    assert "Nothing." in nothing["text"]


def test_queue_is_paused_and_resumed(house: House, browser: Browser) -> None:
    browser.go("queues/deliver")
    browser.button("Pause")
    browser.wait_text("Paused deliver.", ".toasts")
    browser.wait_text("paused", "main .head")
    assert house.client.queues.show("deliver").policies.paused  # type: ignore[union-attr]

    browser.button("Resume")
    browser.wait_text("Resumed deliver.", ".toasts")
    browser.wait(lambda: "paused" not in browser.text("main .head"), "the end of the pause")
    assert not house.client.queues.show("deliver").policies.paused  # type: ignore[union-attr]


def test_purge_asks_with_the_count_and_does_nothing_unless_told(house: House, browser: Browser) -> None:
    house.client.submit_many("purged", [1, 2, 3])
    browser.go("queues/purged")
    browser.button("Purge")
    browser.wait_text("Purge 3 tasks of purged?", "dialog")
    browser.button("Cancel", "dialog")
    browser.wait(lambda: browser.count("dialog") == 0, "the end of the question")
    assert house.client.queues.show("purged").waiting == 3

    browser.button("Purge")
    browser.button("Purge 3 tasks", "dialog")
    browser.wait_text("Purged 3 tasks of purged.", ".toasts")
    assert house.client.queues.show("purged").waiting == 0


def test_policy_is_set(house: House, browser: Browser) -> None:
    browser.go("queues/bake")
    browser.button("Change")
    browser.fill("input[name=concurrency]", "7")
    browser.button("Save")
    browser.wait_text("Set concurrency of bake.", ".toasts")
    assert house.client.queues.show("bake").policies.concurrency == 7  # type: ignore[union-attr]


def test_timeline_shows_who_was_lost_and_who_has_it_now(house: House, browser: Browser) -> None:
    house.reassign("order-9")
    browser.go("tasks/order-9")
    browser.wait_text("reassigned to heir", ".handover")
    bars = browser.run("return [...document.querySelectorAll('.bar')].map((bar) => bar.className)")
    assert bars == ["bar is-lost", "bar is-running"]
    assert "doomed" in browser.text(".happening.bad")
    assert browser.text(".head .badge.bad") == "lost a worker"
    browser.picture(PICTURES / "reassigned-light.png")
    browser.emulate(scheme="dark")
    browser.picture(PICTURES / "reassigned-dark.png")
    browser.resize(360, 740)
    browser.picture(PICTURES / "reassigned-phone.png")
    assert browser.offences() == []

    house.open_gate("order-9")
    browser.wait_text("done by heir", ".happening.good")
    browser.wait_for(".bar.is-done")


def test_errors_are_shown_with_the_lines_of_their_traceback(house: House, browser: Browser) -> None:
    id = next(house.client.tasks("dead", queue="bake")).id
    browser.go(f"tasks/{id.replace('#', '%23')}")
    error = browser.wait_text("RuntimeError", ".error-text[aria-label^=Error]")
    assert "\n" in error
    assert "\\n" not in error
    assert STRANGE in error


def test_page_says_that_the_coordinator_is_away_and_comes_back(house: House, browser: Browser) -> None:
    browser.wait_text("live", "#link")
    browser.wait_text("records, ", ".facts")  # of its journal

    def look() -> None:
        browser.wait_text("The coordinator is unreachable since", "#banner")
        browser.picture(PICTURES / "unreachable-light.png")
        assert browser.offences() == []

    house.restart_coordinator(between=look)
    browser.wait(lambda: browser.count("#banner") == 0, "the end of the banner")
    browser.wait_text("live", "#link")
    pulses = "return Number(document.querySelector('.facts dd:nth-of-type(2)').innerText.split(' ')[0])"
    up = browser.run(pulses)
    browser.wait(lambda: browser.run(pulses) != up, "another pulse")
    browser.read_logs()
    browser.complaints[:] = [one for one in browser.complaints if "status of 503" not in one]


def test_pages_that_were_left_hold_no_connection(house: House, browser: Browser) -> None:
    for _ in range(7):  # a browser has six connections to a server
        browser.load()
    browser.go("queues/deliver")
    browser.wait_text("Policies")


def test_page_comes_back_after_its_own_server_was_away(house: House, browser: Browser) -> None:
    assert house.dashboard is not None
    house.dashboard.kill()
    house.dashboard.wait()
    browser.wait_text("The dashboard's server is unreachable since", "#banner")
    house.start_dashboard()
    browser.wait(lambda: browser.count("#banner") == 0, "the end of the banner")
    browser.wait_text("live", "#link")
    browser.read_logs()
    browser.complaints[:] = [one for one in browser.complaints if "net::ERR_" not in one]


def test_a_page_whose_scripts_did_not_come_says_so_and_loads_again(house: House, browser: Browser) -> None:
    missing = "/static/main.js, or what it needs, could not be loaded. Not all of this page has come. Load it again"
    browser.driver.execute_cdp_cmd("Network.enable", {})
    browser.emulate(motion="reduce")  # else it takes its time where not even the script that tells of others has come
    for files, said in (("main.js", missing), ("pages/queues.js", missing), ("*.js", "Loading. Not all of this page")):
        browser.driver.execute_cdp_cmd("Network.setBlockedURLs", {"urls": [f"*/static/{files}"]})
        browser.driver.get("about:blank")
        browser.driver.get(f"{browser.root}#/queues")
        browser.wait_text(said, "#root")
        browser.driver.execute_cdp_cmd("Network.setBlockedURLs", {"urls": []})
        browser.click("#boot-again")
        browser.wait_for("main h1")


def test_hundred_thousand_tasks_are_looked_through_by_the_page(house: House, browser: Browser) -> None:
    house.client.submit_many("crowd", [None] * 100_000)
    browser.go("queues/crowd")
    browser.wait_text("100k")
    browser.go("tasks?queue=crowd&state=waiting")
    browser.wait(lambda: browser.count("main tbody tr") == 50, "a page of tasks")
    first = browser.text("main tbody")
    browser.button("Next")
    browser.wait(lambda: browser.text("main tbody") != first, "the second page")
    browser.wait_text("Page 2")
    assert browser.count("main tbody tr") == 50

    browser.button("Back")
    browser.wait(lambda: browser.text("main tbody") == first, "the first page again")
    browser.button("Cancel all like this")
    browser.wait_text("tasks?", "dialog")
    assert "000 tasks" in browser.text("dialog") or "100k tasks" in browser.text("dialog")
    browser.button("Leave it", "dialog")


def test_chosen_tasks_are_cancelled_together(house: House, browser: Browser) -> None:
    ids = [house.client.submit("chosen", number).id for number in range(3)]
    browser.go("tasks?queue=chosen&state=waiting")
    browser.wait(lambda: browser.count("main tbody tr") == 3, "the tasks")
    for id in ids[:2]:
        browser.click(f'[aria-label="Choose {id}"]')
    browser.button("Cancel 2")
    browser.button("Cancel 2 tasks", "dialog")
    browser.wait(lambda: browser.count("main tbody tr") == 1, "the one that is left")
    assert [house.client.status(id).state for id in ids] == ["cancelled", "cancelled", "waiting"]


def test_dead_letters_are_replayed_at_a_rate(house: House, browser: Browser) -> None:
    letters = ["letter-1", "letter-2", "letter-3"]
    for id in letters:
        house.client.submit("replayed", None, id=id)
        house.client.dead.bury(id, "the oven is cold")
    browser.go("dead?queue=replayed")
    browser.wait_text("the oven is cold")
    browser.button("Replay")
    browser.fill("dialog [name=rate]", "0.001")
    browser.button("Replay", "dialog")
    browser.wait_text("They are brought back.", ".toasts")
    browser.wait_text("0.001/s", "[aria-labelledby=replays]")
    assert sorted(house.client.status(id).state for id in letters).count("dead") >= 2, "not all at once"


def test_schedule_is_run_now_and_paused_and_resumed(house: House, browser: Browser) -> None:
    browser.go("schedules")
    browser.click('[aria-label="Run hourly now"]')
    browser.wait_text("It is stored", ".toasts")
    wait_until(lambda: house.client.schedules.show("hourly").fired, "its task")

    browser.click('[aria-label="Pause every-minute"]')
    browser.wait_for('[aria-label="Resume every-minute"]')
    assert house.client.schedules.show("every-minute").is_paused
    browser.click('[aria-label="Resume every-minute"]')
    browser.wait_for('[aria-label="Pause every-minute"]')
    assert not house.client.schedules.show("every-minute").is_paused


def test_worker_is_drained_and_goes_on_with_another_size_until_it_is_stopped(house: House, browser: Browser) -> None:
    hand = house.start_worker("hand", "--concurrency", "2", module=KEEPER)
    browser.go("workers")
    browser.wait_text("hand")
    browser.go("workers/hand")
    browser.button("Drain")
    browser.wait_text("draining", "main .head")
    browser.button("Resume")
    browser.wait_text("live", "main .head")

    browser.button("Resize")
    browser.fill("dialog [name=size]", "3")
    browser.button("Resize", "dialog")
    browser.wait_text("hand is told to work on 3 at once.", ".toasts")
    browser.wait_text("concurrency\n3", "main .facts")

    browser.button("Stop")
    browser.button("Stop", "dialog")
    browser.wait_text("hand is told to stop.", ".toasts")
    assert hand.wait() == 0
    browser.wait_for("main .bad[role=alert]")  # there is no such worker any more
    browser.read_logs()
    browser.complaints[:] = [one for one in browser.complaints if "status of 404" not in one]


def test_flows_are_drawn_with_their_rates(house: House, browser: Browser) -> None:
    with busy(house):
        browser.go("flows")
        browser.wait(lambda: "/s" in browser.text(".edge.is-live text"), "a rate on an edge")
    boxes = browser.run("return [...document.querySelectorAll('.node .label')].map((one) => one.textContent)")
    assert {"orders", "bake", "box", "deliver"} <= set(boxes)
    left = "return [...document.querySelectorAll('.node')].find((one) => one.querySelector('.label').textContent === arguments[0]).getBoundingClientRect().left"
    places = [browser.run(left, queue) for queue in ("orders", "bake", "box", "deliver")]
    assert places == sorted(places), "each stage stands behind the one before"


def test_pipeline_is_drawn_with_the_names_of_its_stages_and_all_in_sight(house: House, browser: Browser) -> None:
    assert sorted(line.run(range(3), address=house.kitchen.address, run_id="evening")) == [2, 4, 6]
    browser.go("flows")
    labels = "return [...document.querySelectorAll('.node .label')].map((one) => one.textContent)"
    browser.wait(lambda: {"knead", "fry"} <= set(browser.run(labels)), "the stages' names")
    browser.picture(PICTURES / "pipeline-light.png")
    room = "(([one]) => [one.scrollWidth, one.clientWidth])([document.querySelector('.graph')])"
    width, seen = browser.run(f"return {room}")
    assert width <= seen, "it runs downwards where there is no room to the right"


def test_queue_that_feeds_itself_has_its_arrow_in_sight(house: House, browser: Browser) -> None:
    cut = """
        const [done] = arguments;
        Promise.all([import("./static/html.js"), import("./static/parts/graph.js")]).then(([{html, render}, {Graph}]) => {
          const place = document.querySelector("main").appendChild(document.createElement("div"));
          render(html`<${Graph} title="One" nodes=${[{id: "a", label: "a"}]} edges=${[{from: "a", to: "a", label: "9/s"}]} />`, place);
          const all = place.querySelector("svg").getBoundingClientRect();
          const found = [...place.querySelectorAll(".edge > *")].map((one) => one.getBoundingClientRect().bottom <= all.bottom);
          render(null, place);
          place.remove();
          done(found);
        });"""
    assert browser.run_async(cut) == [True, True]


def test_group_is_drawn_with_its_members_and_its_callback(house: House, browser: Browser) -> None:
    browser.go("groups/party-7")
    browser.wait(lambda: browser.count(".node") >= 4, "the group's picture")
    assert "join" in browser.text("main")


def test_pages_are_reached_by_keys(house: House, browser: Browser) -> None:
    from selenium.webdriver.common.keys import Keys

    browser.keys("g", "q")
    browser.wait_text("Queues", "main h1")
    assert browser.run("return document.activeElement.id") == "main"
    browser.keys("g", "w")
    browser.wait_text("Workers", "main h1")

    browser.keys("/")
    assert browser.run("return document.activeElement.id") == "find"
    browser.keys("order-77", Keys.ENTER)
    browser.wait_text("order-77", "main h1")
    browser.keys("?")
    browser.wait_text("go to a task", "dialog")
    browser.keys(Keys.ESCAPE)
    browser.wait(lambda: browser.count("dialog") == 0, "the end of the dialog")

    browser.load("topics")
    browser.keys(Keys.TAB)
    assert browser.text(":focus") == "Skip to the page"
    browser.keys(Keys.ENTER)
    assert browser.run("return document.activeElement.id") == "main"
    browser.keys(Keys.TAB)
    style = browser.run("return getComputedStyle(document.activeElement).outlineStyle")
    assert style == "solid", "where the keys are is seen"


def test_theme_is_switched_and_kept(house: House, browser: Browser) -> None:
    browser.click("#theme")
    dark = "return document.documentElement.dataset.theme"
    assert browser.run(dark) == "dark"
    browser.load()
    assert browser.run(dark) == "dark"
    browser.click("#theme")
    assert browser.run(dark) == "light"


def test_nothing_moves_for_those_who_do_not_want_it(house: House, browser: Browser) -> None:
    moving = """
        const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
        path.setAttribute("class", "drops");
        const edge = document.createElementNS("http://www.w3.org/2000/svg", "g");
        edge.setAttribute("class", "edge is-live");
        edge.append(path);
        document.body.append(edge);
        const name = getComputedStyle(path).animationName;
        edge.remove();
        return name;"""
    assert browser.run(moving) == "flow"
    browser.emulate(motion="reduce")
    assert browser.run(moving) == "none"


def test_strangers_text_is_shown_as_text(house: House, browser: Browser) -> None:
    shown = {
        "queues": STRANGE_QUEUE,
        "tasks/strange-1": "<img src=x onerror=",
        "tasks?state=any&queue=" + _quoted(STRANGE_QUEUE): "<b>key</b>",
    }
    for route, text in {**shown, f"queues/{_quoted(STRANGE_QUEUE)}": STRANGE_QUEUE, "dead": "<img"}.items():
        browser.go(route)
        browser.wait_text(text)
        assert browser.count("main img, main b i, [onerror]") == 0
    assert browser.run("return document.title") != "owned"


def _quoted(text: str) -> str:
    from urllib.parse import quote

    return quote(text, safe="")


def test_policy_of_the_page_keeps_foreign_scripts_out(house: House, browser: Browser) -> None:
    browser.run("""
        const inline = document.createElement("script");
        inline.textContent = "document.title = 'owned'";
        document.body.append(inline);
        const image = document.createElement("img");
        image.src = "http://192.0.2.1/pixel.png";
        document.body.append(image);""")

    def has_complained() -> bool:
        browser.read_logs()
        return len(browser.complaints) >= 2

    browser.wait(has_complained, "two complaints")
    assert all("Content Security Policy" in one for one in browser.complaints)
    assert browser.run("return document.title") != "owned"
    browser.complaints.clear()
    browser.requested[:] = [url for url in browser.requested if "192.0.2.1" not in url]  # refused before it was sent


def test_events_are_told_as_they_happen_and_held_on_request(house: House, browser: Browser) -> None:
    browser.go("events")
    house.client.submit("told", 1, id="told-1")
    browser.wait_text("told-1", ".tail")
    browser.button("Pause")
    house.client.submit("told", 2, id="told-2")
    browser.wait_text("new)", "main .head")
    assert "told-2" not in browser.text(".tail")
    browser.run(
        "[...document.querySelectorAll('main button')].find((one) => one.innerText.startsWith('Go on')).click()"
    )
    browser.wait_text("told-2", ".tail")


def test_who_may_only_look_sees_no_button_that_changes_something(house: House, browser: Browser) -> None:
    writing = browser.root
    browser.root = house.start_dashboard_beside("--read-only")
    try:
        for route in ("queues", "queues/bake", "workers", "dead", "schedules", "tasks?state=any"):
            browser.go(route)
            browser.wait(lambda: browser.run(f"return {STILL}"), "the end of loading")
            browser.wait_text("read-only", ".top")
            buttons = browser.run("return [...document.querySelectorAll('main button')].map((one) => one.innerText)")
            assert not {"Pause", "Purge", "Drain", "Stop", "Replay", "Run now", "Delete", "Change"} & set(buttons)
    finally:
        browser.root = writing
