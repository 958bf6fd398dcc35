from django.apps import AppConfig


class ScoringConfig(AppConfig):
    name = "api.scoring"
    label = "scoring"
    verbose_name = "Scores"

    def ready(self) -> None:
        from api.files import judge_registry
        from api.files.references import register_reference
        from api.jobs import kinds
        from api.scoring import signals  # noqa: F401  (its receivers register themselves)
        from api.scoring.handler import LayoutScoring
        from api.scoring.prompts import ClipScoring
        from api.scoring.taste.serving import CustomJudges
        from api.scoring.taste.training import TrainScorer

        kinds.register(LayoutScoring())
        kinds.register(ClipScoring())
        kinds.register(TrainScorer())
        register_reference("ratings", "comparisons_a", "comparisons_b")
        judge_registry.register("custom", CustomJudges())
