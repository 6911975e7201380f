"""FeatureFormView: a form on GET, the steps on POST, and each error of a step back in the form."""

import json
import re

import pytest
from django import forms
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import HttpResponse
from django.test import Client
from django.utils import translation

from numflow_django import Retry, StepError
from numflow_django.exceptions import ContextValueError, InvalidFeatures, InvalidStepResult, MissingResponseError
from numflow_django.models import FeatureRun
from numflow_django.routing.scan import scan
from tests.market.models import Sale
from tests.support.serving import module, numbered
from tests.support.sites import ROOT, Site, files_in

FEATURE = """
from django import forms
from django.contrib.messages.views import SuccessMessageMixin
from numflow_django import FeatureFormView
from tests.market.models import Sale

class SaleForm(forms.ModelForm):
    class Meta:
        model = Sale
        fields = ["item", "quantity"]

class PhotoForm(SaleForm):
    photo = forms.FileField()

class View({bases}FeatureFormView):
    form_class = {form}
    template_name = "sell.html"
    success_url = "/sold/"
"""
TEMPLATES = {
    "templates/sell.html": '<h1>Sell</h1>{% include "sell_form.html" %}',
    "templates/sell_form.html": """
        {% for message in messages %}<p>{{ message }}</p>{% endfor %}
        <form method="post">{% csrf_token %}{{ form }}</form>
        {% if form.instance.pk %}<a href="{{ form.instance.pk }}">the sale</a>{% endif %}
    """,
    "templates/sold.html": "{% for message in messages %}{{ message }}{% endfor %}",
}
URLS = """
from django.urls import include, path
from django.views.generic import TemplateView
from numflow_django import feature_urls
urlpatterns = [
    path("sold/", TemplateView.as_view(template_name="sold.html")),
    path("", include(feature_urls({package!r}))),
]
"""
SAVE = "ctx.sale = request.form.save()"
HTMX = {"HX-Request": "true"}


@pytest.fixture
def sell(tree, settings, enqueued):
    """Write a form's feature, routed at /sell/: its steps run *bodies*, *attributes* are set on its class."""

    def write(*bodies, tasks=(), folder="sell", bases="", form="SaleForm", **attributes):
        files = {"feature.py": FEATURE.format(bases=bases, form=form)}
        for n, body in numbered(bodies):
            files[f"steps/{100 * n}_step{n}.py"] = module(f"step{n}(ctx, request, response)", body)
        for n, name in numbered(tasks):
            files[f"async_tasks/{100 * n}_{name}.py"] = module(f"{name}(ctx)", "raise AssertionError")
        tree.write({f"{folder}/{name}": source for name, source in files.items()})
        view = tree.view(folder)
        for name, value in attributes.items():
            setattr(view, name, value)
        return view

    tree.write(TEMPLATES | {"urls.py": URLS.format(package=tree.package)})
    settings.TEMPLATES = [settings.TEMPLATES[0] | {"DIRS": [tree.root / "templates"]}]
    settings.ROOT_URLCONF = f"{tree.package}.urls"
    return write


def post(client, data=None, **options):
    return client.post("/sell/", {"item": "tea", "quantity": 2} | (data or {}), **options)


# The page


@pytest.mark.django_db
def test_get_shows_the_form_and_runs_no_step(sell, client):
    """GET and HEAD render the page, with the unbound form and its initial values, and run nothing."""
    sell("raise AssertionError", initial={"item": "cup"})

    answer = client.get("/sell/")

    assert answer.status_code == 200
    assert not answer.context["form"].is_bound
    assert 'value="cup"' in answer.content.decode()
    assert client.head("/sell/").status_code == 200


@pytest.mark.django_db
def test_decorators_stand_before_the_page_too(sell, client):
    """A25: A decorator that answers ends the request, a GET as well as a POST."""
    sell("raise AssertionError", decorators=[login_required])

    assert client.get("/sell/").status_code == 302
    assert post(client).status_code == 302


@pytest.mark.django_db
def test_only_get_and_post_are_answered(sell, client):
    """Every other method is a 405, whose Allow names what the form serves."""
    sell(SAVE)

    answer = client.delete("/sell/")

    assert answer.status_code == 405
    assert answer.headers["Allow"] == client.options("/sell/").headers["Allow"] == "GET, HEAD, POST, OPTIONS"


@pytest.mark.django_db
def test_the_csrf_check_is_as_usual(sell):
    """A POST without the token of the page is a 403; with it, it is taken."""
    sell(SAVE)
    client = Client(enforce_csrf_checks=True)
    token = str(client.get("/sell/").context["csrf_token"])

    assert post(client).status_code == 403
    assert post(client, {"csrfmiddlewaretoken": token}).status_code == 302


