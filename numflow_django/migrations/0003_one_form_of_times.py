from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

import numflow_django.db.timestamps

TIMES = {
    "FeatureRun": ("available_at", "queued_at", "lease_expires_at", "created_at", "started_at", "finished_at"),
    "TaskExecution": ("started_at", "finished_at"),
}


def write_six_digits(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Rewrite the times of earlier versions, which SQLite stores as text, in the form of TimestampField."""
    if schema_editor.connection.vendor != "sqlite":
        return
    for name, columns in TIMES.items():
        table = schema_editor.quote_name(apps.get_model("numflow_django", name)._meta.db_table)
        for column in map(schema_editor.quote_name, columns):
            schema_editor.execute(
                f"UPDATE {table} SET {column} = {column} || "  # noqa: S608 - names of ours
                f"CASE length({column}) WHEN 19 THEN '.000000' ELSE '000' END WHERE length({column}) IN (19, 23)"
            )


class Migration(migrations.Migration):
    dependencies = [
        ("numflow_django", "0002_resume"),
    ]

    operations = [
        migrations.AlterField(
            model_name="featurerun",
            name="available_at",
            field=models.DateTimeField(db_default=numflow_django.db.timestamps.Now(), verbose_name="available at"),
        ),
        migrations.AlterField(
            model_name="featurerun",
            name="created_at",
            field=models.DateTimeField(db_default=numflow_django.db.timestamps.Now(), verbose_name="created at"),
        ),
        migrations.RunPython(write_six_digits, migrations.RunPython.noop, elidable=True),
    ]
