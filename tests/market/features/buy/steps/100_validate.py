from numflow_django import StepError


def validate(ctx, request):
    if not request.data.get("item"):
        raise StepError("item is required", code="required")
    ctx.item = request.data["item"]
    ctx.password = "hunter2"
