from django.urls import path

from api.studio import stream, views
from api.studio.gallery import views as gallery

urlpatterns = [
    path("", views.index, name="studio"),
    path("studio/server-state", views.server_state, name="studio-server-state"),
    path("studio/generate", views.generate, name="studio-generate"),
    path("studio/jobs/<uuid:id>/", views.job_page, name="studio-job"),
    path("studio/jobs/<uuid:id>/cancel", views.cancel, name="studio-cancel"),
    path("studio/jobs/<uuid:id>/stream", stream.job_stream, name="studio-stream"),
    path("studio/images/", views.more_images, name="studio-images"),
    path("studio/images/<uuid:id>/", gallery.picture, name="studio-image"),
    path("studio/images/<uuid:id>/change", gallery.change_picture, name="studio-image-change"),
    path("studio/gallery/", gallery.gallery, name="studio-gallery"),
    path("studio/gallery/change", gallery.change, name="studio-gallery-change"),
]
