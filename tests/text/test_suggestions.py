"""What an error suggests for an unknown name."""

from numflow_django.text.suggestions import MISSPELT_NAME, NEARLY_SAME_NAME, closest, did_you_mean, listed, one_of


def test_a_misspelt_name():
    """The most similar name is suggested; case does not matter."""
    assert one_of("DEFUALT", ["high", "default"]) == "did you mean 'default'?"
    assert did_you_mean("hihg", {"high": 1, "Default": 2}, otherwise="nothing") == "did you mean 'high'?"


def test_a_name_like_no_other():
    """Without a similar name, all names are listed, or the caller's own text is used."""
    assert one_of("xyz", ["high", "default"]) == "use one of high, default"
    assert one_of("xyz", []) == "there is none"
    assert did_you_mean("xyz", ["high"], otherwise="without a label, all are shown") == "without a label, all are shown"


def test_the_closest_name():
    """
    The most similar name is returned, whatever the case of its letters, if it is as similar as the caller wants.
    """
    assert closest("Stpes", ["steps", "async_tasks"], MISSPELT_NAME) == "steps"
    assert closest("stpes", ["steps", "async_tasks"], NEARLY_SAME_NAME) is None
    assert closest("automatic", ["atomic"], NEARLY_SAME_NAME) is None
    assert closest("atomics", ["Atomic"], NEARLY_SAME_NAME) == "Atomic"
    assert closest("steps", [], MISSPELT_NAME) is None


def test_a_long_list():
    """A line has at most five names, and the number of the others."""
    assert listed(list("abcde")) == "a, b, c, d, e"
    assert listed(list("abcdefg")) == "a, b, c, d, e and 2 more"
