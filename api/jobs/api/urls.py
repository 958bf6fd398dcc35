from django.urls import path
from rest_framework.routers import SimpleRouter

from api.jobs.api.usage import UsageView
from api.jobs.api.views import JobViewSet, job_events

router = SimpleRouter(use_regex_path=False)
router.register("jobs", JobViewSet, basename="job")
urlpatterns = [
    path("jobs/<uuid:id>/events/", job_events, name="job-events"),
    path("usage/", UsageView.as_view(), name="usage"),
    *router.urls,
]
