"""Mistakes, each with what mypy says of its line."""

from django.http import HttpRequest
from numflow_django import Contxt  # E: Module "numflow_django" has no attribute "Contxt"

from numflow_django import FeatureRequest, FeatureResponse, FeatureView, Retry, StepError, async_task, start_run
from shop.features.create_order.context import OrderContext


def misspelt(ctx: OrderContext) -> None:
    ctx.totl = 3  # E: Invalid self argument "OrderContext" to attribute function "__setattr__" with type "Callable[[UndeclaredKey, str, Any], None]"
    print(ctx.ordr)  # E: Invalid self argument "OrderContext" to attribute function "__getattr__" with type "Callable[[UndeclaredKey, str], Any]"


def wrong_type(ctx: OrderContext) -> int:
    ctx.sku = 3  # E: Incompatible types in assignment (expression has type "int", variable has type "str")
    return ctx.total  # E: Incompatible return value type (got "Decimal", expected "int")


def set_by_the_engine(ctx: OrderContext) -> None:
    ctx.run_id = None  # E: Property "run_id" defined in "Context" is read-only
    ctx.get = None  # E: Cannot assign to a method


def no_such_method(ctx: OrderContext) -> dict[str, object]:
    ctx.items()  # E: Invalid self argument "OrderContext" to attribute function "__getattr__" with type "Callable[[UndeclaredKey, str], Any]"
    return {**ctx, **dict(ctx)} if "sku" in ctx.keys() else {}


def no_such_data(request: HttpRequest, feature_request: FeatureRequest) -> None:
    print(request.data)  # E: "HttpRequest" has no attribute "data"
    print(feature_request.dta)  # E: "FeatureRequest" has no attribute "dta"


def no_such_answer(response: FeatureResponse) -> None:
    response.html("")  # E: "FeatureResponse" has no attribute "html"
    response.json({}, status="201")  # E: Argument "status" to "json" of "FeatureResponse" has incompatible type "str"; expected "int | None"


@async_task(max_atempts=3)  # E: Unexpected keyword argument "max_atempts"
def misspelt_rule(ctx: OrderContext) -> None: ...


class Feature(FeatureView):
    method = 3  # E: Incompatible types in assignment (expression has type "int", base class "FeatureAttributes" defined the type as "str | None")

    def on_error(self, error: Exception, ctx: OrderContext, request: FeatureRequest) -> str:  # E: Return type "str" of "on_error" incompatible with return type "HttpResponseBase | Retry | None" in supertype "numflow_django.views.FeatureView"
        raise StepError("no", status="400")  # E: Argument "status" to "StepError" has incompatible type "str"; expected "int"


Retry(attempts=3)  # E: Unexpected keyword argument "attempts" for "Retry"
start_run("shop.create_order", start_after="tomorrow")  # E: Argument "start_after" to "start_run" has incompatible type "str"; expected "float | timedelta | datetime"
