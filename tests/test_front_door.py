"""
What a visitor sees first: the hosted CI, the forms for issues and pull requests, and the package's page on PyPI.

The test dependencies have no parser for YAML, so the files are read as text.
"""

import re
import tomllib

import pytest

from tests.support.sites import ROOT

REPOSITORY = "https://github.com/numflow/numflow-django"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
GITHUB = ROOT / ".github"
WORKFLOW = (GITHUB / "workflows/ci.yml").read_text(encoding="utf-8")
BUG_REPORT = (GITHUB / "ISSUE_TEMPLATE/bug_report.yml").read_text(encoding="utf-8")

#: The pairs of Python and Django that .ci/run tests, besides the Python of .venv.
PAIRS = re.findall(r'"python(3\.\d+) (\d+\.\d+)[ "]', (ROOT / ".ci/run").read_text(encoding="utf-8"))


def classified(prefix: str) -> set[str]:
    """Return the versions that the classifiers name under *prefix*."""
    matches = (re.fullmatch(rf"{re.escape(prefix)} :: (\d+\.\d+)", each) for each in PROJECT["classifiers"])
    return {match[1] for match in matches if match}


def number(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def test_the_hosted_ci_calls_the_projects_own_script() -> None:
    """The workflow runs .ci/run, which exists and is executable, on pushes and on pull requests."""
    assert re.search(r"^ +- run: \.ci/run$", WORKFLOW, re.MULTILINE)
    assert (ROOT / ".ci/run").stat().st_mode & 0o111
    assert re.search(r"^on:\n  push:\n    branches: \[main\]\n  pull_request:$", WORKFLOW, re.MULTILINE)


def test_the_hosted_ci_may_only_read() -> None:
    """The workflow may only read the code, and its checkout leaves no token behind."""
    assert re.findall(r"^ *permissions:\n((?:  .*\n)+)", WORKFLOW, re.MULTILINE) == ["  contents: read\n"]
    assert "persist-credentials: false" in WORKFLOW


def test_the_hosted_ci_ends() -> None:
    """The workflow has a time limit, and a newer run cancels the older one of the same branch."""
    assert "timeout-minutes: 60\n" in WORKFLOW
    assert "group: ${{ github.workflow }}-${{ github.ref }}\n  cancel-in-progress: true\n" in WORKFLOW


def test_actions_are_pinned_to_a_major_version() -> None:
    """Each action of the workflow has a major version, so that dependabot can raise it."""
    actions = re.findall(r"uses: (\S+)", WORKFLOW)

    assert actions
    assert [action for action in actions if not re.fullmatch(r"[\w-]+/[\w-]+@v\d+", action)] == []


def test_the_hosted_ci_brings_every_python() -> None:
    """The workflow has the oldest supported Python as its own, and installs the others that .ci/run tries."""
    image = re.search(r"image: python:(3\.\d+)-", WORKFLOW)[1]
    installed = re.search(r"uv python install (.*)", WORKFLOW)[1].split()

    assert PROJECT["requires-python"] == f">={image}"
    assert set(installed) == {python for python, _ in PAIRS} - {image}


def test_every_python_of_the_classifiers_is_allowed() -> None:
    """requires-python allows each Python of the classifiers, and the oldest of them is the oldest allowed."""
    oldest = re.fullmatch(r">=(3\.\d+)", PROJECT["requires-python"])[1]

    assert min(classified("Programming Language :: Python"), key=number) == oldest


def test_every_python_of_the_classifiers_is_tried() -> None:
    """Each Python of the classifiers is the oldest, which .venv may have, or one of .ci/run's pairs."""
    oldest = PROJECT["requires-python"].removeprefix(">=")

    assert classified("Programming Language :: Python") == {python for python, _ in PAIRS} | {oldest}


def test_every_django_of_the_classifiers_is_tried() -> None:
    """The Djangos of the classifiers are those of .ci/run's pairs."""
    assert PAIRS
    assert classified("Framework :: Django") == {django for _, django in PAIRS}


def test_the_classifiers_are_sorted_and_unique() -> None:
    """No classifier is there twice, and those of one kind are together."""
    classifiers = PROJECT["classifiers"]

    assert len(classifiers) == len(set(classifiers))
    assert sorted({each.partition(" :: ")[0] for each in classifiers}) == list(
        dict.fromkeys(each.partition(" :: ")[0] for each in classifiers)
    )


@pytest.mark.parametrize("label", ["Documentation", "Source", "Issues", "Changelog"])
def test_pypi_links_to_the_repository(label: str) -> None:
    """PyPI's page has this link, and it leads into the repository."""
    assert PROJECT["urls"][label].startswith(REPOSITORY)


def test_every_url_of_the_project_is_https() -> None:
    """Each link of PyPI's page uses https."""
    assert [url for url in PROJECT["urls"].values() if not url.startswith("https://")] == []


def test_links_of_the_forms_lead_into_the_repository() -> None:
    """Each link in the files of .github leads into our repository, and the files that they name exist."""
    texts = [path.read_text(encoding="utf-8") for path in sorted(GITHUB.rglob("*.yml"))]
    urls = [url for text in texts for url in re.findall(r"https?://[^\s)\]\"]+", text)]
    files = [match[1] for url in urls if (match := re.match(rf"{REPOSITORY}/(?:blob|tree)/main/(.+)", url))]

    assert urls
    assert [url for url in urls if not url.startswith(REPOSITORY)] == []
    assert files
    assert [file for file in files if not (ROOT / file).exists()] == []


@pytest.mark.parametrize(
    "fact",
    [
        "Django:",
        "rq:",
        "django-rq:",
        "redis-py:",
        "Python:",
        "Database and its version:",
        "manage.py check",
        "manage.py numflow_features",
        "feature's folder",
        "run's page",
        "traceback",
        "security/advisories/new",
    ],
)
def test_a_bug_report_asks_for_what_we_need(fact: str) -> None:
    """The form asks for the versions, the checks, the feature and the run; vulnerabilities stay private."""
    assert fact in BUG_REPORT


@pytest.mark.parametrize("form", ["bug_report.yml", "feature_request.yml"])
def test_the_forms_have_unique_ids(form: str) -> None:
    """Each form has what GitHub requires: a name, a description, a body, and ids that are unique."""
    text = (GITHUB / "ISSUE_TEMPLATE" / form).read_text(encoding="utf-8")
    ids = re.findall(r"^    id: (.*)$", text, re.MULTILINE)

    assert re.match(r"name: .+\ndescription: .+\n", text)
    assert "\nbody:\n" in text
    assert ids
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("ecosystem", ["pip", "github-actions"])
def test_dependencies_are_updated_weekly_in_one_request(ecosystem: str) -> None:
    """Dependabot runs once a week and puts all updates of one kind into one pull request."""
    text = (GITHUB / "dependabot.yml").read_text(encoding="utf-8")

    part = text.partition(f"package-ecosystem: {ecosystem}\n")[2].partition("package-ecosystem:")[0]

    assert "interval: weekly\n" in part
    assert 'patterns: ["*"]\n' in part
