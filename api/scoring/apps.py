from django.apps import AppConfig
from django.db.models.signals import post_save


class ScoringConfig(AppConfig):
    name = "api.scoring"
    label = "scoring"
    verbose_name = "Scores"

    def ready(self) -> None:
        from api.files.references import register_reference
        from api.jobs import kinds
        from api.runtime import judge_registry, server_tools
        from api.scoring import signals  # noqa: F401  (its receivers register themselves)
        from api.scoring.chat_tools import JUDGE_LAYOUT
        from api.scoring.embeddings import Embedding
        from api.scoring.handler import LayoutScoring
        from api.scoring.picture_judges import AestheticKind, ClipKind, LayoutKind
        from api.scoring.prompts import ClipScoring
        from api.scoring.taste.serving import CustomKind
        from api.scoring.taste.training import TrainScorer

        layouts = LayoutScoring()
        kinds.register(layouts)
        post_save.connect(layouts.look_again, sender="scoring.CustomScorer")
        kinds.register(ClipScoring())
        kinds.register(Embedding())
        kinds.register(TrainScorer())
        register_reference("ratings", "comparisons_a", "comparisons_b")
        judge_registry.register("clip", ClipKind())
        judge_registry.register("aesthetic", AestheticKind())
        judge_registry.register("layout", LayoutKind())
        judge_registry.register("custom", CustomKind())
        server_tools.register(JUDGE_LAYOUT)
