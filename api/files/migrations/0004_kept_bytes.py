from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('files', '0003_quotas'),
    ]

    operations = [
        migrations.CreateModel(
            name='KeptBytes',
            fields=[
                ('owner_key', models.CharField(max_length=64, primary_key=True, serialize=False)),
                ('bytes', models.BigIntegerField()),
                ('until', models.DateTimeField(help_text='When the first file was made that is not in the sum.')),
                ('summed_at', models.DateTimeField(help_text='When all were added up last.')),
            ],
        ),
    ]
