import itertools
import re

import pytest
from playwright.sync_api import Locator, Page, expect

from sync.record import Judgement, Verdict
from tests.browser.conftest import Heard
from tests.support.console_process import ConsoleProcess
from tests.support.fake_box import SCRATCH, FakeBox, alarm_view, all_ok, camera_view, tag_view
from tests.support.waiting import wait_until
from ui.backend import CameraState

pytestmark = pytest.mark.browser

TARGET_PX = 84
"""22 mm at 96 dpi."""
APART_PX = 49
"""13 mm at 96 dpi."""
SIZES = [(1280, 800), (1920, 1080), (412, 915)]

CUT_TEXTS = """() => [...document.querySelectorAll(
    '.fact dd, .word, .detail, .lamp span, .alarm-text, .tag-value, button span')]
    .filter(one => one.scrollWidth > one.clientWidth + 1)
    .filter(one => getComputedStyle(one).display !== 'inline')
    .map(one => one.textContent)"""


PLACES = """() => [...document.querySelectorAll('.page .panel')].map(one => {
    const {x, y, width, height} = one.getBoundingClientRect();
    return [one.ariaLabel, x, y, width, height];
})"""


def verdict(page: Page) -> Locator:
    return page.get_by_role("status", name="Verdict")


def shape(inside: Locator) -> str:
    """How the sign is drawn: the first path of its drawing."""
    return inside.locator("svg.shape path").first.get_attribute("d") or ""


def shows(page: Page, word: str) -> None:
    expect(verdict(page).get_by_role("heading", name=word, exact=True)).to_be_visible()


# --- the verdict ------------------------------------------------------------------------------------------


def test_every_state_of_the_line_has_a_word_a_shape_and_a_colour_of_its_own(page: Page, box: FakeBox) -> None:
    looks = set()
    for number, given in enumerate((Verdict.OK, Verdict.CHECK, Verdict.NG), start=20):
        box.change_camera(verdict=given, preview=number)
        shows(page, given.value)
        looks.add((shape(verdict(page)), background(verdict(page))))
    box.change_camera(state=CameraState.GONE, verdict=None, preview=0)
    shows(page, "NOT INSPECTING")
    looks.add((shape(verdict(page)), background(verdict(page))))
    box.stop()
    shows(page, "BOX NOT ANSWERING")
    assert len({drawn for drawn, _ in looks}) == 4
    assert len({colour for _, colour in looks}) == 4
    assert shape(verdict(page)) not in {drawn for drawn, _ in looks}


def background(of: Locator) -> str:
    look = "one => getComputedStyle(one).backgroundColor + getComputedStyle(one).backgroundImage"
    return str(of.evaluate(look))


def test_the_word_of_the_verdict_is_tall_enough_for_five_metres(page: Page, box: FakeBox) -> None:
    # 20 mm of letter are 14 minutes of arc at 5 m; a capital is 0.7 of its font size, a pixel 25.4 / 96 mm
    for given in (Verdict.OK, Verdict.NG, Verdict.CHECK):
        box.change_camera(verdict=given, preview=30)
        shows(page, given.value)
        size = verdict(page).locator(".word").evaluate("one => parseFloat(getComputedStyle(one).fontSize)")
        assert size * 0.7 * 25.4 / 96 > 17, given


def test_what_was_found_is_named_and_marked_on_the_picture(page: Page, box: FakeBox) -> None:
    box.change_camera(verdict=Verdict.NG, found=(SCRATCH,), preview=40)
    expect(verdict(page)).to_contain_text("scratch · top")
    expect(page.locator(".mark-text")).to_have_text("scratch 87 %")
    picture = page.get_by_alt_text("Live picture of camera top").bounding_box()
    marked = page.locator(".marks .edge").bounding_box()
    assert picture is not None
    assert marked is not None
    assert marked["x"] - picture["x"] == pytest.approx(SCRATCH.x * picture["width"], abs=4)
    assert marked["y"] - picture["y"] == pytest.approx(SCRATCH.y * picture["height"], abs=4)


def test_the_picture_keeps_its_proportions(page: Page) -> None:
    picture = page.get_by_alt_text("Live picture of camera top").bounding_box()
    assert picture is not None
    assert picture["width"] / picture["height"] == pytest.approx(1280 / 1024, rel=0.01)


# --- cameras ----------------------------------------------------------------------------------------------


