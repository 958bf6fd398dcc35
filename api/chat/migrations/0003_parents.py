"""The parents of messages that were there before branches: in another transaction than the columns, as PostgreSQL asks."""

from typing import Any

from django.db import migrations
from django.db.models import OuterRef, Subquery


def set_parents(apps: Any, schema_editor: Any) -> None:
    messages = apps.get_model("chat", "Message").objects
    before = messages.filter(conversation=OuterRef("conversation"), choice=0, position__lt=OuterRef("position"))
    messages.filter(position__gt=0).update(parent_id=Subquery(before.order_by("-position").values("pk")[:1]))


class Migration(migrations.Migration):
    dependencies = [("chat", "0002_branches")]

    operations = [migrations.RunPython(set_parents, migrations.RunPython.noop)]
