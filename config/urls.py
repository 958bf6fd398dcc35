from django.contrib import admin
from django.urls import include, path

from api.system.extra_urls import extra_urls

urlpatterns = [
    path("admin/", admin.site.urls),
    path("api/", include("api.jobs.api.urls")),
    path("api/", include("api.images.urls")),
    path("api/", include("api.scoring.urls")),
    path("api/", include("api.vision.urls")),
    path("api/", include("api.chat.urls")),
    path("api/", include("api.library.urls")),
    path("", include("api.dialects.urls")),
    path("", include("api.system.urls")),
    path("", include("api.studio.urls")),
    *extra_urls(),
]
handler400 = "api.problems.bad_request"
handler403 = "api.problems.permission_denied"
handler404 = "api.problems.not_found"
handler500 = "api.problems.server_error"
