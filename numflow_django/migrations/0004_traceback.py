from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("numflow_django", "0003_one_form_of_times"),
    ]

    operations = [
        migrations.AddField(
            model_name="featurerun",
            name="traceback",
            field=models.TextField(blank=True, db_default="", verbose_name="traceback"),
        ),
    ]
