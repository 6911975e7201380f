"""Features with async tasks, for runs to be written."""

from tests.support.serving import feature


def registered(tree, **attributes):
    """A feature with two async tasks."""
    view = feature(tree, "pass", tasks=["mail", "notify"], **attributes)
    view.as_view()
    return view.feature


def later(tree):
    """A feature whose first task starts after an hour."""
    task = "from numflow_django import async_task\n\n@async_task(start_after=3600)\ndef mail(ctx):\n    pass\n"
    answer = "def respond(ctx, request, response):\n    response.json({})\n"
    tree.feature("later", steps={"100_respond.py": answer}, tasks={"100_mail.py": task})
    view = tree.view("later")
    view.as_view()
    return view.feature