# A valid form


@pytest.mark.django_db(transaction=True)
def test_a_valid_form_runs_the_steps_and_redirects(sell, client, enqueued):
    """The steps find the valid form as request.form; redirect and job come after COMMIT."""
    user = User.objects.create_user("minji")
    client.force_login(user)
    sell("ctx.item = request.form.cleaned_data['item']", SAVE, tasks=["mail"])

    answer = post(client)

    run = FeatureRun.objects.get()
    assert (answer.status_code, answer.headers["Location"]) == (302, "/sold/")
    assert Sale.objects.get().quantity == 2
    assert '"item":"tea"' in run.context
    assert (run.method, run.status_code, run.created_by) == ("POST", 302, str(user.pk))
    assert enqueued == [run.pk]
    assert answer.headers["Numflow-Run"] == str(run.pk)


@pytest.mark.django_db
def test_the_form_itself_does_not_travel(sell, client):
    """D6: What the steps do not store on ctx, a password or a file, is not stored with the run."""
    sell(SAVE, tasks=["mail"], form="PhotoForm")

    answer = post(client, {"photo": SimpleUploadedFile("a.png", b"png")})

    assert answer.status_code == 302
    assert list(json.loads(FeatureRun.objects.get().context)) == ["sale"]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("ctx.photo = request.form.cleaned_data['photo']", "for the async tasks; save it and store its name"),
        ("ctx.form = request.form", "for the async tasks; store what the tasks need of its cleaned_data"),
    ],
)
def test_a_file_or_form_on_ctx_is_refused(sell, client, body, message):
    """D6: A file of the form, or the form, on ctx rolls back with an error that names the step and what to store."""
    sell(SAVE, body, "return HttpResponse()", tasks=["mail"], form="PhotoForm")

    with pytest.raises(ContextValueError, match=message) as caught:
        post(client, {"photo": SimpleUploadedFile("a.png", b"png")})

    assert "set by step 200 step2" in str(caught.value)
    assert not Sale.objects.exists()


@pytest.mark.django_db
def test_a_step_may_answer_itself(sell, client):
    """A10: When a step answers, form_valid is not called."""
    sell(SAVE, "return HttpResponseRedirect(f'/sold/?id={ctx.sale.pk}')", form_valid=None)

    assert post(client).headers["Location"] == f"/sold/?id={Sale.objects.get().pk}"


@pytest.mark.django_db(transaction=True)
def test_the_redirect_is_made_inside_the_transaction(sell, client, enqueued):
    """A form_valid that raises rolls everything back: no row is committed without its answer."""

    def form_valid(self, form):
        raise LookupError("no such page")

    sell(SAVE, tasks=["mail"], form_valid=form_valid)

    with pytest.raises(LookupError):
        post(client)

    assert not Sale.objects.exists()
    assert FeatureRun.objects.get().state == "rolled_back"
    assert enqueued == []


@pytest.mark.django_db
def test_no_answer_and_no_success_url(sell, client):
    """A14: No step answers and no success_url is set: MissingResponseError says both ways out; nothing is committed."""
    sell(SAVE, success_url=None)

    with pytest.raises(MissingResponseError, match=r"set success_url, or let the last step return redirect\(...\)"):
        post(client)

    assert not Sale.objects.exists()


@pytest.mark.django_db
def test_a_form_valid_that_returns_nothing(sell, client):
    """A form_valid without its return is an error that says so."""
    sell(SAVE, form_valid=lambda self, form: None)

    with pytest.raises(InvalidStepResult, match="form_valid returned a NoneType; return an HttpResponse"):
        post(client)


@pytest.mark.django_db
def test_messages_as_in_django(sell, client):
    """SuccessMessageMixin speaks on the page after the redirect, and not when a step has refused."""
    refuse = "if request.form.cleaned_data['quantity'] > 9: raise StepError('Too many')"
    sell(refuse, SAVE, bases="SuccessMessageMixin, ", success_message="Sold: %(item)s")

    assert post(client, follow=True).content == b"Sold: tea"
    assert "Sold" not in post(client, {"quantity": 10}).content.decode()


# An invalid form


@pytest.mark.django_db
def test_an_invalid_form_is_shown_again(sell, client, enqueued):
    """A12: It is a 422 with the errors at their fields and what was typed; no step runs and no row is left."""
    sell("raise AssertionError", tasks=["mail"])

    answer = post(client, {"item": "tea", "quantity": "many"})

    assert answer.status_code == 422
    assert answer.context["form"].errors == {"quantity": ["Enter a whole number."]}
    assert 'value="many"' in answer.content.decode()
    assert not FeatureRun.objects.exists()
    assert enqueued == []