def test_a_camera_that_is_gone_is_a_labelled_tile_without_a_picture(page: Page, box: FakeBox) -> None:
    box.change_camera(state=CameraState.GONE, verdict=None, preview=0, detail="No answer from 10.0.0.7")
    tile = page.get_by_role("region", name="Camera top")
    expect(tile.get_by_text("CAMERA GONE")).to_be_visible()
    expect(tile.get_by_text(re.compile(r"no picture for \d+ s\. No answer from 10\.0\.0\.7"))).to_be_visible()
    expect(tile.locator("img")).to_have_count(0)
    box.change_camera(state=CameraState.INSPECTING, verdict=Verdict.OK, preview=50)
    expect(page.get_by_alt_text("Live picture of camera top")).to_be_visible()
    expect(tile.get_by_text("CAMERA GONE")).to_be_hidden()


def test_a_camera_that_starts_is_not_inspecting_yet(page: Page, box: FakeBox) -> None:
    box.change_camera(state=CameraState.STARTING, verdict=None, preview=0)
    shows(page, "NOT INSPECTING")
    expect(verdict(page)).to_contain_text("Camera top is starting")
    expect(page.get_by_text("CAMERA STARTING")).to_be_visible()


def test_one_blind_camera_of_two_is_not_inspecting_and_each_has_its_tile(page: Page, box: FakeBox) -> None:
    gone = camera_view("bottom", state=CameraState.GONE, verdict=None, preview=0)
    box.change(cameras=(camera_view("top"), gone))
    shows(page, "NOT INSPECTING")
    expect(verdict(page)).to_contain_text("Camera bottom is not inspecting")
    expect(page.get_by_alt_text("Live picture of camera top")).to_be_visible()
    expect(page.get_by_role("region", name="Camera bottom").get_by_text("CAMERA GONE")).to_be_visible()


# --- the job, the values, the box -------------------------------------------------------------------------


def test_lot_position_speed_recipe_and_model_are_on_the_page(page: Page) -> None:
    bar = page.get_by_role("region", name="Job")
    for text in ("C-4711", "1,234.56 m", "61.40 m/min", "default", "demo 1.0.0"):
        expect(bar.get_by_text(text)).to_be_visible()


def test_a_stale_value_is_marked_with_its_age(page: Page, box: FakeBox) -> None:
    box.change(tags=(tag_view("mill_load", 8123.0, "kN", stale=True, age_seconds=95.0),))
    values = page.get_by_role("region", name="Process values")
    expect(values.get_by_text("STALE · 1 min ago")).to_be_visible()
    expect(values.get_by_text("8,123.0 kN").filter(visible=True)).to_be_visible()


def test_link_and_log_say_how_they_are(page: Page, box: FakeBox) -> None:
    status = page.get_by_role("region", name="State of the box")
    expect(status).to_contain_text("Receiver connected · 12 records waiting · receipt 3 s ago")
    expect(status).to_contain_text("Log is writing · record 1,042")
    link = box.view.link.model_copy(
        update={"connected": False, "backlog_records": 1, "last_receipt_age_seconds": None}
    )
    box.change(link=link, log=box.view.log.model_copy(update={"writable": False, "detail": "No space left"}))
    expect(status).to_contain_text("Receiver not connected · 1 record waiting · no receipt yet")
    expect(page.get_by_role("alert")).to_contain_text(
        "The log takes no records: nothing is being kept. No space left"
    )


def test_a_box_without_a_receiver_says_that_its_records_stay(page: Page, box: FakeBox) -> None:
    box.change(link=box.view.link.model_copy(update={"configured": False, "connected": False}))
    expect(page.get_by_text("No receiver configured: records stay on this box")).to_be_visible()


def test_a_box_that_dies_is_said_within_two_seconds_and_recovers_by_itself(page: Page, box: FakeBox) -> None:
    box.stop()
    expect(verdict(page)).to_contain_text("BOX NOT ANSWERING", timeout=2000)
    expect(page.get_by_role("alert")).to_contain_text("The box has not answered for")
    expect(page.get_by_role("region", name="Camera top").locator("img")).to_have_count(0)
    expect(page.get_by_role("button", name="Missed defect, camera top")).to_be_disabled()
    expect(page.get_by_role("region", name="Job").get_by_text("C-4711")).to_have_count(0)
    box.start()
    shows(page, "OK")
    expect(page.get_by_role("alert")).to_be_hidden()
    expect(page.get_by_alt_text("Live picture of camera top")).to_be_visible()


