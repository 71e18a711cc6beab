"""The page in a real browser: nothing goes wrong, nothing is fetched, pointing and choosing do what they promise."""

import re
import shutil

import pytest
from simulated_study import GROUPS, simulate, write_answers

import analysis.inference.sensitivity as sensitivity
import analysis.report.write as report
from analysis.figures.theme import RC
from analysis.report.parts import Chapter, Widget
from analysis.scores.benchmarks import Benchmarks
from plw.files.writing import write_json_atomic
from plw.registry.owner import Owner
from plw.registry.rows import StageKey
from plw.registry.store import Registry

pytestmark = pytest.mark.chromium

HOSTILE = "<script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\"> & </script> done"
PROMPTS = [(f"Question {i} {HOSTILE}", HOSTILE if i == 1 else "") for i in range(12)]
WEIGHTS = (0.0, 0.01, 0.1, 1.0)
SURFACE = {
    "title": "all benchmarks", "weights": [0.0, 0.5, 1.0], "ratios": [0.5, 4.0, 8.0],
    "exponent": 0.30103, "weight_ticks": [0.0, 0.25, 1.0], "ratio_ticks": [0.7, 4, 8],
    "values": [[0.1, 0.2, 0.3], [0.4, 0.555, 0.6], [0.7, None, 0.9]],
    "se": [[0.01] * 3, [0.01, 0.022, 0.01], [None] * 3],
}  # fmt: skip
WIDTHS = (390, 1400)


@pytest.fixture(scope="module")
def browser():
    """Chromium, driven by Playwright."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: pip install playwright"
    )
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("chromium is not installed: apt-get install chromium fonts-dejavu-core")
    with playwright.sync_playwright() as driver:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        started = driver.chromium.launch(executable_path=path, args=arguments)
        yield started
        started.close()


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    """Address of a report of 16 cells with a hole, a failed stage, hostile names and answers, and a surface."""
    folder = tmp_path_factory.mktemp("page")
    registry_url, runs = simulate(
        folder, weights=WEIGHTS, datasets=("short", f"{HOSTILE}-data"),
        skip=lambda cell, benchmark: benchmark == "pandalm" and cell.prompt_weight == 0.1 and cell.model == "deep",
    )  # fmt: skip
    write_answers(
        registry_url, runs, PROMPTS, lambda cell, i: f"{HOSTILE} answer {i} at {cell.prompt_weight:g}",
        lambda cell, i: float(cell.prompt_weight == 0 and i < 3),
    )  # fmt: skip
    with Registry.open(registry_url) as registry:
        for cell in registry.cells():
            rows = [{"instruction": "Say why.", "input": "", "output": "So.", "tokens": 1, "finished": True}]
            write_json_atomic(runs / cell.folder / "generate-world" / "unjudged.json", rows)
        key, owner = StageKey(study="plw", scale="mini", cell=registry.cells()[0].cell, name="judge"), Owner.here()
        registry.claim(key, kind="judge", fingerprint="x", owner=owner, lease_timeout_s=60, now=1.0)
        registry.fail(key, owner.token, f"the judge said {HOSTILE}", "Traceback", now=2.0)
    widget = Widget(key="surface", title="Surface", caption="", data=[SURFACE])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sensitivity, "SQUEEZES", {sensitivity.BASELINE: sensitivity.squeeze})
        patch.setattr(report, "FIGURE_FORMATS", ("png",))
        patch.setitem(RC, "savefig.dpi", 40)
        chapter = Chapter(key="fitted", title="Ratio", makers=[lambda material: [widget]])
        patch.setattr(report, "CHAPTERS", (*report.CHAPTERS, chapter))
        info = {name: {"task": name, "shots": 0, "metric": "acc"} for name in GROUPS}
        page = report.write_report(
            registry_url,
            runs,
            folder / "report",
            study="plw",
            scale="mini",
            configured=lambda name: Benchmarks(groups=GROUPS, info=info),
        )
    return page.as_uri()


@pytest.fixture
def open_page(browser, url):
    """Open the page at a width; afterwards nothing was logged, fetched or run that is not the page's own."""
    contexts, said, asked = [], [], []

    def make(width=1400, **options):
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(url)
        # Charts are drawn once their width is known, a frame after the script has run.
        page.wait_for_function("[...document.querySelectorAll('.plot')].every((area) => area.querySelector('svg'))")
        return page

    yield make
    titles = [page.title() for context in contexts for page in context.pages]
    for context in contexts:
        context.close()
    assert said == []
    assert [address for address in asked if not address.startswith("data:")] == [url] * len(contexts)
    assert set(titles) == {"Study plw at scale mini"}


