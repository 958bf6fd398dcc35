from django.urls import path
from django.views.i18n import set_language

from api.studio import job_views, stream, views
from api.studio.gallery import views as gallery

urlpatterns = [
    path("", views.index, name="studio"),
    path("studio/language", set_language, name="studio-language"),
    path("studio/server-state", views.server_state, name="studio-server-state"),
    path("studio/generate", views.generate, name="studio-generate"),
    path("studio/read-picture", views.read_picture, name="studio-read-picture"),
    path("studio/history", views.history, name="studio-history"),
    path("studio/tokens", views.tokens, name="studio-tokens"),
    path("studio/loras", views.loras, name="studio-loras"),
    path("studio/models/load", job_views.load_model, name="studio-load-model"),
    path("studio/jobs/<uuid:id>/", job_views.job_page, name="studio-job"),
    path("studio/jobs/<uuid:id>/card", job_views.job_card, name="studio-job-card"),
    path("studio/jobs/<uuid:id>/cancel", job_views.cancel, name="studio-cancel"),
    path("studio/jobs/<uuid:id>/retry", job_views.retry, name="studio-retry"),
    path("studio/jobs/<uuid:id>/dismiss", job_views.dismiss, name="studio-dismiss"),
    path("studio/jobs/<uuid:id>/stream", stream.job_stream, name="studio-stream"),
    path("studio/images/", views.more_images, name="studio-images"),
    path("studio/images/<uuid:id>/", gallery.picture, name="studio-image"),
    path("studio/images/<uuid:id>/change", gallery.change_picture, name="studio-image-change"),
    path("studio/gallery/", gallery.gallery, name="studio-gallery"),
    path("studio/gallery/change", gallery.change, name="studio-gallery-change"),
]