# --- what the operator does -------------------------------------------------------------------------------


def test_an_alarm_says_what_to_do_and_is_acknowledged_in_one_tap(page: Page, box: FakeBox) -> None:
    box.change(alarms=(alarm_view(5, "low"), alarm_view(6, "high", text="Roll coolant is too warm")))
    alarms = page.get_by_role("region", name="Alarms")
    first = alarms.get_by_role("listitem").first
    for text in ("HIGH", "Roll coolant is too warm", "Check the OPC UA server", "1 min ago"):
        expect(first).to_contain_text(text)
    settle(page, alarms.get_by_role("listitem"), 2)
    alarms.get_by_role("button", name="Acknowledge: Roll coolant is too warm").tap()
    expect(alarms.get_by_role("button", name="Seen by unnamed")).to_be_disabled()
    assert [(one.raised_seq, one.by) for one in box.acknowledged] == [(6, "unnamed")]


def test_real_or_false_is_one_tap_and_the_other_button_takes_it_back(page: Page, box: FakeBox) -> None:
    seq = box.inspect(60, label="pinhole")
    name = re.compile("pinhole")
    real = page.get_by_role("button", name=name).and_(page.locator("[data-judgement=real]")).first
    false = page.get_by_role("button", name=name).and_(page.locator("[data-judgement=false]")).first
    expect(real).to_be_visible()
    tap_until_done(real, box, 1)
    expect(real).to_have_attribute("aria-pressed", "true")
    tap_until_done(false, box, 2)
    expect(false).to_have_attribute("aria-pressed", "true")
    expect(real).to_have_attribute("aria-pressed", "false")
    expect(page.get_by_role("listitem", name=name).first).to_contain_text("by unnamed")
    judged = [(one.judgement, one.inspection_seq, one.camera) for one in box.judged]
    assert judged == [(Judgement.REAL, seq, "top"), (Judgement.FALSE, seq, "top")]


def test_the_last_defects_show_their_marked_picture_place_and_time(page: Page, box: FakeBox) -> None:
    box.inspect(61, label="edge_crack")
    card = page.get_by_role("listitem", name=re.compile("edge crack")).first
    expect(card.get_by_alt_text("edge crack, marked on the picture")).to_be_visible()
    wait_until(
        lambda: bool(card.locator("img").evaluate("one => one.complete && one.naturalWidth === 288")),
        "the thumbnail is loaded",
    )
    expect(card).to_contain_text("10.37 m")
    expect(card).to_contain_text(re.compile(r"\d\d:\d\d:\d\d"))


def test_a_missed_defect_is_one_tap_at_its_camera(page: Page, box: FakeBox) -> None:
    page.get_by_role("button", name="Missed defect, camera top").tap()
    expect(page.get_by_text(re.compile(r"Recorded as missed \(record [\d,]+\)"))).to_be_visible()
    assert [(one.judgement, one.inspection_seq, one.camera) for one in box.judged] == [
        (Judgement.MISSED, None, "top")
    ]


def test_a_refused_command_says_why(page: Page, box: FakeBox) -> None:
    box.refuse = "The log is full; delete nothing, call the plant's IT"
    page.get_by_role("button", name="Missed defect, camera top").tap()
    expect(page.get_by_text(f"Not done. {box.refuse}")).to_be_visible()


def test_the_operator_s_name_goes_with_what_they_do_and_outlives_a_reload(page: Page, box: FakeBox) -> None:
    page.get_by_role("button", name="Operator: unnamed").tap()
    page.get_by_label("Name or badge number").fill("  M.   Weber ")
    page.get_by_role("button", name="Use this name").tap()
    expect(page.get_by_role("button", name="Operator: M. Weber")).to_be_visible()
    page.reload()
    expect(page.get_by_role("button", name="Operator: M. Weber")).to_be_visible()
    page.get_by_role("button", name="Missed defect, camera top").tap()
    wait_until(lambda: [one.by for one in box.judged] == ["M. Weber"], "the judgement carries the name")


def test_everything_can_be_done_with_the_keyboard(page: Page, box: FakeBox) -> None:
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.getAttribute('aria-label')") == "Missed defect, camera top":
            break
    page.keyboard.press("Enter")
    wait_until(lambda: len(box.judged) == 1, "the key press became a judgement")


