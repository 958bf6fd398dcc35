from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("images", "0004_grids")]

    operations = [
        migrations.AlterField(
            model_name="imagesource",
            name="role",
            field=models.CharField(
                choices=[("image", "Image"), ("mask", "Mask"), ("control", "Control"), ("prompt", "Prompt")],
                default="image",
                max_length=8,
            ),
        ),
    ]
