from numflow_django import StepError


def validate(ctx, request):
    if not request.data.get("sku") or request.data["quantity"] < 1:
        raise StepError("sku and quantity are required")
