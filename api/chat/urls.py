from rest_framework.routers import SimpleRouter

from api.chat.views import ConversationViewSet

router = SimpleRouter(use_regex_path=False)
router.register("conversations", ConversationViewSet, basename="conversation")
urlpatterns = router.urls