@pytest.mark.django_db
def test_errors_are_in_the_language_of_the_request(sell, client):
    """The form's errors are Django's own, translated."""
    sell(SAVE)

    with translation.override("en"):  # the request leaves its language to the thread
        answer = post(client, {"item": ""}, headers={"accept-language": "ko"})

    assert "필수 항목입니다." in answer.content.decode()


@pytest.mark.django_db
def test_what_form_invalid_stores_is_kept(sell, client):
    """form_invalid is called after the rollback: the attempts that it counts are committed."""

    def form_invalid(self, form):
        Sale.objects.create(item="an attempt")
        return HttpResponse("no", status=400)

    sell("raise AssertionError", form_invalid=form_invalid)

    assert post(client, {"item": ""}).content == b"no"
    assert Sale.objects.get().item == "an attempt"


@pytest.mark.django_db
def test_an_invalid_form_can_be_logged(sell, client, settings):
    """D2: With LOG_ROLLBACKS = "all" it leaves a row, whose id the answer carries."""
    settings.NUMFLOW = {"LOG_ROLLBACKS": "all"}
    sell("raise AssertionError", tasks=["mail"])

    answer = post(client, {"item": ""})

    run = FeatureRun.objects.get()
    assert (run.state, run.status_code, run.reason) == ("rolled_back", 422, "answered 422")
    assert answer.headers["Numflow-Run"] == str(run.pk)


# A step that refuses


REFUSALS = [
    ("StepError('Sold out', status=409)", {"__all__": ["Sold out"]}),
    ("ValidationError('Sold out')", {"__all__": ["Sold out"]}),
    ("ValidationError(['Sold out', 'Closed'])", {"__all__": ["Sold out", "Closed"]}),
    ("ValidationError('Only %(left)s', params={'left': 3})", {"__all__": ["Only 3"]}),
    ("ValidationError({'quantity': ['Only 3']})", {"quantity": ["Only 3"]}),
    ("ValidationError({'__all__': 'Closed', 'item': 'Sold out'})", {"__all__": ["Closed"], "item": ["Sold out"]}),
    ("ValidationError({'price': 'This field is required.'})", {"__all__": ["price: This field is required."]}),
]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("status", [422, 200])
@pytest.mark.parametrize(("error", "errors"), REFUSALS)
def test_an_error_of_a_step_is_put_into_the_form(sell, client, enqueued, error, errors, status):
    """A13: ValidationError and StepError: at their fields, the work and callbacks rolled back, whatever the status."""
    hook = "transaction.on_commit(lambda: Sale.objects.create(item='from the callback'))"
    sell(SAVE, hook, f"raise {error}", tasks=["mail"], invalid_status=status)

    answer = post(client)

    assert answer.status_code == status
    assert answer.context["form"].errors == errors
    assert 'value="tea"' in answer.content.decode()
    assert not Sale.objects.exists()
    assert not FeatureRun.objects.exists()
    assert enqueued == []
    assert "Numflow-Run" not in answer.headers


@pytest.mark.django_db
def test_a_fault_that_is_not_the_forms_keeps_its_status(sell, client):
    """D2: A StepError from 500 is shown in the form with its own status, and logged."""
    sell(SAVE, "raise StepError('The bank does not answer', status=503)")

    answer = post(client)

    assert answer.status_code == 503
    assert answer.context["form"].non_field_errors() == ["The bank does not answer"]
    assert answer.headers["Numflow-Run"] == str(FeatureRun.objects.get().pk)


@pytest.mark.django_db
def test_the_form_shown_again_knows_nothing_of_the_row_that_was_rolled_back(sell, client):
    """A ModelForm that was saved and rolled back has no key on the page."""
    sell(SAVE, "raise StepError(f'not {ctx.sale.pk}')")

    assert "the sale" not in post(client).content.decode()


@pytest.mark.django_db
def test_any_other_error_goes_on_to_django(sell, client):
    """A13: An error that is not meant for the user keeps its type; Http404 is a 404."""
    sell(SAVE, "if ctx.sale.quantity > 9: raise Http404\nraise LookupError('a mistake')")

    assert post(client, {"quantity": 10}).status_code == 404
    with pytest.raises(LookupError, match="a mistake"):
        post(client)
    assert not Sale.objects.exists()


