from django.urls import path

from api.scoring.views import ScoreBatchView, ScoreView

urlpatterns = [
    path("score/", ScoreView.as_view(), name="score"),
    path("score/batch/", ScoreBatchView.as_view(), name="score-batch"),
]
