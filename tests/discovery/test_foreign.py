"""What a FeatureView would ignore: words of other frameworks, and bases in the wrong order."""

import pytest
from django.contrib.auth.mixins import LoginRequiredMixin, PermissionRequiredMixin
from django.http import HttpResponse
from django.utils.functional import cached_property
from rest_framework.permissions import IsAuthenticated

from numflow_django import FeatureFormView, FeatureView
from numflow_django.contrib.rest_framework import FeatureAPIView
from numflow_django.discovery.foreign import ignored_attributes, late_bases
from numflow_django.exceptions import InvalidFeatures

STEP = "def answer(ctx, request, response): response.json({})\n"
OWN = "(if your own code reads it, declare it in a mixin, or start its name with _)"


@pytest.mark.parametrize(
    ("word", "remedy"),
    [
        ("middlewares", "write decorators = [...], the outermost first"),
        ("middleware", "write decorators = [...], the outermost first"),
        ("contextInitializer", "write def initialize_context(self, ctx, request)"),
        ("context_initializer", "write def initialize_context(self, ctx, request)"),
        ("url", "write path = 'api/orders/'"),
        ("route", "write path = 'api/orders/'"),
        *(
            (name, "derive from numflow_django.contrib.rest_framework.FeatureAPIView, which honours it, or")
            for name in ("permission_classes", "authentication_classes", "throttle_classes", "throttle_scope")
        ),
        ("permission_required", "write decorators = [permission_required(..., raise_exception=True)]"),
        ("login_required", "write decorators = [login_required]"),
        ("staff_member_required", "write decorators = [staff_member_required]"),
        ("csrf_exempt", "write decorators = [csrf_exempt]"),
        ("has_permission", "put PermissionRequiredMixin before FeatureView in the bases of the class, or"),
        ("test_func", "put UserPassesTestMixin before FeatureView in the bases of the class, or"),
    ],
)
def test_a_word_of_another_framework_names_ours(word, remedy):
    """E1: A word of Numflow, Django or Django REST Framework that a FeatureView ignores is an error that names ours."""
    view = type("Buy", (FeatureView,), {word: ["a"]})

    [problem] = ignored_attributes(view)

    assert problem.startswith(f"{word} means nothing to a FeatureView; {remedy}")
    assert problem.endswith(OWN)


@pytest.mark.parametrize(("word", "ours"), [("onError", "on_error"), ("asyncTasks", "async_tasks")])
def test_a_word_that_is_spelled_in_another_way_names_ours(tree, word, ours):
    """E1: Numflow's own spelling of a name is a mistake that names ours."""
    tree.feature("buy", steps={"100_answer.py": STEP}, **{word: None})

    [mistake] = tree.mistakes()

    assert mistake.endswith(
        f"{word} is not an attribute of a feature; did you mean {ours!r}? If it is your own, start its name with _"
    )


def test_a_view_with_such_a_word_answers_no_request(tree, rf):
    """E1: A view that was meant to be protected by a word that is ignored is not left open: it answers nothing."""
    tree.feature("buy", steps={"100_answer.py": STEP}, middlewares=["authenticate"])

    with pytest.raises(InvalidFeatures, match="middlewares means nothing to a FeatureView; write decorators"):
        tree.view("buy").as_view()(rf.post("/"))


def test_a_word_on_a_base_of_the_site_s_own():
    """E1: A word that the site's own base class declares is ignored as much as one on the view."""
    base = type("Base", (FeatureView,), {"permission_classes": []})

    [problem] = ignored_attributes(type("Buy", (base,), {}))

    assert problem.startswith("permission_classes means nothing")


class Guarded(FeatureView):
    """Reads what it declares."""

    permission_required = "shop.buy"
    url = "https://example.com"

    def initialize_context(self, ctx, request):
        assert request.user.has_perm(self.permission_required)
        ctx.url = lambda: getattr(self, "url", None)


class Shown:
    """A mixin whose cached_property reads what the class declares."""

    @cached_property
    def needed(self):
        return self.permission_required


def guarded(view):
    """A decorator that reads what the class declares."""
    needed = view.view_class.permission_required
    return lambda request: view(request) if request.user.has_perm(needed) else None


