"""The feature register."""

import json
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

from django.contrib.auth.models import User
from django.core import mail
from django.test import override_settings

from example_project.shop.outside import Refused, Unreachable
from numflow_django.models import FeatureRun
from numflow_django.testing import assert_no_runs

from . import ShopTestCase


class RegisterTests(ShopTestCase):
    """POST api/users/."""

    def setUp(self) -> None:
        """Record the requests to the sales department in a folder of this test."""
        super().setUp()
        self.crm = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.enterContext(override_settings(SHOP_CRM_URL=self.crm.as_uri()))

    def register(self, language: str = "en", **changes: Any) -> Any:
        """Register as minji, with *changes*."""
        data = {"username": "minji", "email": "minji@example.com"}
        data |= dict.fromkeys(["password1", "password2"], "seven little bears")
        return self.post("/api/users/", data | changes, language)

    def test_a_new_user(self) -> None:
        """The user is stored; the password is neither in plain text nor in the run."""
        answer = self.register()

        user = User.objects.get()
        assert answer.status_code == 201
        assert answer.json() == {"id": user.pk, "username": "minji"}
        assert user.check_password("seven little bears")
        assert "bears" not in FeatureRun.objects.get().context

    def test_the_welcome_mail(self) -> None:
        """A23: A welcome mail: the worker sends it after the response."""
        answer = self.register()
        assert mail.outbox == []

        self.run_tasks(answer)

        assert mail.outbox[0].to == ["minji@example.com"]
        assert mail.outbox[0].body == "Hello minji, your account is ready."

    def test_the_welcome_mail_in_korean(self) -> None:
        """The mail is in the language of the request."""
        self.run_tasks(self.register(language="ko"))

        assert mail.outbox[0].subject == "가입을 환영합니다"

    @override_settings(SHOP_CRM_URL="https://crm.example.com/customers/")
    def test_the_sales_department_is_told(self) -> None:
        """A23: CRM sync: the customer is posted to the configured URL, with the task's idempotency key."""
        answer = self.register()

        with mock.patch("example_project.shop.crm.post") as post:
            run = self.run_tasks(answer)

        url, body, headers = post.call_args.args
        user = User.objects.get()
        assert url == "https://crm.example.com/customers/"
        assert json.loads(body) == {"id": user.pk, "name": "minji", "email": "minji@example.com"}
        assert headers == {"Idempotency-Key": f"{run.pk}:sync_crm"}

    def test_the_sales_department_is_away(self) -> None:
        """A23: CRM sync: while the server is down the run waits, and the second try has the same key."""
        answer = self.register()

        with mock.patch("example_project.shop.crm.post", side_effect=[Unreachable("crm answered 503"), None]) as post:
            run = self.run_tasks(answer)
            assert run.state == "waiting"
            run = self.run_again(run)

        assert run.state == "succeeded"
        first, second = (call.args for call in post.call_args_list)
        assert first == second

    def test_the_sales_department_refuses(self) -> None:
        """A23: CRM sync: a refused request is not sent again, and the task log has the response."""
        answer = self.register()

        with mock.patch("example_project.shop.crm.post", side_effect=Refused("crm answered 422")):
            run = self.run_tasks(answer)

        assert run.state == "failed"
        assert run.executions.get(name="sync_crm").error_message == "crm answered 422"

    def test_a_taken_name(self) -> None:
        """A taken name is a 400 in the user's language, and no mail is sent."""
        User.objects.create_user("minji")

        answer = self.register(language="ko")

        assert answer.status_code == 400
        assert "이미" in answer.json()["error"]["details"]["username"][0]
        assert_no_runs()

    def test_invalid_registrations(self) -> None:
        """An invalid registration is a 400 that names the field."""
        for changes, field in [
            ({"username": ""}, "username"),
            ({"email": "minji"}, "email"),
            ({"password2": "seven little beers"}, "password2"),
            ({"password1": "short", "password2": "short"}, "password2"),
        ]:
            with self.subTest(changes=changes):
                answer = self.register(**changes)

                assert answer.status_code == 400
                assert field in answer.json()["error"]["details"]