def _bring(page, part):
    """Scroll to a part and let the scrolling end: it hides the tip, and its event comes with the next frame."""
    part.scroll_into_view_if_needed()
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done))))")


def _point(page, widget, number=0, chart=0):
    """Move the pointer onto a mark of a chart and read the tip."""
    mark = page.locator(f"[data-widget={widget}] svg.chart").nth(chart).locator(".mark").nth(number)
    _bring(page, mark)
    box = mark.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    return page.locator("#tip").inner_text()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everything_is_drawn_at_a_phones_and_a_desks_width(open_page, width, scheme):
    page = open_page(width, color_scheme=scheme)
    widgets = page.locator("[data-widget]")
    assert widgets.count() == 7
    for widget in widgets.all():
        assert widget.locator("svg.chart, table, article").count() > 0
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for chart in page.locator("svg.chart").all():
        box = chart.bounding_box()
        assert box["x"] + box["width"] <= width
    assert page.evaluate("document.querySelectorAll('script').length") == 2


def test_pointing_tells_value_standard_error_and_n(open_page):
    page = open_page()
    score = page.evaluate("""() => {
      const { widgets, study } = JSON.parse(document.getElementById("page-data").textContent);
      return widgets.benchmarks.points.find(([benchmark]) => benchmark === 0);
    }""")
    tip = _point(page, "benchmarks")
    shown = float(re.search(r"win_rate: ([\d.]+)", tip)[1])
    assert shown == pytest.approx(score[2], rel=1e-3)
    assert f"standard error {score[3]:g}" in tip
    assert f"n {score[4]}" in tip
    assert "relative aggregate" in _point(page, "scores")
    assert "95% bootstrap interval" in page.locator("#tip").inner_text()
    page.mouse.move(2, 2)
    assert page.locator("#tip").is_hidden()


def test_the_keyboard_goes_through_a_chart_and_the_grid(open_page):
    page = open_page()
    _bring(page, page.locator("[data-widget=scores] svg.chart"))
    page.locator("[data-widget=scores] svg.chart").focus()
    page.keyboard.press("ArrowRight")
    assert "PLW 0\n" in page.locator("#tip").inner_text()
    page.keyboard.press("End")
    assert "PLW 1\n" in page.locator("#tip").inner_text()
    page.keyboard.press("Escape")
    assert page.locator("#tip").is_hidden()
    page.locator("[data-widget=grid] button[tabindex='0']").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    assert "wide · PLW 0.01" in page.locator("[data-widget=grid] .detail").inner_text()


def test_the_grid_tells_failures_and_holes(open_page):
    page = open_page()
    grid = page.locator("[data-widget=grid]")
    assert grid.locator("button.failed").count() == 1
    assert grid.locator("button.partial").count() == 2
    assert grid.locator("button.complete").count() == 13
    _bring(page, grid.locator("button.failed"))
    grid.locator("button.failed").hover()
    assert "judge failed: the judge said <script>" in page.locator("#tip").inner_text()
    grid.locator("button.failed").click()
    assert HOSTILE in grid.locator(".detail").inner_text()
    grid.locator("button.partial").first.click()
    assert "Lacks pandalm." in grid.locator(".detail").inner_text()


