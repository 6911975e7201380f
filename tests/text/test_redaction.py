"""Secrets are masked, and texts are changed so that every database can store them."""

import pytest

from numflow_django.conf import DEFAULT_REDACT
from numflow_django.text.redaction import MASK, is_secret, mask, plain, scrub


@pytest.mark.parametrize("word", DEFAULT_REDACT)
def test_the_default_words_are_secret(word):
    """A key that contains one of the words, in any case and at any place, is secret."""
    assert is_secret(word)
    assert is_secret(f"the_{word.upper()}_2")


@pytest.mark.parametrize("key", ["name", "passenger", "", 1, None, ("password",)])
def test_other_keys_are_not_secret(key):
    """A key that contains no such word, or is not a text, is not secret."""
    assert not is_secret(key)


def test_the_words_are_the_settings(settings):
    """``NUMFLOW["REDACT"]`` replaces the words and is read at each use. Its words are not patterns."""
    settings.NUMFLOW = {"REDACT": ["pin.code"]}

    assert is_secret("PIN.code")
    assert not is_secret("pin_code")
    assert not is_secret("password")


@pytest.mark.parametrize("key", ["card_number", "card-number", "cardNumber", "CARDNUMBER", "X-Card-Number-2"])
def test_an_underscore_in_a_word_is_any_separator(settings, key):
    """The word ``card_number`` matches the spellings of Python, HTTP and JavaScript."""
    settings.NUMFLOW = {"REDACT": ["card_number"]}

    assert is_secret(key)
    assert not is_secret("card")


def test_an_empty_list_masks_nothing(settings):
    """Without words nothing is secret."""
    settings.NUMFLOW = {"REDACT": []}

    assert mask({"password": "a"}) == {"password": "a"}
    assert scrub("password=a", 100) == "password=a"


def test_values_of_secret_keys_are_masked_at_any_depth():
    """The values of secret keys are replaced in a copy, whatever they are. Other values stay."""
    value = {"user": {"password": {"old": 1}, "name": "kim"}, "rows": [{"api_key": None}, "token"], "비밀번호": ["a"]}

    masked = mask(value)

    assert masked == {
        "user": {"password": MASK, "name": "kim"},
        "rows": [{"api_key": MASK}, "token"],
        "비밀번호": MASK,
    }
    assert value["user"]["password"] == {"old": 1}


@pytest.mark.parametrize(
    ("text", "scrubbed"),
    [
        ("password=hunter2", f"password={MASK}"),
        ("DB_PASSWORD = hunter2, user = kim", f"DB_PASSWORD = {MASK}, user = kim"),
        ("{'password': 'hunter2', 'a': 1}", f"{{'password': {MASK}, 'a': 1}}"),
        ('{"password": "a\\"hunter2", "a": 1}', f'{{"password": {MASK}, "a": 1}}'),
        ("X-Api-Key: hunter2", f"X-Api-Key: {MASK}"),
        ("cardNumber=hunter2", f"cardNumber={MASK}"),
        (r'"{\"password\": \"hunter2\"}"', None),
        ("password=b'hunter2'", f"password={MASK}"),
        ("password=SecretStr('hunter2')", f"password={MASK})"),
        ('{"password": "hunter2', f'{{"password": {MASK}'),
        ("Authorization: Bearer abc.hunter2 next", f"Authorization: {MASK} next"),
        ("Authorization: Token hunter2", f"Authorization: {MASK}"),
        ("GET /?token=hunter2&page=2", f"GET /?token={MASK}&page=2"),
        ("Set-Cookie: sessionid=hunter2; Path=/", f"Set-Cookie: {MASK}; Path=/"),
        ("비밀번호: hunter2", f"비밀번호: {MASK}"),
        ("could not connect to redis://:hunter2@host:6379/0", f"could not connect to redis://:{MASK}@host:6379/0"),
        ("postgres://shop:hunter2@db/shop", f"postgres://shop:{MASK}@db/shop"),
    ],
    ids=lambda value: value if value and "hunter2" in value else "",
)
def test_secrets_in_a_text_are_masked(text, scrubbed):
    """The text after a secret word and ``=`` or ``:``, and a URL's password, are masked; the rest stays."""
    result = scrub(text, 1_000)

    assert "hunter2" not in result
    assert scrubbed is None or result == scrubbed


@pytest.mark.parametrize("text", ["no password here", "http://host:80/path", "a = 1", "", "==::"])
def test_a_text_without_secrets_is_kept(text):
    """A text without a value after a secret word stays as it is."""
    assert scrub(text, 1_000) == text


@pytest.mark.parametrize("text", ["a", "token", "password=", "'", "\\", "token='", "://a:", "a://b:"])
def test_masking_is_linear(text):
    """A text with one repeated part, such as a file in an error's message, does not take quadratic time (hours)."""
    assert len(scrub(text * 200_000, 20_000)) <= 20_000


def test_the_cut_leaves_no_half_of_a_secret():
    """A secret is masked before the limit could cut it in two."""
    text = f"{'a ' * 40}password={'hunter2' * 20}"

    assert "hunter2" not in scrub(text, 100)


@pytest.mark.parametrize("limit", [40, 100])
def test_a_masked_text_keeps_to_the_limit(limit):
    """A mask may be longer than the secret. The text is cut after masking."""
    assert len(scrub("token=a " * 20, limit)) == limit


def test_a_plain_text_is_cut_in_the_middle():
    """A long text keeps its beginning and three times as much of its end, which says what happened."""
    text = "".join(chr(33 + number % 90) for number in range(1_000))

    kept = plain(text, 100)

    assert len(kept) == 100
    assert kept == text[:25] + " [...] " + text[-68:]
    assert plain(text, 1_000) == text


@pytest.mark.parametrize(
    ("text", "kept"),
    [("a\x00b", "a\N{REPLACEMENT CHARACTER}b"), ("a\ud800b", "a?b"), ("김 📦\n", "김 📦\n"), (ValueError("a"), "a")],
    ids=ascii,
)
def test_a_plain_text_fits_every_database(text, kept):
    """NUL and lone surrogates, which PostgreSQL refuses, are replaced; everything else stays."""
    assert plain(text, 100) == kept
