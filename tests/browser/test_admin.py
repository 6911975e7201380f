"""The admin as a person sees it: wide and narrow, light and dark, English and Korean."""

import os
from pathlib import Path

import pytest
from django.test import Client

from numflow_django.execution import runner
from numflow_django.models import FeatureRun, TaskExecution

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True, databases=["default", "other"])]

SIZES = {"wide": {"width": 1280, "height": 900}, "narrow": {"width": 390, "height": 844}}
LANGUAGES = {"en": ("Steps and async tasks", "failed"), "ko": ("단계와 비동기 작업", "실패")}


@pytest.fixture
def failed_run() -> FeatureRun:
    """A run whose second task failed."""
    Client().post("/buy/", {"item": "bad luck"}, content_type="application/json")
    run = FeatureRun.objects.get()
    runner.run(run.pk, 1, worker="browser")
    return run


@pytest.fixture(params=[(size, scheme, lang) for size in SIZES for scheme in ("light", "dark") for lang in LANGUAGES])
def page(request, chromium, live_server, admin_user):
    """A page of a browser that is logged in to the admin."""
    size, scheme, language = request.param
    client = Client()
    client.force_login(admin_user)
    context = chromium.new_context(
        base_url=live_server.url,
        viewport=SIZES[size],
        color_scheme=scheme,
        locale={"en": "en-US", "ko": "ko-KR"}[language],
        extra_http_headers={"Accept-Language": language},
    )
    context.add_cookies([{"name": "sessionid", "value": client.cookies["sessionid"].value, "url": live_server.url}])
    page = context.new_page()
    page.name, page.language = f"{size}-{scheme}-{language}", language
    page.problems = []
    page.route("**/favicon.ico", lambda route: route.fulfill(status=204))
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.on("console", lambda message: page.problems.append(message.text) if message.type == "error" else None)
    yield page
    context.close()


def picture(page, name: str) -> None:
    """Keep a screenshot if somebody wants to look."""
    folder = os.environ.get("SCREENSHOTS")
    if folder:
        page.screenshot(path=Path(folder) / f"{name}-{page.name}.png", full_page=True)


def test_the_run_is_one_page(page, failed_run):
    """A run's page shows its steps, its tasks and why it failed, in the reader's language, and fits the window."""
    heading, failed = LANGUAGES[page.language]

    page.goto(f"/admin/numflow_django/featurerun/{failed_run.pk}/change/")

    picture(page, "run")
    text = page.inner_text("#content")
    assert heading in text
    timeline = page.locator(".numflow-timeline li").all_inner_texts()
    assert [line.split()[0] for line in timeline] == ["100", "200", "300", "COMMIT", "mail", "notify", "publish"]
    assert failed in timeline[5]
    assert "1 of 3 tasks failed: notify" in text
    assert "the gateway is down" in text
    assert "hunter2" not in page.content()
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert page.problems == []


def test_the_lists_show_runs_and_task_log(page, failed_run):
    """The lists of runs and of the task log show the run and its three executions."""
    page.goto("/admin/numflow_django/featurerun/")
    picture(page, "runs")
    assert "market.buy" in page.inner_text("#result_list")

    page.goto("/admin/numflow_django/taskexecution/")
    picture(page, "log")
    assert page.locator("#result_list tbody tr").count() == TaskExecution.objects.count() == 3
    assert page.problems == []


def test_the_failed_task_is_run_again(page, failed_run):
    """D4: a press of the button on the run's page, and its failed task is run again."""
    button = {"en": "Run the failed tasks again", "ko": "실패한 작업 다시 실행"}[page.language]
    page.goto(f"/admin/numflow_django/featurerun/{failed_run.pk}/change/")

    page.get_by_role("button", name=button).click()

    assert button in page.locator(".messagelist li").inner_text()  # waits for it, as the page is still coming in
    picture(page, "resumed")
    failed_run.refresh_from_db()
    assert failed_run.task_names[failed_run.position :] == ["notify"]
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert page.problems == []