def test_the_filter_leaves_what_is_chosen(open_page):
    page = open_page()

    def marks():
        return page.locator("[data-widget=scores] .mark").count(), page.locator("[data-widget=mechanism] .mark").count()

    assert marks() == (8, 4 * 16)
    page.locator("#filter button", has_text="short").click()
    assert marks() == (4, 4 * 8)
    assert page.locator("[data-widget=grid] tbody tr").count() == 2
    page.locator("#filter select").select_option(label="deep")
    # One of deep's four cells of the dataset lacks a benchmark, so that it has no aggregate.
    assert marks() == (3, 4 * 4)
    page.locator("[data-widget=scores] select").first.select_option("simple")
    assert "simple aggregate" in _point(page, "scores")
    page.locator("#filter button", has_text="-data").click()
    assert marks() == (0, 0)
    assert "No complete cell" in page.locator("[data-widget=scores]").inner_text()


def test_answers_of_two_cells_stand_side_by_side_as_text(open_page):
    page = open_page()
    answers = page.locator("[data-widget=generations]")
    assert answers.locator("article").count() == 8
    first = answers.locator("article").first
    assert [f"{HOSTILE} answer 0 at {weight}" for weight in ("0", "1")] == first.locator("p.text").all_inner_texts()
    assert first.locator("mark").all_inner_texts() == ["0", "1"]
    assert "wins against the reference" in first.inner_text()
    assert "loses against the reference" in first.inner_text()
    first.locator("summary").first.click()
    assert "reply 0" in first.inner_text()
    answers.get_by_role("button", name="Next").click()
    assert answers.locator("article").count() == 4
    answers.get_by_label("Show").select_option("better")
    assert answers.locator("article").count() == 3
    answers.get_by_label("Show").select_option("all")
    answers.get_by_label("With the words").fill("question 11 ")
    assert answers.locator("article").count() == 1
    assert page.locator("img[src='x']").count() == 0


def test_answers_that_no_judge_saw_have_no_choice_of_verdicts(open_page):
    page = open_page()
    answers = page.locator("[data-widget=generations]")
    assert answers.get_by_label("Show").count() == 1
    answers.get_by_label("Benchmark").select_option(label="unjudged")
    assert answers.locator("article").count() == 1
    assert answers.get_by_label("Show").count() == 0
    assert "null" not in answers.inner_text()


def test_curves_follow_the_cells_chosen_and_leave_out_what_is_not_known(open_page):
    page = open_page()
    curves = page.locator("[data-widget=curves]")
    lines = [chart.locator(".line") for chart in curves.locator("svg.chart").all()]
    assert [line.count() for line in lines] == [4, 4, 4]
    empty = [line.get_attribute("d") == "" for line in lines[1].all()]
    assert empty == [True, False, False, False], "the prompt loss at PLW 0 is not known"
    curves.locator("button.toggle").last.click()
    assert [line.count() for line in lines] == [3, 3, 3]
    options = curves.get_by_label("Dashed lines").locator("option").count()
    curves.get_by_label("Dashed lines").select_option(index=options - 1)
    assert [line.count() for line in lines] == [6, 6, 6]


def test_the_surface_tells_the_place_pointed_at(open_page):
    page = open_page()
    surface = page.locator("[data-widget=surface] svg.chart")
    _bring(page, surface)
    box = surface.bounding_box()
    page.mouse.move(box["x"] + (54 + box["width"] - 12) / 2, box["y"] + (40 + box["height"] - 42) / 2)
    tip = page.locator("#tip").inner_text()
    assert "PLW 0.5, R_g 4" in tip
    assert "score 0.555" in tip
    assert "standard error 0.022" in tip
    ticks = surface.locator("text.tick").all_text_contents()
    assert ticks[:6] == ["0", "0.25", "1", "0.7", "4", "8"]
