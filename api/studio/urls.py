from django.urls import path

from api.studio import job_views, stream, views
from api.studio.chat import pictures as chat_pictures
from api.studio.chat import stream as chat_stream
from api.studio.chat import views as chat
from api.studio.gallery import views as gallery

urlpatterns = [
    path("", views.index, name="studio"),
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
    path("studio/chat/", chat.new_chat, name="studio-chat"),
    path("studio/chat/ask", chat.send, name="studio-chat-ask"),
    path("studio/chat/list", chat.conversation_list, name="studio-chat-list"),
    path("studio/chat/delete", chat.delete, name="studio-chat-delete"),
    path("studio/chat/upload", chat_pictures.upload, name="studio-chat-upload"),
    path("studio/chat/pictures", chat_pictures.picker, name="studio-chat-pictures"),
    path("studio/chat/answers/<uuid:id>/stream", chat_stream.answer_stream, name="studio-chat-answer"),
    path("studio/chat/<uuid:id>/", chat.conversation, name="studio-chat-conversation"),
    path("studio/chat/<uuid:id>/rename", chat.rename, name="studio-chat-rename"),
    path("studio/chat/<uuid:id>/branch", chat.branch, name="studio-chat-branch"),
]
