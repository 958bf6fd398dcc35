from django.urls import path
from rest_framework.routers import SimpleRouter

from api.scoring.taste.views import ComparisonViewSet, RatingViewSet, ScorersView, ScorerView
from api.scoring.views import ClipScoreView, LayoutScoreViewSet, ScoreBatchView, ScoreView

router = SimpleRouter(use_regex_path=False)
router.register("scores", LayoutScoreViewSet, basename="layout-score")
router.register("ratings", RatingViewSet, basename="rating")
router.register("comparisons", ComparisonViewSet, basename="comparison")
urlpatterns = [
    path("score/", ScoreView.as_view(), name="score"),
    path("score/batch/", ScoreBatchView.as_view(), name="score-batch"),
    path("clip-score/", ClipScoreView.as_view(), name="clip-score"),
    path("scorers/", ScorersView.as_view(), name="scorers"),
    path("scorers/<str:name>/", ScorerView.as_view(), name="scorer"),
    *router.urls,
]
