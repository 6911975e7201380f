"""The first data of the demo's shop. Existing data stay as they are."""

from django.contrib.auth.models import User

from example_project.shop.models import Product

LOGIN = PASSWORD = "demo"  # noqa: S105 - the output tells it

PRODUCTS = [
    ("Green tea from Boseong", "보성 녹차", 18_000),
    ("Jeju tangerines, 5 kg", "제주 감귤 5kg", 24_000),
    ("Kimchi, 3 kg", "포기김치 3kg", 29_900),
    ("Roasted seaweed", "구운 김", 9_900),
    ("Celadon cup", "청자 찻잔", 35_000),
    ("Persimmon chips", "감 말랭이", 12_500),
]
USERS = [
    ("minji", "minji@example.com", "민지", "김"),
    ("alex", "alex@example.com", "Alex", "Kim"),
]


def seed() -> None:
    """Store the products, two customers, and the login for the admin."""
    for name, name_ko, price in PRODUCTS:
        Product.objects.get_or_create(name=name, defaults={"name_ko": name_ko, "price": price, "stock": 1_000})
    for username, email, first_name, last_name in USERS:
        names = {"email": email, "first_name": first_name, "last_name": last_name}
        User.objects.get_or_create(username=username, defaults=names)
    if not User.objects.filter(username=LOGIN).exists():
        User.objects.create_superuser(LOGIN, password=PASSWORD)