# --- the page itself --------------------------------------------------------------------------------------


def test_the_page_asks_nobody_but_its_console_and_the_browser_has_no_complaint(
    page: Page, box: FakeBox, console: ConsoleProcess, heard: Heard
) -> None:
    for number in range(70, 75):
        box.change_camera(verdict=Verdict.NG, found=(SCRATCH,), preview=number)
        expect(page.get_by_alt_text("Live picture of camera top")).to_have_attribute(
            "src", f"/preview/top.jpg?n={number}"
        )
    foreign = [url for url in heard.urls if not url.startswith((console.url, "data:", "blob:"))]
    assert foreign == []
    assert len(heard.urls) > 20
    assert heard.complaints == []


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_every_button_is_22_mm_and_13_mm_from_the_next(
    page: Page, box: FakeBox, size: tuple[int, int]
) -> None:
    page.set_viewport_size({"width": size[0], "height": size[1]})
    box.change(alarms=tuple(alarm_view(number) for number in range(1, 5)))
    expect(page.get_by_role("button", name=re.compile("Acknowledge"))).to_have_count(4)
    places = []
    for button in page.get_by_role("button").all():
        place = button.bounding_box()
        assert place is not None
        name = button.get_attribute("aria-label")
        assert place["width"] >= TARGET_PX, name
        assert place["height"] >= TARGET_PX, name
        places.append(
            (name, place["x"], place["y"], place["x"] + place["width"], place["y"] + place["height"])
        )
    for one, other in itertools.combinations(places, 2):
        between_x = max(one[1], other[1]) - min(one[3], other[3])
        between_y = max(one[2], other[2]) - min(one[4], other[4])
        assert max(between_x, between_y) >= APART_PX or hidden_below(page, one, other), (one, other)


def hidden_below(page: Page, *places: tuple[str | None, float, float, float, float]) -> bool:
    """One of the two is scrolled out of its list, where no finger reaches it."""
    reached = (
        "([x, y]) => document.elementFromPoint(x, y)?.closest('button')?.getAttribute('aria-label') ?? null"
    )
    return any(
        page.evaluate(reached, [(left + right) / 2, (top + bottom) / 2]) != name
        for name, left, top, right, bottom in places
    )


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_nothing_sticks_out_and_no_important_text_is_cut(
    page: Page, box: FakeBox, size: tuple[int, int]
) -> None:
    page.set_viewport_size({"width": size[0], "height": size[1]})
    box.change(lot="COIL-2026-11-0004711-B", model="surface-alu-rolled 1.12.0-rc3", alarms=(alarm_view(1),))
    box.change_camera(verdict=Verdict.CHECK, found=(SCRATCH,), preview=80)
    shows(page, "CHECK")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    if size[0] > 900:
        assert page.evaluate("document.documentElement.scrollHeight <= innerHeight")
    assert page.evaluate(CUT_TEXTS) == []


@pytest.mark.parametrize("size", SIZES[:2], ids=str)
def test_nothing_moves_when_the_numbers_grow(page: Page, box: FakeBox, size: tuple[int, int]) -> None:
    page.set_viewport_size({"width": size[0], "height": size[1]})
    box.change_camera(seen=9, inspected=8, dropped=1)
    status = page.get_by_role("region", name="State of the box")
    expect(status).to_contain_text("8 of 9 inspected · 1 dropped")
    before = page.evaluate(PLACES)
    box.change(
        link=box.view.link.model_copy(update={"connected": False, "backlog_records": 88_888_888}),
        log=box.view.log.model_copy(update={"seq": 888_888_888}),
    )
    box.change_camera(seen=888_888_888, inspected=880_000_000, dropped=8_888_888, frames_per_second=188.8)
    expect(status).to_contain_text("880,000,000 of 888,888,888 inspected · 8,888,888 dropped")
    expect(page.get_by_text("188.8 frames/s")).to_be_visible()
    assert page.evaluate(PLACES) == before
    assert len(before) == 7


