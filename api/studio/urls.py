from django.urls import path
from django.views.i18n import set_language

from api.studio import job_views, login, stream, usage, views
from api.studio.chat import pictures as chat_pictures
from api.studio.chat import stream as chat_stream
from api.studio.chat import views as chat
from api.studio.compare import taste
from api.studio.compare import views as compare
from api.studio.edit import views as edit
from api.studio.gallery import views as gallery
from api.studio.looking import views as looking
from api.studio.queue import views as queue
from api.studio.variants import views as variants

urlpatterns = [
    path("", views.index, name="studio"),
    path("studio/", views.index),
    path("studio/login", login.login_page, name="studio-login"),
    path("studio/logout", login.log_out, name="studio-logout"),
    path("studio/language", set_language, name="studio-language"),
    path("studio/server-state", views.server_state, name="studio-server-state"),
    path("studio/generate", views.generate, name="studio-generate"),
    path("studio/read-picture", views.read_picture, name="studio-read-picture"),
    path("studio/history", views.history, name="studio-history"),
    path("studio/tokens", views.tokens, name="studio-tokens"),
    path("studio/loras", views.loras, name="studio-loras"),
    path("studio/models/load", job_views.load_model, name="studio-load-model"),
    path("studio/models/unload", job_views.unload_model, name="studio-unload-model"),
    path("studio/queue/", queue.page, name="studio-queue"),
    path("studio/queue/rows", queue.rows, name="studio-queue-rows"),
    path("studio/queue/machines", queue.machines, name="studio-queue-machines"),
    path("studio/queue/models", queue.models, name="studio-queue-models"),
    path("studio/usage/", usage.page, name="studio-usage"),
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
    path("studio/look/", looking.look_page, name="studio-look"),
    path("studio/look/picture", looking.take_picture, name="studio-look-picture"),
    path("studio/look/ask", looking.ask_looks, name="studio-look-ask"),
    path("studio/compare/", compare.compare, name="studio-compare"),
    path("studio/compare/taste/", taste.taste, name="studio-taste"),
    path("studio/compare/taste/choose", taste.choose, name="studio-taste-choose"),
    path("studio/compare/taste/undo", taste.undo, name="studio-taste-undo"),
    path("studio/compare/taste/train", taste.train, name="studio-taste-train"),
    path("studio/variants/", variants.variants, name="studio-variants"),
    path("studio/variants/estimate", variants.estimate, name="studio-variants-estimate"),
    path("studio/variants/start", variants.start, name="studio-variants-start"),
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
    path("studio/edit/", edit.edit, name="studio-edit"),
    path("studio/edit/upload", edit.upload, name="studio-edit-upload"),
    path("studio/edit/paint", edit.paint, name="studio-edit-paint"),
    path("studio/edit/steering", edit.steering, name="studio-edit-steering"),
    path("studio/edit/tools/<slug:tool>", edit.use_tool, name="studio-edit-tool"),
]
