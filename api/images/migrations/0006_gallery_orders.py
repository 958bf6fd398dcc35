from django.db import migrations, models
from django.db.models import Q

MATCHED, RATED = Q(clip_score__isnull=False), Q(rating__isnull=False)


class Migration(migrations.Migration):
    """The orders of galleries by keyset, with the id that decides between equal values."""

    dependencies = [('images', '0005_image_prompts')]

    operations = [
        migrations.RemoveIndex("generatedimage", "image_score"),
        migrations.RemoveIndex("generatedimage", "image_rating"),
        migrations.AddIndex(
            "generatedimage", models.Index(fields=["-clip_score", "-file"], name="image_best_match", condition=MATCHED)
        ),
        migrations.AddIndex(
            "generatedimage", models.Index(fields=["-rating", "-file"], name="image_best_rated", condition=RATED)
        ),
        migrations.AddIndex(
            "generatedimage",
            models.Index(fields=["owner_key", "-clip_score", "-file"], name="image_owner_match", condition=MATCHED),
        ),
        migrations.AddIndex(
            "generatedimage", models.Index(fields=["owner_key", "-rating", "-file"], name="image_owner_rated", condition=RATED)
        ),
    ]