@pytest.mark.django_db
def test_initialize_context_may_refuse(sell, client):
    """A24: Its StepError is put into the form too, whose own errors stand beside it."""

    def initialize_context(self, ctx, request):
        raise StepError("The shop is closed")

    sell("raise AssertionError", initialize_context=initialize_context)

    answer = post(client, {"item": ""})

    assert answer.status_code == 422
    assert answer.context["form"].errors == {"__all__": ["The shop is closed"], "item": ["This field is required."]}


@pytest.mark.django_db
def test_on_error_comes_first(sell, client):
    """A26: on_error may answer in the form's place; an invalid form is no error and never gets there."""
    seen = []

    def on_error(self, error, ctx, request):
        seen.append(error)
        return HttpResponse("sorry", status=409) if isinstance(error, StepError) else None

    sell("if request.form.cleaned_data['quantity'] > 9: raise StepError('Too many')", SAVE, on_error=on_error)

    assert post(client, {"item": ""}).status_code == 422
    assert seen == []
    assert post(client, {"quantity": 10}).content == b"sorry"
    assert [str(error) for error in seen] == ["Too many"]


@pytest.mark.django_db
def test_each_attempt_has_a_form_of_its_own(sell, client):
    """A27: A Retry validates again: save() inserts again, and an uploaded file is read from its beginning."""

    def on_error(self, error, ctx, request):
        return Retry(max_attempts=2)

    sell(
        "ctx.tries = ctx.get('tries', 0) + 1",
        "request.form.instance.item = request.form.cleaned_data['photo'].read().decode()",
        SAVE,
        "if ctx.tries == 1: raise OSError('away')",
        form="PhotoForm",
        on_error=on_error,
    )

    assert post(client, {"photo": SimpleUploadedFile("a.png", b"png")}).status_code == 302
    assert Sale.objects.get().item == "png"


# htmx


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("headers", "whole"),
    [
        ({}, True),
        (HTMX, False),
        (HTMX | {"HX-Boosted": "true"}, True),
        (HTMX | {"HX-History-Restore-Request": "true"}, True),
    ],
)
def test_htmx_gets_the_part(sell, client, headers, whole):
    """With partial_template_name, htmx receives the part, and Vary names the headers that decide it."""
    sell(SAVE, partial_template_name="sell_form.html")

    shown, refused = client.get("/sell/", headers=headers), post(client, {"item": ""}, headers=headers)

    for answer in (shown, refused):
        assert ("<h1>" in answer.content.decode()) is whole
        assert {"HX-Request", "HX-Boosted", "HX-History-Restore-Request"} <= set(answer.headers["Vary"].split(", "))
    assert refused.status_code == 422


@pytest.mark.django_db
@pytest.mark.parametrize("bodies", [[SAVE], [SAVE, "return HttpResponseRedirect('/sold/')"]])
def test_htmx_is_sent_on_by_a_header(sell, client, bodies):
    """The redirect, which a browser would follow before htmx sees it, becomes a 200 with HX-Redirect."""
    sell(*bodies, tasks=["mail"], partial_template_name="sell_form.html")

    answer = post(client, headers=HTMX)

    assert (answer.status_code, answer.headers["HX-Redirect"]) == (200, "/sold/")
    assert "Location" not in answer.headers
    assert answer.headers["Numflow-Run"] == str(FeatureRun.objects.get().pk)
    assert post(client, headers=HTMX | {"HX-Boosted": "true"}).status_code == 302


@pytest.mark.django_db
def test_without_a_part_nothing_is_special_about_htmx(sell, client):
    """A form that names no part has the same response for htmx as for other clients."""
    sell(SAVE)

    assert post(client, headers=HTMX).status_code == 302
    assert "HX-Request" not in client.get("/sell/", headers=HTMX).headers["Vary"]


# Routes


@pytest.mark.django_db
def test_other_methods_may_share_the_path(sell, tree, client):
    """A34: A form serves GET and POST of its path, and another feature its DELETE; Allow names them all."""
    sell(SAVE)
    tree.write({"sell/@delete/steps/100_clear.py": module("clear(ctx, request, response)", "response.send('gone')")})

    assert client.get("/sell/").status_code == 200
    assert post(client).status_code == 302
    assert client.delete("/sell/").content == b"gone"
    assert client.put("/sell/").headers["Allow"] == "GET, POST, DELETE, HEAD, OPTIONS"


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_form_collides_on_both_of_its_methods(sell, tree, method):
    """A34: Another feature for the GET or POST of a form's path is found at start-up."""
    sell(SAVE)
    tree.write({f"sell/@{method.lower()}/steps/100_show.py": module("show(ctx, request, response)", "pass")})

    (mistake,) = tree.mistakes()

    assert mistake.startswith(f"{method} /sell/ is answered by two features: ")


