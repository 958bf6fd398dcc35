from django.urls import path

from api.files.job_serializers import FileJobSerializer
from api.jobs.api.dialect import SubmitView
from tests.colour.handler import ColourSpec


class ColourSerializer(FileJobSerializer):
    spec = ColourSpec


class ColourView(SubmitView):
    """Measure a picture's mean colour."""

    serializer_class = ColourSerializer


urlpatterns = [path("colour/", ColourView.as_view())]
