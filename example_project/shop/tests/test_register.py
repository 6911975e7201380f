"""The feature register."""

from typing import Any

from django.contrib.auth.models import User
from django.core import mail

from numflow_django.models import FeatureRun

from . import ShopTestCase


class RegisterTests(ShopTestCase):
    """POST api/users/."""

    def register(self, language: str = "en", **changes: Any) -> Any:
        """Register as minji, with *changes*."""
        data = {"username": "minji", "email": "minji@example.com"}
        data |= dict.fromkeys(["password1", "password2"], "seven little bears")
        return self.post("/api/users/", data | changes, language)

    def test_a_new_user(self) -> None:
        """The user is stored, and the password neither in clear nor with the run."""
        answer = self.register()

        user = User.objects.get()
        assert answer.status_code == 201
        assert answer.json() == {"id": user.pk, "username": "minji"}
        assert user.check_password("seven little bears")
        assert "bears" not in FeatureRun.objects.get().context

    def test_the_welcome_mail(self) -> None:
        """The worker sends it after the answer."""
        answer = self.register()
        assert mail.outbox == []

        run = self.run_tasks(answer)

        assert run.state == "succeeded"
        assert mail.outbox[0].to == ["minji@example.com"]
        assert mail.outbox[0].body == "Hello minji, your account is ready."

    def test_the_welcome_mail_in_korean(self) -> None:
        """It is in the language of the request."""
        self.run_tasks(self.register(language="ko"))

        assert mail.outbox[0].subject == "가입을 환영합니다"

    def test_a_taken_name(self) -> None:
        """It is a 400 in the user's language, and no mail follows."""
        User.objects.create_user("minji")

        answer = self.register(language="ko")

        assert answer.status_code == 400
        assert "이미" in answer.json()["error"]["details"]["username"][0]
        assert not FeatureRun.objects.exists()

    def test_invalid_registrations(self) -> None:
        """Each is a 400 that names the field."""
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