@pytest.mark.parametrize(("method", "served"), [(None, ("GET", "POST")), ("POST", ("POST",))])
def test_a_form_in_a_folder_of_a_method(sell, tree, method, served):
    """A29: In a folder such as @post a form serves its GET too, unless its class says method = "POST"."""
    view = sell(SAVE, folder="sell/@post")
    if method:
        view.method = method

    (route,) = scan(tree.package)

    assert (route.path, route.methods) == ("sell/", served)


# Mistakes


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"form_class": None}, "it has no form; set form_class"),
        ({"form_class": Sale}, "form_class = <class 'tests.market.models.Sale'> is not a Form class; "),
        ({"template_name": None}, "it has no page to show the form; set template_name"),
        ({"method": "PUT"}, "method = 'PUT': a form is sent by POST; remove method, or set it to 'POST'"),
    ],
)
def test_what_a_form_lacks_is_shown_at_start_up(sell, tree, rf, attributes, message):
    """A4: A form without its class or page, or for a method that sends none, is a mistake and answers nothing."""
    view = sell(SAVE, **attributes)

    answer = view.as_view()

    with pytest.raises(InvalidFeatures) as caught:
        answer(rf.generic(view.method or "POST", "/sell/"))
    assert f"(numflow.E109) feature {tree.package}.sell: {message}" in str(caught.value)


def test_hooks_may_take_the_place_of_attributes(sell, rf):
    """get_form_class and get_template_names, or arguments of as_view(), say as well what the attributes say."""
    view = sell(SAVE, form_class=None, template_name=None)

    class EmptyForm(forms.Form):
        pass

    view.as_view(form_class=EmptyForm, template_name="sell.html")
    assert view.feature.mistakes == ()

    view.get_form_class, view.get_template_names = lambda self: EmptyForm, lambda self: ["sell.html"]
    view.as_view()
    assert view.feature.mistakes == ()


# docs/how-to/forms.md


MODELS = """
    from django.db import models

    class Order(models.Model):
        sku = models.CharField(max_length=20)
        email = models.EmailField()
"""
PAGES = """
    from settings import *
    TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True,
        "OPTIONS": {"context_processors": ["django.template.context_processors.request"]}}]
"""


def test_the_how_to_page(tmp_path):
    """how-to/forms.md: its forms are shown, refuse, sell, change a row and speak to htmx."""
    page = (ROOT / "docs" / "how-to/forms.md").read_text(encoding="utf-8")
    templates = dict(re.findall(r"^```html\n\{# (\S+) #\}\n(.*?)^```", page, re.DOTALL | re.MULTILINE))
    site = Site(tmp_path).write(files_in(page)).write(templates)
    urls = "from numflow_django import feature_urls\nurlpatterns = feature_urls('shop.features')\n"
    site.write({"shop/models.py": MODELS, "urls.py": urls, "with_pages.py": PAGES})

    outcome = site.run(
        """
        client = Client()
        def ask(method, path, data=None, **options):
            answer = getattr(client, method)(path, data, **options)
            text = answer.content.decode()
            return [answer.status_code, [word for word in ("<form", "Sold out.", "<h1>") if word in text]]
        order, htmx = {"sku": "A-1", "email": "minji@example.com"}, {"HX-Request": "true"}
        result = [
            ask("get", "/buy/"),
            ask("post", "/buy/", {"sku": "A-1"}),
            ask("post", "/buy/", order | {"sku": "B-2"}),
            ask("post", "/buy/", order),
            [run_tasks(), mail.outbox[0].body],
            ask("get", "/orders/1/edit/"),
            ask("post", "/orders/1/edit/", order | {"sku": "A-2"}),
            [Order.objects.get().sku, client.get("/orders/7/edit/").status_code],
            ask("get", "/subscribe/"),
            ask("post", "/subscribe/", headers=htmx),
            client.post("/subscribe/", order, headers=htmx).headers["HX-Redirect"],
        ]
        """,
        settings="with_pages",
    )

    assert outcome == [
        [200, ["<form"]],
        [422, ["<form"]],
        [422, ["<form", "Sold out."]],
        [302, []],
        [["succeeded"], "Your A-1 is on its way."],
        [200, ["<form"]],
        [302, []],
        ["A-2", 404],
        [200, ["<form", "<h1>"]],
        [422, ["<form"]],
        "/thanks/",
    ]