class Guard:
    """A mixin that honours what it declares."""

    permission_classes: tuple[str, ...] = ()

    def dispatch(self, request, *args, **kwargs):
        return super().dispatch(request, *args, **kwargs) if self.permission_classes else HttpResponse(status=403)


@pytest.mark.parametrize(
    ("bases", "facts"),
    [
        ((PermissionRequiredMixin, FeatureView), {"permission_required": "shop.buy", "has_permission": None}),
        ((LoginRequiredMixin, FeatureFormView), {"login_url": "/"}),
        ((Guard, FeatureView), {"permission_classes": ["a"]}),
        ((FeatureAPIView,), {"permission_classes": [IsAuthenticated], "throttle_classes": []}),
        ((Guarded,), {"permission_required": "shop.sell", "url": "x"}),
        ((FeatureView,), {"path": "buy/", "url": "https://example.com", "route": "mine"}),
        ((FeatureView,), {"_middlewares": [], "currency": "KRW"}),
        ((FeatureAPIView,), {"throttle_scope": "uploads"}),
        ((FeatureFormView,), {"url": "https://example.com/help", "route": "sea"}),
        ((Shown, FeatureView), {"permission_required": "shop.buy"}),
        ((FeatureView,), {"permission_required": "shop.buy", "decorators": [guarded]}),
    ],
    ids=["Django", "form", "mixin", "REST", "read", "path", "own", "scope", "template", "cached", "decorator"],
)
def test_a_word_that_somebody_reads_is_fine(bases, facts):
    """E1: A word that a mixin declares, or that a method of the class reads, means what it says."""
    view = type("Buy", bases, facts)

    assert [*ignored_attributes(view), *late_bases(view)] == []


class Hooks:
    """A base with a hook of ours."""

    def on_error(self, error, ctx, request):
        return HttpResponse(status=503)


@pytest.mark.parametrize(
    ("bases", "problem"),
    [
        (
            (FeatureView, LoginRequiredMixin),
            "LoginRequiredMixin comes after FeatureView in its bases, so its dispatch would be ignored; write "
            "class Buy(LoginRequiredMixin, FeatureView)",
        ),
        (
            (FeatureFormView, Hooks),
            "Hooks comes after FeatureFormView in its bases, so its on_error would be ignored; write class "
            "Buy(Hooks, FeatureFormView)",
        ),
        (
            (FeatureAPIView, LoginRequiredMixin),
            "LoginRequiredMixin comes after FeatureAPIView in its bases, so its dispatch would be ignored; "
            "write class Buy(LoginRequiredMixin, FeatureAPIView)",
        ),
    ],
)
def test_a_base_that_comes_too_late(bases, problem):
    """E3: A mixin after FeatureView, whose protection would be ignored, is a mistake that shows the good order."""
    assert list(late_bases(type("Buy", bases, {}))) == [problem]


@pytest.mark.parametrize("bases", [(LoginRequiredMixin, FeatureView), (FeatureFormView, Guarded), (Hooks, FeatureView)])
def test_bases_in_a_good_order(bases):
    """E3: Mixins before FeatureView, and features with a base of the site's own, are fine."""
    assert list(late_bases(type("Buy", bases, {}))) == []


def test_a_late_base_of_which_nothing_is_missed():
    """E3: A base after FeatureView is fine where the view itself has all that the base has."""
    view = type("Buy", (FeatureView, Hooks), {"on_error": FeatureView.on_error})

    assert list(late_bases(view)) == []


def test_a_view_with_a_late_base_answers_no_request(tree, rf):
    """E3: A view whose LoginRequiredMixin would be ignored answers nothing."""
    tree.write(
        {
            "buy/feature.py": """
                from django.contrib.auth.mixins import LoginRequiredMixin
                from numflow_django import FeatureView

                class View(FeatureView, LoginRequiredMixin):
                    pass
            """,
            "buy/steps/100_answer.py": STEP,
        }
    )

    with pytest.raises(InvalidFeatures, match="LoginRequiredMixin comes after FeatureView"):
        tree.view("buy").as_view()(rf.post("/"))
