from django.db.models import F
from django.utils.translation import gettext as _

from example_project.shop.models import Product
from numflow_django import Context, StepError


def check_stock(ctx: Context) -> None:
    """Take the products out of the stock, or respond 409."""
    # All requests take them in the same order, so that no two requests wait for each other
    for line in sorted(ctx.cart, key=lambda line: line["product"].pk):
        product, quantity = line["product"], line["quantity"]
        # One UPDATE checks and takes: of two requests for the last piece, only one gets it
        taken = Product.objects.filter(pk=product.pk, stock__gte=quantity).update(stock=F("stock") - quantity)
        if not taken:
            raise StepError(
                _("Sold out: %(product)s") % {"product": product},
                status=409,
                code="sold_out",
                details={"product": product.pk},
            )