@pytest.mark.parametrize("size", SIZES[:2], ids=str)
def test_five_process_values_are_seen_beside_two_alarms(
    page: Page, box: FakeBox, size: tuple[int, int]
) -> None:
    page.set_viewport_size({"width": size[0], "height": size[1]})
    box.change(alarms=(alarm_view(1), alarm_view(2)))
    expect(page.get_by_role("button", name=re.compile("Acknowledge"))).to_have_count(2)
    values = page.locator(".tags .rows")
    assert values.evaluate("one => one.scrollHeight <= one.clientHeight")
    box.change(tags=tuple(tag_view(f"value_{number}", 1.0, "m") for number in range(14)))
    expect(page.locator(".tags .head")).to_have_text("Process values14")
    assert values.evaluate("one => one.scrollHeight > one.clientHeight")


def test_the_tile_says_what_belongs_to_its_picture_while_the_large_sign_is_held(
    page: Page, box: FakeBox
) -> None:
    box.change_camera(verdict=Verdict.NG, preview_verdict=Verdict.OK, found=(), preview=95)
    shows(page, "NG")
    tile = page.get_by_role("region", name="Camera top")
    expect(tile.locator(".tile-verdict")).to_have_text("OK")
    box.change_camera(verdict=Verdict.OK, preview_verdict=Verdict.NG, found=(SCRATCH,), preview=96)
    expect(tile.locator(".tile-verdict")).to_have_text("NG")


def test_an_alarm_that_came_again_says_how_often(page: Page, box: FakeBox) -> None:
    box.change(alarms=(alarm_view(1), alarm_view(2, times=3)))
    ages = page.locator(".alarm-head .quiet")
    expect(ages).to_have_text(["1 min ago ×3", "1 min ago"])


def test_the_field_for_the_name_has_one_frame(page: Page) -> None:
    page.get_by_role("button", name="Operator: unnamed").tap()
    field = page.get_by_label("Name or badge number")
    expect(field).to_be_focused()
    frames = page.locator(".who .q-field__control").evaluate(
        """one => ['::before', '::after'].map(part => parseFloat(getComputedStyle(one, part).height))
            .concat(one.clientHeight)"""
    )
    assert max(frames) - min(frames) < 1
    assert field.evaluate("one => getComputedStyle(one).outlineStyle") == "none"


def test_text_from_the_plant_is_shown_as_text(page: Page, box: FakeBox) -> None:
    evil = "<img src=x onerror=alert(1)> & {{ 7*7 }} `${8*8}`"
    box.change(
        lot=evil,
        alarms=(alarm_view(1, text=evil, action=evil),),
        tags=(tag_view(evil, evil, evil),),
        cameras=(
            camera_view("top", detail=evil, found=(SCRATCH.model_copy(update={"label": evil}),), preview=90),
        ),
    )
    expect(page.get_by_role("region", name="Job").get_by_text(evil)).to_be_visible()
    expect(page.locator(".mark-text")).to_contain_text(evil)
    expect(page.get_by_role("region", name="Alarms").locator("strong")).to_have_text(evil)
    assert page.locator("img[src=x]").count() == 0


def test_the_page_names_its_language_and_its_parts(page: Page) -> None:
    assert (page.locator("html").get_attribute("lang") or "").startswith("en")
    for name in ("Camera top", "Alarms", "Process values", "Last defects"):
        expect(page.get_by_role("region", name=name)).to_be_visible()
    expect(page.get_by_role("main")).to_be_visible()


def test_a_console_that_dies_covers_the_page_and_recovers_by_itself(
    page: Page, box: FakeBox, console: ConsoleProcess
) -> None:
    assert box.view == all_ok()
    console.kill()
    expect(page.get_by_text("SCREEN NOT CONNECTED")).to_be_visible(timeout=4000)
    console.start()
    expect(page.get_by_text("SCREEN NOT CONNECTED")).to_be_hidden(timeout=30_000)
    shows(page, "OK")


def settle(page: Page, items: Locator, count: int) -> None:
    """Wait until a list has stood still for as long as the page asks a finger to wait."""
    expect(items).to_have_count(count)
    page.wait_for_function("began => performance.now() - began > 600", arg=page.evaluate("performance.now()"))


def tap_until_done(button: Locator, box: FakeBox, judged: int) -> None:
    """Tap; a tap on a list that has just moved is not taken, and the page says to tap again."""

    def done() -> bool:
        if len(box.judged) < judged:
            button.tap()
            button.page.wait_for_function("() => true")
        return len(box.judged) >= judged

    wait_until(done, f"{judged} judgements arrived")
